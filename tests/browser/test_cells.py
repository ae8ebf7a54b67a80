"""A workflow written cell by cell, in a real JupyterLab."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.browser.lab import Notebook
from tests.endpoint import Endpoint

CELLS = [
    "%load_ext agentflow",
    "article = 'The council approved the plan on Monday.'\nnotes = Workflow('notes')",
    '%%step claims --model haiku --input article\nList the claims as JSON like {"claims": []}: {article}',
    "%%step short --model haiku\nThree sentences from {claims}",
    "notes.run()",
    "%%step short --model haiku\nOne sentence from {claims}",
    "second = notes.run()\nsecond",
    "%%step shrt --modle haiku\n{claims}",
    "%%step long --model haiku --run\nTen sentences from {claims}",
]


def test_steps_in_cells(answers: Endpoint, opened: Callable[[Sequence[str]], Notebook]) -> None:
    answers.follow(text="<b>Approved</b> on Monday.")
    notebook = opened(CELLS)
    for index in range(1, 9):
        notebook.run(index)
        notebook.done(index)
    notebook.shows(1, "AgentFlow")
    notebook.shows(3, "variable of the kernel")
    notebook.shows(4, "step claims")
    notebook.shows(5, "<b>Approved</b> on Monday.")  # as text
    notebook.shows(6, "prompt changed")
    notebook.shows(7, "saved")
    notebook.shows(8, "did you mean '--model'")
    assert answers.stats()["requests"] == 3  # of the second run, the step that was edited
    answers.follow(latency_ms=20_000)
    notebook.run(9)
    while answers.stats()["in_flight"] < 1:
        notebook.page.wait_for_timeout(20)
    notebook.interrupt()
    assert notebook.done(9) < 0.5
    notebook.shows(9, "RunInterrupted")
    notebook.page.wait_for_timeout(200)
    assert answers.stats()["requests"] == 4
