"""`%%step`: what a cell says becomes a step, exactly, and nothing is asked of a model before somebody wants it."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentflow.core.template import Template, literal_text
from tests.endpoint import Endpoint
from tests.notebook.shell import Shell


def requests(endpoint: Endpoint) -> int:
    sent: int = endpoint.stats()["requests"]
    return sent


BODY = 'As {"claims": [{8}, {}, {v:k for v, k in x}, {x:>3}]}: {article} ${article}$ $HOME {{article}}\n\n  end  '


@pytest.mark.parametrize(
    "body", [BODY, BODY + "\n", BODY + "\n\n", "... three dots\n>>> {article}", "ünï\u202ecode\t{article}"]
)
def test_the_body_passes_byte_for_byte(shell: Shell, body: str) -> None:
    shell.run("article = 'text'\nx = 1")
    shown = shell.run(f"%%step extract --model haiku --input article\n{body}")
    assert shell.prompt("extract") == body
    assert "{article}" in shown


def test_a_step_is_registered_and_nothing_is_sent(shell: Shell, scripted: Endpoint) -> None:
    shell.run("article = 'claims ' * 1000")
    shown = shell.run("%%step extract --model haiku --input article --max-tokens 90 --temperature 0\nList: {article}")
    for told in ("step extract", "new", "us.anthropic.claude-haiku-4-5", "text, 7.0 kB", "tokens in", "at most $"):
        assert told in shown
    assert "claims claims" not in shown
    assert requests(scripted) == 0
    config = shell.workflow().steps["extract"].agent.config  # type: ignore[attr-defined]  # a prompt
    assert (config.model_type, config.max_tokens, config.temperature) == ("haiku", 90, 0)


def test_a_variable_is_read_when_a_run_starts_and_run_goes_first(shell: Shell) -> None:
    shell.run("article = 'one'\n")
    shell.run("%%step echo --model haiku --input article\nSay {article}")
    workflow = shell.workflow()
    assert workflow.run().outputs["echo"] == "Say one"
    shell.run("article = 'two'")
    assert workflow.run().outputs["echo"] == "Say two"
    assert workflow.run(article="three").outputs["echo"] == "Say three"
    shell.run("del article")
    assert "Run the cell that defines the variable 'article'" in shell.run(f"import agentflow\n{RUN}")


RUN = "from agentflow.notebook.state import kernel_state\nkernel_state().workflow()[0].run()"


def test_a_missing_input_names_the_exact_fix(shell: Shell) -> None:
    shell.run("article = 'one'")
    shell.run("%%step echo --model haiku\nSay {article}")
    shown = shell.run(RUN)
    assert "add `--input article` to the cell of 'echo', or call run(article=article)" in shown
    assert "Traceback" not in shown
    assert "call run(article=article)" in shell.run(
        "from agentflow import Workflow\nother = Workflow('other')\nother.add_step('a', lambda article: 1)\nother.run()"
    )


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("a --modle haiku", "there is no option --modle (did you mean '--model'?)"),
        ("a --model haikuu", "did you mean 'haiku'?"),
        ("a --model haiku --input artcle", "no variable 'artcle' (did you mean 'article'?)"),
        ("a --model haiku --input __import__('os').getcwd()", "that is no plain name"),
        ("a --model haiku --tool article[0]", "that is no plain name"),
        ("a --model haiku --when frist", "no step 'frist' (did you mean 'first'?)"),
        ("a --model haiku --output Tickte", "did you mean 'Ticket'?"),
        ("a --model haiku --output 'x: strr'", "did you mean 'str'?"),
        ("a --model haiku --max-tokens many", "invalid int value: 'many'"),
        ("a --model haiku --temperature 7", "less than or equal to 1"),
        ("a --model haiku --workflow notebok", "did you mean 'notebook'?"),
        ("a --model haiku some more words", "'some more words' belongs to no option"),
        ("a --model 'haiku", "no closing quotation"),
        ("--model haiku", "needs the name of the step first"),
        ("no-name --model haiku", "is no name that {braces} can hold"),
        ("a --model haiku --input article", "no {article} in the prompt"),
        ("a", None),
    ],
)
def test_a_wrong_line_is_one_line_with_the_nearest_name(shell: Shell, line: str, told: str | None) -> None:
    shell.run("article = 'one'\nfrom dataclasses import dataclass\n@dataclass\nclass Ticket:\n    urgent: bool")
    shell.run("%%step first --model haiku\nHello")
    shown = shell.run(f"%%step {line}\nbody")
    if told is None:
        assert "step a · new" in shown
        return
    assert told in shown
    assert len(shown.strip().splitlines()) == 1
    assert list(shell.workflow().steps) == ["first"]


def test_an_edit_says_what_became_stale_and_the_same_cell_changes_nothing(shell: Shell) -> None:
    shell.run("article = 'one'")
    first, second = (
        "%%step first --model haiku --input article\nList {article}",
        "%%step second --model haiku\nSay {first}",
    )
    shell.run(first)
    shell.run(second)
    shell.workflow().run()
    before = shell.workflow().steps["first"]
    assert "unchanged" in shell.run(first)
    assert shell.workflow().steps["first"] is before
    shown = shell.run(first + " shortly")
    assert "changed" in shown
    assert "stale now: first (prompt changed)" in shown
    assert "stale now: second" in shown


def test_run_asks_for_what_the_step_needs_and_no_more(shell: Shell, scripted: Endpoint) -> None:
    shell.run("%%step first --model haiku\nOne")
    shell.run("%%step aside --model haiku\nTwo")
    shell.run("article = 'mine'")
    shown = shell.run("%%step second --model haiku --run\nThree {first} {article}")
    assert "Three One mine" in shown
    assert "--input article does so in every run" in shown
    assert requests(scripted) == 2
    assert shell.variables["_"] is shell.workflow().last_result
    assert "'nowhere'" in shell.run("%%step third --model haiku --run\n{nowhere}")


def test_a_name_close_to_a_steps_is_warned_of(shell: Shell) -> None:
    shell.run("%%step extract --model haiku\nOne")
    assert "Did you mean {extract}?" in shell.run("%%step second --model haiku\nThree {extrct}")


def test_tools_outputs_conditions_and_system_prompts(shell: Shell) -> None:
    shell.run("rules = 'Be brief.'\ndef look_up(key: str) -> str:\n    'Look it up.'\n    return key")
    shell.run("from pydantic import BaseModel\nclass Answer(BaseModel):\n    urgent: bool")
    shell.run("%%step first --model haiku --output Answer --system rules --tool look_up\nOne")
    line = 'second --model haiku --output "tags: list[str], note: str | None" --when first.urgent --system "Two words"'
    shell.run(f"%%step {line}\nTwo")
    steps = shell.workflow().steps
    first, second = steps["first"].agent.config, steps["second"].agent.config  # type: ignore[attr-defined]  # prompts
    assert (first.output_type, first.system) == (shell.variables["Answer"], "Be brief.")
    assert first.tools == (shell.variables["look_up"],)
    assert (second.system, repr(steps["second"].when)) == ("Two words", "first.urgent")


def test_loops_are_named_and_change_nothing(shell: Shell) -> None:
    shell.run("%%step first --model haiku\n{x}")
    shell.run("%%step second --model haiku\n{first}")
    shown = shell.run("%%step first --model haiku\n{second}")
    assert "Steps wait for each other" in shown
    assert shell.prompt("first") == "{x}"


def test_latex_passes_with_literal(shell: Shell) -> None:
    shell.run("%%step first --model haiku\nOne")
    body = r"\frac{a}{b} \textbf{{x}} {first} {{8}}"
    shell.run(f"%%step tex --model haiku --literal\n{body}")
    assert shell.workflow().run().outputs["tex"] == r"\frac{a}{b} \textbf{{x}} One {{8}}"


@given(st.text(alphabet="{}ab.[0] \n"))
def test_literal_text_is_the_text_itself(text: str) -> None:
    assert Template(literal_text(text, ())).render({}) == text


def test_a_cell_whose_step_was_renamed_leaves_an_orphan(shell: Shell) -> None:
    shell.run("%%step old --model haiku\nOne", cell_id="c1")
    shown = shell.run("%%step new --model haiku\nOne", cell_id="c1")
    assert "No cell makes step old any more" in shown
    assert "%agentflow forget old" in shell.run("%agentflow steps")
    shell.run("%agentflow forget old")
    assert list(shell.workflow().steps) == ["new"]


def test_a_deleted_cell_leaves_an_orphan_and_one_that_is_put_back_does_not(shell: Shell) -> None:
    shell.run("%%step first --model haiku\nOne", cell_id="c1")
    assert "its cell [" in shell.run("%agentflow steps", cell_id="c2", deleted=["c1"])
    shell.run("%%step first --model haiku\nOne", cell_id="c1")
    assert "orphan" not in shell.run("%agentflow steps", cell_id="c2")


def test_a_cell_that_failed_leaves_no_orphan(shell: Shell) -> None:
    shell.run("%%step first --model haiku\nOne", cell_id="c1")
    shell.run("%%step first --modle haiku\nOne", cell_id="c1")
    assert "orphan" not in shell.run("%agentflow steps", cell_id="c2")


def test_making_the_workflow_again_keeps_its_cells_and_says_so(shell: Shell) -> None:
    shell.run("from agentflow import Workflow\nworkflow = Workflow('news')\nworkflow.add_step('one', lambda: 'first')")
    shell.run("article = 'x'")
    shell.run("%%step two --model haiku --input article\n{one} {article}")
    shown = shell.run("workflow = Workflow('news')\nworkflow.add_step('one', lambda: 'second')")
    assert "Workflow 'news' was made again: it keeps two" in shown
    assert shell.variables["workflow"].run().outputs["two"] == "second x"


def test_running_a_cell_500_times_leaves_no_growth(shell: Shell) -> None:
    from agentflow.core.step import Step
    from agentflow.core.workflow import Workflow

    def alive() -> tuple[int, int]:
        gc.collect()
        found = gc.get_objects()
        return sum(type(item) is Step for item in found), sum(type(item) is Workflow for item in found)

    shell.run("article = 'x' * 1000")
    cell = "%%step one --model haiku --input article\n{article}"
    magic: Any = shell.shell.run_cell_magic
    magic("step", "one --model haiku --input article", "{article}")
    before = alive()
    for number in range(500):
        magic("step", "one --model haiku --input article", f"{{article}} {number}")
    shell.run(cell)
    assert alive() == before
