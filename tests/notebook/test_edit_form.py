"""`%agentflow edit`: the form says what the step's cell says, runs what it says, and writes the cell back."""

from __future__ import annotations

from typing import Any

import pytest

from agentflow.notebook.edit_form import EditForm
from agentflow.notebook.state import kernel_state
from tests.endpoint import Endpoint
from tests.notebook.shell import Shell

LINE = (
    "%%step reply --model sonnet --input ticket --system rules --max-tokens 90 --temperature 0.5 --output 'text: str'"
)


def written(shell: Shell, form: EditForm) -> str:
    """Press the button, and return the cell that comes next."""
    form.write.click()
    assert form.cell in form.message.value.replace("&quot;", '"').replace("&#x27;", "'")
    payload: Any = shell.shell.rl_next_input
    return str(payload)


@pytest.fixture
def form(shell: Shell) -> EditForm:
    shell.run("ticket = 'It burns'\nrules = 'Be\\nbrief'")
    shell.run("%%step first --model haiku\nOne")
    shell.run(f'{LINE}\nAs {{"text": "..."}}:\n\n{{ticket}} {{first}}\n')
    return EditForm(kernel_state(), "reply")


def test_the_form_writes_the_same_cell_back(shell: Shell, form: EditForm) -> None:
    expected = f'{LINE}\nAs {{"text": "..."}}:\n\n{{ticket}} {{first}}\n'.replace("'text: str'", '"text: str"')
    assert sorted(written(shell, form).partition("\n")[0].split(" --")) == sorted(
        expected.partition("\n")[0].split(" --")
    )
    assert written(shell, form).partition("\n")[2] == expected.partition("\n")[2]
    assert [field.description for field in form.inputs.children] == ["ticket"]


def test_what_is_changed_is_in_the_cell_and_the_step_stays_until_it_runs(shell: Shell, form: EditForm) -> None:
    before = shell.workflow().steps["reply"]
    form.prompt.value = "Say {ticket} {mood}"
    form.model.value = "haiku"
    form.temperature.value = ""
    cell = written(shell, form)
    assert cell.endswith("\nSay {ticket} {mood}")
    assert "--model haiku" in cell
    assert "--temperature" not in cell
    assert [field.description for field in form.inputs.children] == ["ticket", "mood"]
    assert shell.workflow().steps["reply"] is before
    shell.run(cell)
    assert shell.prompt("reply") == "Say {ticket} {mood}"


def test_run_takes_the_fields_and_shows_result_and_past_calls(shell: Shell, form: EditForm, scripted: Endpoint) -> None:
    form.output.value = ""
    form.prompt.value = "Say {ticket} {mood} {first}"
    form.run.click()
    assert "&#x27;mood&#x27;" in form.message.value
    assert scripted.stats()["requests"] == 0
    form.inputs.children[1].value = "<b>gladly</b>"
    form.run.click()
    assert form.message.value == ""
    assert "&lt;b&gt;gladly&lt;/b&gt;" in form.result.value
    assert "list price" in form.calls.value
    assert "$0.0" in form.calls.value
    assert scripted.stats()["requests"] == 2


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("temperature", "warm", "invalid float value"),
        ("prompt", " ", "the prompt is empty"),
        ("output", "x: strr", "did you mean"),
        ("name", "no name", "belongs to no option"),
        ("prompt", "{reply}", "Steps wait for each other"),
    ],
)
def test_errors_of_the_buttons_show_in_the_form(form: EditForm, field: str, value: str, told: str) -> None:
    getattr(form, field).value = value
    form.run.click()
    assert told in form.message.value
    form.write.click()
    assert told in form.message.value
    assert form.cell == ""


def test_the_same_form_starts_a_new_step(shell: Shell) -> None:
    form = EditForm(kernel_state(), "fresh")
    form.prompt.value = "Hello {name}"
    assert written(shell, form) == "%%step fresh --model fast\nHello {name}"


def test_without_a_front_end_a_note_says_how_to_get_the_form(shell: Shell) -> None:
    assert "run `%agentflow edit fresh`" in shell.run("%agentflow edit fresh")
    shell.run("import agentflow\nkeep = agentflow.Workflow('python')\nkeep.add_step('code', lambda: 1)")
    assert "that step is no prompt" in shell.run("%agentflow edit code")
