"""The live view in a real JupyterLab: what a person sees while a run goes on, and what remains of it."""

from __future__ import annotations

import base64
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests.browser.lab import Lab, Notebook
from tests.endpoint import Endpoint

Opened = Callable[[Sequence[str]], Notebook]
VIEW = ".agentflow-live"
LEAST_CONTRAST = """view => {
  const light = (colour) => {
    const [r, g, b] = colour.map((part) => part / 255)
      .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const over = (colour, ground) => {  // what is seen of a colour that lets the ground through
    canvas.fillStyle = `rgb(${ground.join(",")})`;
    canvas.fillRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const ground = over(getComputedStyle(view).backgroundColor, [255, 255, 255]);
  const contrasts = [...view.querySelectorAll("span, b, pre, div, button")]
    .filter((part) => [...part.childNodes].some((node) => node.nodeType === 3 && node.data.trim()))
    .filter((part) => !part.closest("[hidden], .heard, .mark"))
    .map((part) => {
      const [low, high] = [light(over(getComputedStyle(part).color, ground)), light(ground)].sort((a, b) => a - b);
      return (high + 0.05) / (low + 0.05);
    });
  return Math.min(...contrasts);
}"""
RUN_ID = re.compile(r"run r-[0-9a-f]{12}")


def warm(notebook: Notebook, index: int) -> None:
    """Run a cell whose run goes on until the front end has said that it can draw the widget."""
    notebook.run(index)
    notebook.output(index).locator(VIEW).wait_for()
    notebook.output(index).locator(VIEW).wait_for(state="detached")


def sent(answers: Endpoint) -> int:
    requests: int = answers.stats()["requests"]
    return requests


def test_a_run_is_seen_while_it_goes_on_and_leaves_plain_html(lab: Lab, answers: Endpoint, opened: Opened) -> None:
    answers.follow(latency_ms=800)
    notebook = opened(["handle = news.start()", "result = news.run()", "news.run()", "1 + 1"])
    notebook.run(1)
    view = notebook.output(1).locator(VIEW)
    view.wait_for()
    view.get_by_text("claims", exact=True).first.wait_for()
    assert view.locator('[role="status"]').count() == 1
    assert "not run" in view.inner_text()  # the last step
    view.wait_for(state="detached")
    notebook.shows(1, RUN_ID)  # the result, in the same place

    notebook.run(2)  # the caller waits: the view says how to stop it
    notebook.output(2).locator(VIEW).wait_for()
    assert "stop button" in notebook.output(2).inner_text()
    assert notebook.output(2).locator("button:visible").count() == 0
    notebook.done(2)
    notebook.run(3)
    notebook.done(3)
    notebook.output(3).locator(VIEW).wait_for(state="detached")
    notebook.shows(3, RUN_ID)
    assert len(RUN_ID.findall(notebook.output(3).inner_text())) == 1  # shown once, as the cell's value

    saved = notebook.save()
    assert "widgets" not in saved["metadata"]
    outputs: list[Any] = [cell["outputs"] for cell in saved["cells"][1:4]]
    assert [output["output_type"] for output in outputs[0]] == ["display_data"]
    for output in (output for cell in outputs for output in cell):
        assert output["data"].keys() == {"text/html", "text/plain"}
    assert all(len(str(cell)) < 30_000 for cell in outputs)
    notebook.close()
    changed = {**saved, "cells": [*saved["cells"][:-1], {**saved["cells"][-1], "source": "2 + 2"}]}
    untrusted = notebook.path.with_name("untrusted.ipynb")
    untrusted.write_text(json.dumps(changed), encoding="utf-8")
    for name, has_kernel in ((notebook.path.name, True), (untrusted.name, False)):
        again = lab.open(name, kernel=has_kernel)
        again.shows(1, RUN_ID)
        again.shows(1, "summary")
        assert "Error displaying" not in again.text
        again.close()


