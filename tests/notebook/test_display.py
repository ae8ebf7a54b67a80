"""How a run is shown where no browser is: log lines under papermill and nbconvert, a card in the end, settings."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest
from nbconvert.preprocessors import ExecutePreprocessor

import agentflow
from agentflow import Workflow
from agentflow.core import watching
from agentflow.core.errors import DefinitionError
from agentflow.core.readers import wait_for_readers
from agentflow.utils.env import SettingError
from tests.endpoint import Endpoint
from tests.notebook.kernel import Kernel, running_kernel

BUILD = """
import os
os.environ.update(BEDROCK_ENDPOINT_URL={url!r}, AGENTFLOW_HOME={home!r})
from agentflow import AgentConfig, SimpleAgent, Workflow
workflow = Workflow("news")
_ = workflow.add_step("article", lambda: print("reading") or "An article")
ask = SimpleAgent(AgentConfig(name="ask", model_type="haiku"), prompt_template="Sum up {{article}}")
_ = workflow.add_step("summary", ask)
"""


def notebook(path: Path, cells: Sequence[str]) -> Path:
    written: Any = nbformat.v4.new_notebook(  # type: ignore[no-untyped-call]
        cells=[nbformat.v4.new_code_cell(cell) for cell in cells],  # type: ignore[no-untyped-call]
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )
    nbformat.write(written, path)  # type: ignore[no-untyped-call]
    return path


def lines_of(cell: Any) -> list[str]:
    """Return what a cell wrote to standard error."""
    text = "".join(output.text for output in cell.outputs if output.output_type == "stream" and output.name == "stderr")
    assert "\r" not in text
    return text.splitlines()


def cards_of(cell: Any) -> list[str]:
    return [output.data["text/html"] for output in cell.outputs if "text/html" in output.get("data", {})]


@pytest.fixture
def path(tmp_path: Path, scripted: Endpoint) -> Path:
    build = BUILD.format(url=scripted.url, home=str(tmp_path / "store"))
    return notebook(tmp_path / "in.ipynb", [build, "result = workflow.run()", "workflow.run()", "handle = None"])


def check(cells: Sequence[Any]) -> None:
    for cell in cells[1:3]:
        lines = lines_of(cell)
        assert all(line.startswith("agentflow run r-") for line in lines)
        assert "  news  started  2 steps" in lines[0]
        assert sum("  article  ok  " in line for line in lines) == 1
        assert sum(re.search(r"  summary  ok  .*  in \d+ out \d+  \$0$", line) is not None for line in lines) == 1
        assert "  done  2/2 steps  " in lines[-1]
        assert len(lines) <= 6  # a start line for each step that was seen running
        [card] = cards_of(cell)
        assert "An article" in card
        assert "reading" in card


def test_papermill_gets_a_line_a_step_change_and_the_card(path: Path) -> None:
    executed = papermill.execute_notebook(path, path.with_name("out.ipynb"), kernel_name="python3", progress_bar=False)
    check(executed.cells)
    assert "widgets" not in executed.metadata


def test_nbconvert_gets_the_same(path: Path) -> None:
    with path.open(encoding="utf-8") as file:
        written: Any = nbformat.read(file, as_version=4)  # type: ignore[no-untyped-call]
    ExecutePreprocessor(kernel_name="python3").preprocess(written)  # type: ignore[no-untyped-call]
    check(written.cells)


def test_a_program_that_a_cell_has_started_is_not_taken_for_the_page(path: Path) -> None:
    out = path.with_name("out.ipynb")
    command = [sys.executable, "-m", "papermill", "--no-progress-bar", "--log-output", "-k", "python3"]
    inherited = {**os.environ, "JPY_SESSION_NAME": "a.ipynb"}
    done = subprocess.run([*command, str(path), str(out)], capture_output=True, text=True, check=True, env=inherited)
    assert "  summary  ok  " in done.stderr
    with out.open(encoding="utf-8") as file:
        written: Any = nbformat.read(file, as_version=4)  # type: ignore[no-untyped-call]
    check(written.cells)


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    with running_kernel(JPY_SESSION_NAME="a.ipynb") as kernel:  # as JupyterLab starts one
        kernel.run(
            "import time, threading, asyncio, agentflow\nfrom agentflow import Workflow\n"
            "quick = Workflow('quick')\n_ = quick.add_step('one', lambda: print('from the step'))\n"
            "chain = Workflow('chain')\nasync def pause(before=0):\n    await asyncio.sleep(0.002)\n"
            "_ = chain.add_step('s0', pause)\n"
            "for n in range(1, 200):\n    _ = chain.add_step(f's{n}', pause, {'before': chain.steps[f's{n - 1}']})"
        )
        yield kernel


def shown(kernel: Kernel, code: str) -> list[dict[str, Any]]:
    """Run a cell, and return what a page would show of it in the end, output by output."""
    places: dict[str, dict[str, Any]] = {}
    for number, message in enumerate(kernel.messages(code)):
        content = message["content"]
        if message["msg_type"] in {"display_data", "update_display_data", "execute_result"}:
            places[content.get("transient", {}).get("display_id") or str(number)] = content["data"]
        assert message["msg_type"] != "error", content
    return [data for data in places.values() if data["text/plain"]]


def test_a_page_shows_each_run_once(kernel: Kernel) -> None:
    [card] = shown(kernel, "result = quick.run()")
    assert "from the step" in card["text/html"]
    assert len(shown(kernel, "quick.run()")) == 1
    assert len(shown(kernel, "result = quick.run()\nresult")) == 1
    assert len(shown(kernel, "await quick.execute()")) == 1
    assert len(shown(kernel, "quick.run()\nquick.run()")) == 2
    assert len(shown(kernel, "handle = quick.start()\nhandle.wait()")) == 1


def test_retries_waits_and_wide_maps_are_seen_while_they_happen(kernel: Kernel, scripted: Endpoint) -> None:
    scripted.follow(latency_ms=900, first_token_ms=100, text="<i>good</i> " * 40)
    scripted.faults({"fault": "error", "code": "ThrottlingException", "message": "Too many requests", "first": 1})
    cell = (
        f"import os\nos.environ['BEDROCK_ENDPOINT_URL'] = {scripted.url!r}\nagentflow.display('html')\n"
        "settings = agentflow.AgentConfig(name='ask', model_type='haiku')\n"
        "busy = Workflow(agentflow.WorkflowConfig(name='busy', budget_usd=1))\n"
        "_ = busy.add_step('ask', agentflow.SimpleAgent(settings, prompt_template='Say it'))\n"
        "async def classify(item):\n    await asyncio.sleep(0.3 + item / 50)\n    return item\n"
        "_ = busy.add_step('classify', classify, {'item': list(range(100))}, map_over='item')\n"
        "_ = busy.run()\nagentflow.display('auto')"
    )
    pages = [
        message["content"]["data"]["text/html"]
        for message in kernel.messages(cell)
        if message["msg_type"] == "update_display_data"
    ]
    while_it_ran = "".join(pages[:-1])
    assert "ThrottlingException" in while_it_ran
    assert re.search(r"\d+ of 100 items · \d+ running · p50 \d+ ms · about", while_it_ran)
    assert "&lt;i&gt;good&lt;/i&gt;" in while_it_ran  # the answer, while it comes
    assert "of the budget" in while_it_ran
    assert "the kernel&#x27;s stop button" in while_it_ran
    assert "<i>" not in while_it_ran


def test_a_cell_that_is_run_again_says_that_its_first_run_goes_on(kernel: Kernel) -> None:
    kernel.run(
        "again = Workflow('again')\nasync def wait():\n    await asyncio.sleep(2)\n_ = again.add_step('w', wait)"
    )
    kernel.run("first = again.start()\ntime.sleep(0.2)")
    pages = [message["content"]["data"]["text/html"] for message in kernel.messages("second = again.start()")
             if message["msg_type"] == "display_data"]  # fmt: skip
    assert f"Of this workflow {kernel.run('print(first.result.run_id)').strip()} goes on too" in pages[0]
    kernel.run("first.cancel()\nsecond.cancel()")


def test_many_runs_of_a_cell_end_as_a_line_each(kernel: Kernel) -> None:
    cards = shown(kernel, "for _ in range(5):\n    quick.run()")
    sizes = [len(card["text/html"]) for card in cards[-5:]]  # where it is busy, one of the test before comes late
    assert [size > 2_000 for size in sizes] == [True, True, True, False, False]
    many = shown(kernel, "slow = Workflow('slow')\nasync def wait():\n    await asyncio.sleep(1)\n"
                         "_ = slow.add_step('wait', wait)\n"
                         "_ = await asyncio.gather(*(slow.execute() for _ in range(12)))")  # fmt: skip
    assert len(many) == 9  # eight runs, and that there are more


def test_what_a_step_prints_stands_in_its_view_alone(kernel: Kernel) -> None:
    cell = "print('before')\nresult = quick.run()\nprint('after', result.rows['one'].printed)"
    assert kernel.run(cell) == "before\nafter from the step\n\n"


def test_inner_runs_have_no_view_of_their_own(kernel: Kernel) -> None:
    cell = (
        "outer = Workflow('outer')\n_ = outer.add_step('inner', quick)\n"
        "_ = outer.add_step('called', lambda: quick.run().status)\nresult = outer.run()\n"
        "samples = quick.run(samples=3)\nold = quick.run().run_id\ntest = quick.backtest([old])"
    )
    assert len(shown(kernel, cell)) == 4


def test_a_run_on_a_thread_is_shown_and_one_that_cannot_begin_leaves_nothing(kernel: Kernel) -> None:
    thread = "thread = threading.Thread(target=quick.run)\nthread.start()\nthread.join()\ntime.sleep(0.8)"
    assert len(shown(kernel, thread)) == 1
    cell = (
        "broken = Workflow(agentflow.WorkflowConfig(name='broken', cache='replay:/nowhere'))\n"
        "_ = broken.add_step('one', lambda: 1)\n"
        "try:\n    broken.run()\nexcept agentflow.AgentFlowError as error:\n    pass"
    )
    assert shown(kernel, cell) == []


def test_the_first_picture_comes_at_once_and_the_view_takes_little_time(kernel: Kernel) -> None:
    """Run 200 steps of 2 ms each, with the view and without; the fastest of three counts."""
    time_it = "times = []\nfor _ in range(3):\n    began = time.perf_counter()\n    _ = chain.run()\n"
    time_it += "    times.append(time.perf_counter() - began)\nprint(min(times))"
    with_view = float(kernel.run(f"agentflow.display('html')\n{time_it}"))
    without = float(kernel.run(f"agentflow.display('off')\n{time_it}"))
    assert with_view < 1.05 * without + 0.1, (with_view, without)
    until = (
        "import IPython\npublish = get_ipython().display_pub.publish\nfirst = []\n"
        "def noted(*args, **more):\n    first.append(time.perf_counter())\n    return publish(*args, **more)\n"
        "get_ipython().display_pub.publish = noted\nagentflow.display('auto')\nbegan = time.perf_counter()\n"
        "_ = chain.run()\nget_ipython().display_pub.publish = publish\nprint(first[0] - began)"
    )
    assert float(kernel.run(until)) < 0.2


# Scripts


@pytest.fixture
def workflow(monkeypatch: pytest.MonkeyPatch) -> Workflow:
    monkeypatch.setattr(watching, "_asked_for", None)
    workflow = Workflow("script")
    workflow.add_step("one", lambda: 1)
    return workflow


def test_a_script_says_nothing_unless_it_is_asked(workflow: Workflow, capfd: pytest.CaptureFixture[str]) -> None:
    workflow.run()
    assert capfd.readouterr() == ("", "")
    agentflow.display("log")
    workflow.run()
    out, err = capfd.readouterr()
    assert out == ""
    assert [line.split("  ")[1:3] for line in err.splitlines()] == [
        ["script", "started"],
        ["one", "ok"],
        ["done", "1/1 step"],
    ]


def test_a_script_whose_log_takes_lines_gets_them_with_the_fields_of_the_runbook(
    workflow: Workflow, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "agentflow"):
        workflow.run()
        wait_for_readers()
    [record] = [record for record in caplog.records if "step 'one' ended well" in record.message]
    assert record.__dict__["workflow_name"] == "script"
    assert record.__dict__["step_id"] == "one"
    assert record.__dict__["execution_time"] > 0


def test_a_mode_that_does_not_exist_is_named(workflow: Workflow, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DefinitionError, match=r"'wigdet' is no way to show runs.*did you mean 'widget'"):
        agentflow.display("wigdet")  # type: ignore[arg-type]
    monkeypatch.setenv("AGENTFLOW_DISPLAY", "pretty")
    with pytest.raises(SettingError, match=r"AGENTFLOW_DISPLAY=pretty .* is none of auto, widget, html, log, off"):
        Workflow("other")


def test_a_script_does_not_load_the_notebook_for_nothing() -> None:
    code = (
        "import sys; from agentflow import Workflow; w = Workflow('x'); w.add_step('a', lambda: 1); w.run();"
        "print([name for name in sys.modules if name.startswith(('agentflow.notebook', 'anywidget'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
