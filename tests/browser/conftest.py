"""One lab, one browser and one page for all tests of this folder; each test opens notebooks of its own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from tests.browser.lab import CHROMIUM_FLAGS, Lab, Notebook, running_lab
from tests.endpoint import Endpoint, running

SETUP = """
import os
os.environ.update(BEDROCK_ENDPOINT_URL={url!r}, AGENTFLOW_HOME={home!r}, BEDROCK_MAX_CONNECTIONS="50")
import asyncio, threading, time
from agentflow import AgentConfig, SimpleAgent, Workflow
def ask(prompt, **settings):
    return SimpleAgent(AgentConfig(name="ask", model_type="haiku", **settings), prompt_template=prompt)
news = Workflow("news")
_ = news.add_step("article", lambda: "The council approved the plan.")
_ = news.add_step("claims", ask("List the claims in {{article}}"))
_ = news.add_step("summary", ask("Summarise {{claims}}"))
"""


@pytest.fixture(scope="package")
def chromium() -> str:
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        need = "there is no Chromium, so nothing is tested in a browser: apt-get install chromium"
        (pytest.fail if os.environ.get("AGENTFLOW_REQUIRE_BROWSER") else pytest.skip)(need)
    return path


@pytest.fixture(scope="package")
def answers(chromium: str) -> Iterator[Endpoint]:
    with running("--port", "0", "--model", "scripted") as endpoint:
        yield endpoint


@pytest.fixture(scope="package")
def lab(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    from playwright.sync_api import sync_playwright

    root = tmp_path_factory.mktemp("lab")
    with running_lab(root) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
        try:
            yield Lab(browser.new_page(viewport={"width": 1300, "height": 1100}), url, root)
        finally:
            browser.close()


Open = Callable[..., Notebook]


@pytest.fixture
def opened(
    lab: Lab, answers: Endpoint, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Callable[[Sequence[str]], Notebook]]:
    """Open a notebook whose first cell, which was run, has the workflow `news`; a picture is taken of what failed."""
    answers.reset()
    notebooks: list[Notebook] = []

    def open_with(cells: Sequence[str]) -> Notebook:
        setup = SETUP.format(url=answers.url, home=str(tmp_path / "store"))
        notebook = lab.new(f"{request.node.name}.ipynb", [setup, *cells])
        notebooks.append(notebook)
        notebook.run(0)
        notebook.done(0)
        return notebook

    failed = request.session.testsfailed
    yield open_with
    if request.session.testsfailed > failed:
        with suppress(Exception):
            lab.page.screenshot(path=tmp_path / "failed.png")
    for notebook in notebooks:
        if notebook.is_open:
            notebook.close()
