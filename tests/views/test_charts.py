"""The timeline chart, in Python and as a notebook shows it."""

from __future__ import annotations

import subprocess
import sys
from io import BytesIO
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import matplotlib.style
import nbformat
import pytest
from matplotlib.colors import to_hex
from nbclient import NotebookClient

from agentflow.views.charts import timeline_chart
from tests.views import runs
from tests.views.runs import HOSTILE, STATES

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("state", STATES)
@pytest.mark.filterwarnings("error")
def test_every_state_can_be_drawn_and_saved(state: str) -> None:
    result = STATES[state]()
    ax = timeline_chart(result)
    assert len(ax.get_yticks()) == len(result.rows)
    ax.get_figure(root=True).savefig(BytesIO())  # type: ignore[union-attr]


def test_the_first_step_is_on_top_and_labels_tell_time_and_cost() -> None:
    ax = timeline_chart(runs.finished())
    bottom, top = ax.get_ylim()
    assert bottom > top
    assert [label.get_text() for label in ax.get_yticklabels()] == ["load", "extract", "summarise", "judge"]
    assert [text.get_text() for text in ax.texts] == [
        "340 ms",
        "3.47 s · $0.0031",
        "1.91 s · $0.00031",
        "710 ms · $0.00031",
    ]
    assert ax.get_title(loc="left") == "triage · ok · 5.75 s · paid $0.0037"
    assert ax.get_xlabel() == "seconds"
    assert timeline_chart(runs.single()).get_xlabel() == "milliseconds"


def test_dollars_and_underscores_are_no_mathematics() -> None:
    ax = timeline_chart(runs.hostile())
    shown = [*ax.texts, *ax.get_yticklabels(), ax._left_title]  # type: ignore[attr-defined]
    assert not any(text.get_parse_math() for text in shown)
    assert ax.get_yticklabels()[0].get_text().startswith(HOSTILE[:20])


def test_an_end_that_was_not_good_has_a_hatch_and_a_word() -> None:
    ax = timeline_chart(runs.failed())
    assert [text.get_text().split(" · ")[0] for text in ax.texts] == ["1.31 s", "failed", "cancelled", "not run"]
    assert {patch.get_hatch() for patch in ax.patches} == {None, "xxxx", "////"}


def test_the_chart_is_opaque_and_dark_on_white_in_a_dark_style() -> None:
    with mpl.style.context("dark_background"):
        figure = timeline_chart(runs.finished()).get_figure(root=True)
        png = BytesIO()
        assert figure is not None
        figure.savefig(png, format="png")
    png.seek(0)
    corner = plt.imread(png)[0, 0]
    assert corner.tolist() == [1, 1, 1, 1]
    assert to_hex(figure.axes[0].xaxis.label.get_color()) == "#222222"


def test_a_given_axes_is_used_and_nothing_else_is_registered() -> None:
    figure, ax = plt.subplots()
    assert timeline_chart(runs.finished(), ax=ax) is ax
    timeline_chart(runs.finished())
    assert plt.get_fignums() == [figure.number]
    plt.close(figure)


def test_a_script_draws_without_pyplot() -> None:
    draw = "from tests.views import runs; runs.finished().plot()"
    code = f"{draw}; import sys; assert 'matplotlib.pyplot' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def images(notebook: nbformat.NotebookNode, cell: int) -> int:
    outputs = notebook.cells[cell].outputs
    assert not any(output.output_type == "error" for output in outputs)
    return sum("image/png" in output.get("data", {}) for output in outputs)


def test_a_notebook_shows_the_chart_exactly_once() -> None:
    cells = [
        (f"import sys; sys.path.insert(0, {str(ROOT)!r}); from tests.views import runs; result = runs.finished()", 0),
        ("result.plot()", 1),
        ("ax = result.plot()", 0),
        ("ax", 1),
        ("import matplotlib.pyplot as plt; fig, own = plt.subplots()\nresult.plot(ax=own)", 1),
        ("result.plot()", 1),  # now with pyplot's inline backend at work
        ("ax = result.plot()", 0),
        ("ax.figure", 1),
        ("result", 0),
    ]
    notebook = nbformat.v4.new_notebook()  # type: ignore[no-untyped-call]
    notebook.cells = [nbformat.v4.new_code_cell(source) for source, _ in cells]  # type: ignore[no-untyped-call]
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    assert [images(notebook, number) for number in range(len(cells))] == [expected for _, expected in cells]
    shown = notebook.cells[-1].outputs[0].data
    assert shown["text/html"].startswith("<div")
    assert shown["text/plain"].startswith("triage · ok")
