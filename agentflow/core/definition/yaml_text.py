"""YAML text to plain data and back: nothing guessed, no key twice, and prompts that read well in a diff."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from agentflow.core.errors import DefinitionError

MOST_BYTES = 10_000_000  # of a text
MOST_VALUES = 1_000_000  # with those that an alias repeats: a few lines of aliases can stand for billions
_TAG = "tag:yaml.org,2002:"
_TAGS = frozenset(_TAG + kind for kind in ("str", "int", "float", "bool", "null", "map", "seq"))
_ON_ONE_LINE = 60  # characters of a list that stands on one line
_CHANGED_BY_YAML = re.compile("[\r\x85\u2028\u2029]")  # line breaks that would be read as another one

_HALVES = re.compile("[\ud800-\udbff][\udc00-\udfff]")  # how JSON escapes characters such as emojis


class _Loader(yaml.SafeLoader):
    """Reads what JSON knows: `no`, `12:30`, `007` and `2024-01-01` are text, and not what YAML 1.1 makes of them.

    PyYAML's faster loader in C is no choice: a text of many brackets ends the process.
    """

    yaml_implicit_resolvers: dict[str, list[Any]] = {}  # noqa: RUF012 - declared as PyYAML does

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:
        text = super().construct_scalar(node)
        if isinstance(text, str) and _HALVES.search(text):
            return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
        return text


for _kind, _pattern, _first in (
    ("bool", "true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", "null|Null|NULL|~|", ("n", "N", "~", "")),
    ("int", r"[-+]?(?:0|[1-9][0-9_]*)", "-+0123456789"),
    (
        "float",
        r"[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.nan",
        "-+0123456789.",
    ),
):
    _Loader.add_implicit_resolver(_TAG + _kind, re.compile(f"^(?:{_pattern})$"), list(_first))


def load_source(source: Path | str) -> tuple[Any, Path | None]:
    """Return the data of a file or a text, with the file's path.

    Parameters
    ----------
    source : a path; a string is a path if it ends in .yaml, .yml or .json (and is one line), else YAML text.

    Raises
    ------
    DefinitionError
        The file cannot be read; else as for `load_yaml`.
    """
    if not isinstance(source, Path | str):
        raise DefinitionError(f"{source!r} is no file.", fix="Give a Path, or YAML as text.")
    if isinstance(source, str) and ("\n" in source or not source.endswith((".yaml", ".yml", ".json"))):
        data = load_yaml(source)
        if isinstance(data, str):
            raise DefinitionError("It is one word or sentence.", fix="Give a path as a Path, or with its .yaml.")
        return data, None
    path = Path(source)
    try:
        if path.stat().st_size > MOST_BYTES:
            raise _too_large()
        return load_yaml(path.read_bytes().decode("utf-8-sig")), path
    except OSError as error:
        raise DefinitionError(f"The file cannot be read: {error.strerror}.", fix=f"Check {path.absolute()}.") from error
    except UnicodeDecodeError as error:
        raise DefinitionError("The file is no UTF-8 text.", fix="Save it as UTF-8.") from error


def _too_large() -> DefinitionError:
    return DefinitionError(f"It is larger than {MOST_BYTES:,} bytes.", fix="Keep data out of the definition.")


def load_yaml(text: str) -> Any:
    """Return the data of a YAML text.

    Raises
    ------
    DefinitionError
        The text is no YAML, is larger than `MOST_BYTES`, or stands for more than `MOST_VALUES`; keys that stand twice
        or are no text, and tags, are all listed in `problems`.
    """
    if len(text) > MOST_BYTES or len(text.encode(errors="surrogatepass")) > MOST_BYTES:
        raise _too_large()
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            raise DefinitionError("It is empty.", fix="Write `name: ...` to begin with.")
        review = _Review()
        review.visit(node, ())
        if review.problems:
            raise DefinitionError(" ".join(review.problems), problems=review.problems)
        return loader.construct_document(node)
    except yaml.YAMLError as error:
        raise DefinitionError(f"{_where(error, text)}.", fix="Correct the YAML there.") from error
    except RecursionError as error:
        raise DefinitionError("It is nested too deeply.", fix="Write it with fewer levels.") from error
    except (ValueError, KeyError) as error:  # PyYAML's own, such as for `!!int x`
        raise DefinitionError(f"A value cannot be read: {error}.", fix="Correct it, or write it in quotes.") from error


def _where(error: yaml.YAMLError, text: str) -> str:
    """Return a syntax error in words, with its line."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"Line {error.problem_mark.line + 1}: {error.problem or error.context}"
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        return f"Line {line}: the character {chr(error.character)!r} has no place in YAML"
    return str(error)


