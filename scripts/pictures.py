"""`make pictures`: PNGs of the views, in light and dark, of a small workflow that runs on the scripted endpoint."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path

from playwright.sync_api import sync_playwright

import agentflow
from agentflow import AgentConfig, BedrockClient, SimpleAgent, Workflow, WorkflowConfig, WorkflowError
from agentflow.local.handle import LocalBedrock
from agentflow.local.launch import EndpointProcess
from agentflow.utils.env import export

FOLDER = Path(__file__).parents[1] / "notebooks" / "images"
WIDTH = 1000
ARTICLE = "The council approved the new tram line on Monday, by seven votes to two. " * 12
# JupyterLab's own colours and its style of tables, as far as a picture of one output needs them.
THEMES = {"light": ("#ffffff", "rgba(0,0,0,0.87)", "#fde3e3"), "dark": ("#111111", "rgba(255,255,255,0.87)", "#3c1f1f")}
PAGE = """<html><head><meta charset="utf-8"><style>
body {{ margin: 0; padding: 12px; background: {ground}; color: {ink}; font: 14px/1.5 system-ui, sans-serif; }}
pre {{ margin: 0; }}
.error {{ background: {red}; padding: 10px 14px; white-space: pre-wrap; font: 13px/1.5 monospace; }}
</style></head><body>{body}</body></html>"""
SCRIPT = {
    "latency_ms": 700,
    "first_token_ms": 250,
    "rules": [
        {"prompt": "List the claims", "replies": ['{"claims": ["The tram line was approved.", "Seven to two."]}']},
        {"prompt": "Write three plain", "replies": ["On Monday the council approved a new tram line, seven to two."]},
        {"prompt": "How fair", "replies": ["Fair: both claims are in the article."]},
        {"prompt": "headline", "replies": ["Council approves new tram line"]},
    ],
}


def prompt(client: BedrockClient, template: str, model: str = "haiku", max_tokens: int = 200) -> SimpleAgent:
    """Return a prompt."""
    config = AgentConfig(name="news", model_type=model, max_tokens=max_tokens)
    return SimpleAgent(config, client, prompt_template=template)


def build(client: BedrockClient) -> Workflow:
    """Return the workflow of the pictures."""
    workflow = Workflow(WorkflowConfig(name="news", budget_usd=0.50, cache=True))
    workflow.add_step("clean", lambda article: article.strip())
    workflow.add_step("extract", prompt(client, "List the claims of this article as JSON:\n\n{clean}", max_tokens=400))
    workflow.add_step("summarise", prompt(client, "Write three plain sentences from {extract}", "sonnet"))
    workflow.add_step("headline", prompt(client, "Write a headline for {summarise}", max_tokens=40))
    workflow.add_step("judge", prompt(client, "How fair is {summarise}? The claims: {extract}"))
    return workflow


def views(endpoint: LocalBedrock) -> Iterator[tuple[str, str]]:
    """Return the HTML of each view, by name."""
    client = BedrockClient(endpoint_url=endpoint.url)
    workflow = build(client)
    endpoint.script(**SCRIPT)
    endpoint.faults({"fault": "throttled_requests", "first": 1, "prompt": "Write three plain"})
    result = workflow.run(article=ARTICLE)
    yield "result", result._repr_html_()
    workflow.add_step("summarise", prompt(client, "Write three plain, short sentences from {extract}", "sonnet"))
    yield "workflow", workflow._repr_html_()
    endpoint.faults({"fault": "model_access_denied", "prompt": "Write three plain"})
    try:
        workflow.run(article=ARTICLE)
    except WorkflowError as error:
        text = "\n".join(error._render_traceback_())
        yield "error", f"<div class='error'>{escape(text)}</div>"
    endpoint.faults()
    for _ in range(4):
        workflow.run(fresh=True, article=ARTICLE)
    yield "history", str(agentflow.runs()._repr_html_())  # type: ignore[operator]  # a `Runs`


def draw(pages: Mapping[str, str]) -> None:
    """Write a PNG of each page in each theme."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("make pictures needs Chromium: apt-get install chromium")
    FOLDER.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for name, body in pages.items():
            for theme, (ground, ink, red) in THEMES.items():
                page = browser.new_page(viewport={"width": WIDTH, "height": 100}, device_scale_factor=2)
                page.set_content(PAGE.format(ground=ground, ink=ink, red=red, body=body))
                page.screenshot(path=FOLDER / f"{name}-{theme}.png", full_page=True)
                page.close()
                print(f"notebooks/images/{name}-{theme}.png")
        browser.close()


def main() -> None:
    """Run the workflow in a journal of its own, and draw what it shows."""
    with tempfile.TemporaryDirectory() as home:
        export("AGENTFLOW_HOME", home)
        endpoint = EndpointProcess("--model", "scripted")
        draw(dict(views(LocalBedrock(endpoint.url))))


if __name__ == "__main__":
    main()
