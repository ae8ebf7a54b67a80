"""The first cells of somebody who has never seen AgentFlow, in a real JupyterLab."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.browser.lab import Notebook
from tests.endpoint import Endpoint

BUILD = """
def agent(name, prompt):
    return SimpleAgent(AgentConfig(name=name, model_type="haiku"), prompt_template=prompt)
workflow = Workflow("article")
_ = workflow.add_step("claims", agent("claims", "List the claims: {article}"))
_ = workflow.add_step("summary", agent("summary", "Three sentences from {claims}"))
workflow
"""
CELLS = [
    "import agentflow\nfrom agentflow import AgentConfig, SimpleAgent, Workflow",
    "article = 'The council approved the plan on Monday.'",
    BUILD,
    "result = workflow.run(article=article)",
    "result.to_frame()[['step', 'status', 'output_tokens']]",
    "workflow.run(artcle=article)",
    "agentflow.runs()[['workflow', 'status']]",
]


def test_the_first_seven_cells(answers: Endpoint, opened: Callable[[Sequence[str]], Notebook]) -> None:
    notebook = opened(CELLS)
    notebook.lab.begin("notebook:run-all-cells")
    notebook.shows(3, "claims")  # the workflow shows its steps
    notebook.shows(4, "summary")
    notebook.shows(5, "output_tokens")
    notebook.shows(6, "did you mean 'article'")  # nothing below it was run: an error stops "run all"
    assert "Traceback" not in notebook.output(6).inner_text()
    notebook.run(7)
    notebook.shows(7, "ok")
    assert answers.stats()["requests"] == 2