class _Review:
    """Finds what PyYAML lets pass: keys that stand twice, keys that are no text, tags, and aliases without an end."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self._sizes: dict[yaml.Node, int] = {}

    def visit(self, node: yaml.Node, path: tuple[str, ...]) -> int:
        """Return how many values a node stands for."""
        if node in self._sizes:
            return self._sizes[node]
        self._sizes[node] = MOST_VALUES + 1  # until its own end: a value that holds itself has none
        size = 1
        if node.tag not in _TAGS:
            self._add(node, f"the tag {node.tag.replace(_TAG, '!!')} is not read here; write plain values.")
        elif isinstance(node, yaml.SequenceNode):
            size += sum(self.visit(item, (*path, f"[{index}]")) for index, item in enumerate(node.value))
        elif isinstance(node, yaml.MappingNode):
            self._check_keys(node, path)
            size += sum(self.visit(value, (*path, str(key.value))) for key, value in node.value)
        if size > MOST_VALUES and not self.problems:
            self._add(node, f"its aliases stand for more than {MOST_VALUES:,} values; write them out.")
        self._sizes[node] = size
        return size

    def _check_keys(self, node: yaml.MappingNode, path: tuple[str, ...]) -> None:
        lines: dict[str, list[int]] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag == _TAG + "str":
                lines.setdefault(key.value, []).append(key.start_mark.line + 1)
            else:
                shown = repr(key.value) if isinstance(key, yaml.ScalarNode) else "a list or mapping"
                self._add(key, f"the key {shown} is no text; write it in quotes.")
        for name, found in lines.items():
            if len(found) > 1:
                what = f"Step {name!r}" if path[-1:] == ("steps",) else f"{'.'.join((*path, name))!r}"
                times = "twice" if len(found) == 2 else f"{len(found)} times"
                at = f"{', '.join(map(str, found[:-1]))} and {found[-1]}"
                self.problems.append(f"{what} stands {times} in the file, lines {at}.")

    def _add(self, node: yaml.Node, problem: str) -> None:
        self.problems.append(f"Line {node.start_mark.line + 1}: {problem}")


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as they are (`|`) where YAML can, and every list or mapping in full."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True

    def choose_scalar_style(self) -> str:
        style: str = super().choose_scalar_style()
        folded = style == "'" and self.analysis is not None and self.analysis.multiline
        return '"' if folded else style


def _text(dumper: _Dumper, text: str) -> yaml.Node:
    style = None
    if "\n" in text or _CHANGED_BY_YAML.search(text):
        style = "|" if "\n" in text.strip("\n") and not _CHANGED_BY_YAML.search(text) else '"'
    return dumper.represent_scalar(_TAG + "str", text, style)


def _list(dumper: _Dumper, items: Sequence[Any]) -> yaml.Node:
    return dumper.represent_sequence(_TAG + "seq", items, flow_style=_fits_a_line(items))


def _mapping(dumper: _Dumper, items: Mapping[str, Any]) -> yaml.Node:
    on_one_line = len(items) < 2 and _fits_a_line(tuple(items.values()))
    return dumper.represent_mapping(_TAG + "map", items, flow_style=on_one_line)


def _fits_a_line(items: Sequence[Any]) -> bool:
    if any(isinstance(item, list | dict) or (isinstance(item, str) and "\n" in item) for item in items):
        return False
    return sum(len(str(item)) for item in items) <= _ON_ONE_LINE


_Dumper.add_representer(str, _text)
_Dumper.add_representer(list, _list)
_Dumper.add_representer(dict, _mapping)


def dump_yaml(data: Mapping[str, Any]) -> str:
    """Return plain data as YAML text, from which `load_yaml` makes equal data.

    Parameters
    ----------
    data : of dict, list, str, int, float, bool and None only; the keys are text.
    """
    text = io.StringIO()
    dumper = _Dumper(text, width=float("inf"), allow_unicode=True, sort_keys=False)
    dumper.open()
    dumper.serialize(dumper.represent_mapping(_TAG + "map", data, flow_style=False))
    dumper.close()
    dumper.dispose()
    return text.getvalue()