def test_it_is_readable_dark_and_light_and_narrow_and_texts_stay_text(
    lab: Lab, answers: Endpoint, opened: Opened
) -> None:
    odd = "odd = Workflow('<b>odd</b>')\n"
    odd += "_ = odd.add_step('<img src=x onerror=window.hacked=1>', ask('Tell it'))\n"
    odd += "_ = odd.add_step('many', lambda item: time.sleep(0.2), {'item': list(range(100))}, map_over='item')\n"
    odd += "def noisy():\n    print('<script>window.hacked=1</script>', 'x' * 500)\n    time.sleep(20)\n"
    odd += "_ = odd.add_step('noisy', noisy)\n_ = news.start()"
    notebook = opened([odd, "handle = odd.start()", "handle.cancel()"])
    answers.follow(latency_ms=600)
    warm(notebook, 1)
    answers.follow(text="<script>window.hacked=1</script> " * 200, latency_ms=20_000, first_token_ms=0)
    notebook.run(2)
    view = notebook.output(2).locator(VIEW)
    view.locator("pre", has_text="<script>").first.wait_for()
    view.get_by_text("of 100 items").wait_for()
    try:
        for theme in ("JupyterLab Dark", "JupyterLab Light"):
            lab.theme(theme)
            assert view.evaluate(LEAST_CONTRAST) >= 4.5
        lab.page.set_viewport_size({"width": 530, "height": 900})  # the view itself has about 420
        lab.page.wait_for_timeout(200)
        assert view.evaluate("view => view.clientWidth") < 440
        assert view.evaluate("view => view.scrollWidth <= view.clientWidth")
    finally:
        lab.page.set_viewport_size({"width": 1300, "height": 1100})
    assert lab.page.evaluate("() => window.hacked") is None
    notebook.run(3)
    view.wait_for(state="detached")


def test_cancel_stops_a_run_that_was_started_or_is_awaited(answers: Endpoint, opened: Opened) -> None:
    answers.follow(latency_ms=600)
    notebook = opened(["_ = news.start()", "handle = news.start()", "await news.execute()"])
    warm(notebook, 1)
    answers.follow(latency_ms=20_000)
    for index in (2, 3):
        notebook.run(index)
        notebook.shows(index, "claims running")
        before = sent(answers)
        button = notebook.output(index).get_by_role("button", name="Cancel")
        button.click()
        notebook.shows(index, "interrupted", timeout=1)
        notebook.output(index).locator(VIEW).wait_for(state="detached", timeout=5000)
        notebook.page.wait_for_timeout(200)
        assert sent(answers) == before
    notebook.shows(3, "CancelledError")


def test_the_stop_button_stops_every_kind_of_run_at_once(answers: Endpoint, opened: Opened) -> None:
    answers.follow(latency_ms=20_000)
    nested = "async def nested():\n    return news.run()\nawait nested()"
    notebook = opened(["news.run()", "await news.execute()", nested])
    for index in (1, 2, 3):
        notebook.run(index)
        until_in_flight(notebook, answers, index)  # the endpoint goes on with those that were given up
        notebook.interrupt()
        assert notebook.done(index) < 0.5
        notebook.shows(index, "Stopped before its end")  # the card
        notebook.shows(index, "CancelledError" if index == 2 else "RunInterrupted")
        notebook.page.wait_for_timeout(200)
        assert sent(answers) == index


def test_five_thousand_tokens_cause_few_messages_and_the_last_text_is_the_answer(
    answers: Endpoint, opened: Opened
) -> None:
    text = " ".join(f"w{number}" for number in range(5000))
    build = "long = Workflow('long')\n_ = long.add_step('tell', ask('Tell it', max_tokens=8000))"
    notebook = opened(
        [build + "\n_ = news.start()", "result = long.run()", "print(result.duration_ms, result.outputs['tell'][-11:])"]
    )
    answers.follow(latency_ms=600)
    warm(notebook, 1)
    answers.follow(text=text, latency_ms=10, first_token_ms=0)
    frames: list[bytes] = []
    session = notebook.page.context.new_cdp_session(notebook.page)
    session.send("Network.enable")
    session.on("Network.webSocketFrameReceived", lambda frame: frames.append(_payload(frame["response"])))
    notebook.run(2)
    view = notebook.output(2).locator(VIEW)
    notebook.done(2)
    view.wait_for(state="detached")
    notebook.run(3)
    notebook.shows(3, "w4998 w4999")
    seconds = float(notebook.output(3).inner_text().split()[-3]) / 1000
    session.detach()
    kinds = Counter(kind for frame in frames for kind in _OURS if b'"' + kind + b'"' in frame)
    assert sum(kinds.values()) <= max(15, 9 + 6 * seconds), (kinds, seconds)  # a busy machine streams for longer
    notebook.output(2).locator("summary", has_text="tell").click()
    assert text.startswith(notebook.output(2).locator("details pre", has_text="w0 w1").first.inner_text()[:15_000])


_OURS = (b"comm_open", b"comm_msg", b"comm_close", b"display_data", b"update_display_data")


def _payload(frame: Mapping[str, Any]) -> bytes:
    data: str = frame["payloadData"]
    return base64.b64decode(data) if frame["opcode"] == 2 else data.encode()


def until_in_flight(notebook: Notebook, answers: Endpoint, number: int) -> None:
    for _ in range(250):
        if answers.stats()["in_flight"] >= number:
            return
        notebook.page.wait_for_timeout(20)
    raise AssertionError(answers.stats())
