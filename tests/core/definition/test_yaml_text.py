"""YAML text to plain data and back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agentflow.core.definition.yaml_text import dump_yaml, load_yaml
from agentflow.core.errors import DefinitionError

TEXTS = st.text(max_size=30) | st.text(" \n\t\r\x85\u2028\ufeff:#-|>'\"\\{}[]&*!%@`?~=<a0é😀\ud800", max_size=12)
DATA = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda children: st.lists(children, max_size=4) | st.dictionaries(TEXTS, children, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(TEXTS, DATA, max_size=5))
@example({"a": "one\n  two\n\n three \n"})
@example({"a": [["\n  x\n", [" y\n"]]], "no": "12:30", "007": "2024-01-01", "1e3": "1_0", "~": "<<"})
def test_whatever_is_written_is_read_again(data: dict[str, Any]) -> None:
    text = dump_yaml(data)
    assert repr(load_yaml(text)) == repr(data)
    text.encode()


def test_text_of_several_lines_is_written_as_it_stands() -> None:
    prompt = 'Say "hello" to {name}: it\'s\n\n  {"json": [true]}\nin Zürich 😀, 100 %.\n'
    assert dump_yaml({"prompt": prompt}) == (
        'prompt: |\n  Say "hello" to {name}: it\'s\n\n    {"json": [true]}\n  in Zürich 😀, 100 %.\n'
    )


def test_long_lines_are_not_cut_and_short_lists_stand_on_one() -> None:
    text = "word " * 100 + "end"
    assert dump_yaml({"text": text, "list": ["a", 1], "one": {"step": "a"}, "two": {"a": 1, "b": 2}}) == (
        f"text: {text}\nlist: [a, 1]\none: {{step: a}}\ntwo:\n  a: 1\n  b: 2\n"
    )


def test_the_same_list_twice_is_written_twice() -> None:
    shared = ["x" * 70]
    assert "&" not in dump_yaml({"a": shared, "b": shared})


@pytest.mark.parametrize("word", ["no", "yes", "on", "off", "12:30", "007", "2024-01-01", "1e3", "0x1F", "="])
def test_nothing_is_guessed(word: str) -> None:
    assert load_yaml(f"a: {word}") == {"a": word}


def test_what_json_knows_is_read() -> None:
    data = load_yaml('{"a": [null, true, -1, 1.5, "x"], b: ~, c: , d: 1_000, e: False}')
    assert data == {"a": [None, True, -1, 1.5, "x"], "b": None, "c": None, "d": 1000, "e": False}


def problems_of(text: str) -> tuple[str, ...]:
    with pytest.raises(DefinitionError) as caught:
        load_yaml(text)
    return caught.value.problems


def test_all_that_stands_twice_is_said_at_once() -> None:
    text = "name: a\nsteps:\n  x: {agent: {name: n, name: m}}\n  y: 1\n  x: 2\n  x: 3\nname: b\n"
    assert problems_of(text) == (
        "'name' stands twice in the file, lines 1 and 7.",
        "Step 'x' stands 3 times in the file, lines 3, 5 and 6.",
        "'steps.x.agent.name' stands twice in the file, lines 3 and 3.",
    )


def test_keys_that_are_no_text_and_tags_are_refused() -> None:
    assert problems_of("1: a\n? [b]\n: c\nd: !!python/name:os.system\ne: !mine f\ng: !!binary aGk=\n") == (
        "Line 1: the key '1' is no text; write it in quotes.",
        "Line 2: the key a list or mapping is no text; write it in quotes.",
        "Line 4: the tag !!python/name:os.system is not read here; write plain values.",
        "Line 5: the tag !mine is not read here; write plain values.",
        "Line 6: the tag !!binary is not read here; write plain values.",
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\nb: [2\n", "Line 3: expected ',' or ']', but got '<stream end>'."),
        ("a: 1\n\tb: 2\n", "Line 2: found character '\\t' that cannot start any token."),
        ("a: 1\nb: \x07\n", "Line 2: the character '\\x07' has no place in YAML."),
        ("a: 1\n---\nb: 2\n", "Line 2: but found another document."),
        ("a: *b\n", "Line 1: found undefined alias 'b'."),
        ("a: !!int b\n", "A value cannot be read"),
        ("a: !!bool b\n", "A value cannot be read"),
        ("", "It is empty."),
        ("[" * 100_000, "It is nested too deeply."),
        ("a" * 10_000_001, "It is larger than 10,000,000 bytes."),
        ("a: &a [*a]\n", "Line 1: its aliases stand for more than 1,000,000 values; write them out."),
        (
            "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
            + "".join(f"{b}: &{b} [{','.join([f'*{a}'] * 10)}]\n" for a, b in ("ab", "bc", "cd", "de", "ef", "fg")),
            "Line 6: its aliases stand for more than 1,000,000 values; write them out.",
        ),
    ],
)
def test_what_is_no_yaml_is_refused_with_the_line(text: str, problem: str) -> None:
    assert problems_of(text)[0].startswith(problem)


def test_an_alias_is_read_as_what_it_stands_for() -> None:
    assert load_yaml("a: &x {b: 1}\nc: *x\n") == {"a": {"b": 1}, "c": {"b": 1}}


def test_json_is_read_too() -> None:
    assert load_yaml('{"a": "\\ud83d\\ude00 \\u00e9 \\/ \\ud83d"}') == {"a": "😀 é / \ud83d"}
