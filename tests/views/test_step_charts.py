"""The charts of what each step took."""

from __future__ import annotations

from io import BytesIO

import matplotlib.pyplot as plt
import pytest
from matplotlib.colors import to_hex

from agentflow.core.errors import InputError
from agentflow.views.step_charts import run_chart
from tests.views import runs
from tests.views.looks import contrast
from tests.views.runs import STATES

KINDS = ("cost", "tokens", "latency", "retries")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("state", ["empty", "failed", "running", "price_unknown", "hostile"])
@pytest.mark.filterwarnings("error")
def test_every_state_can_be_drawn_and_saved(kind: str, state: str) -> None:
    ax = run_chart(STATES[state](), kind)
    ax.get_figure(root=True).savefig(BytesIO(), dpi=20)  # type: ignore[union-attr]


def test_the_timeline_is_the_default() -> None:
    assert runs.finished().plot().get_title(loc="left") == runs.finished().plot("timeline").get_title(loc="left")


def test_labels_tell_the_figures() -> None:
    result = runs.finished()
    assert [text.get_text() for text in result.plot("cost").texts][:2] == ["no model called", "$0.0031"]
    assert result.plot("tokens").texts[1].get_text() == "1,920 / 400"
    assert result.plot("latency").texts[0].get_text() == "340 ms"
    assert result.plot("retries").texts[1].get_text().startswith("3 attempts · ThrottlingException")


def test_bars_add_up() -> None:
    result = runs.finished()
    widths = [patch.get_width() for patch in result.plot("retries").patches]  # type: ignore[attr-defined]
    assert sum(widths) == result.attempts


def test_an_unknown_price_is_said() -> None:
    assert "price unknown" in [text.get_text() for text in runs.price_unknown().plot("cost").texts]


def test_what_the_local_model_would_cost_on_bedrock_is_drawn_and_said() -> None:
    ax = runs.local().plot("cost")
    assert "Bedrock's list price" in ax.get_xlabel()
    assert ax.texts[0].get_text() == "$0.00031"


def test_many_steps_are_cut_to_the_longest() -> None:
    ax = runs.many(60).plot("tokens")
    assert len(ax.get_yticks()) == 40
    assert "the longest 40 of 60 steps" in ax.get_title(loc="left")


def test_bars_stand_out_from_the_ground_and_pieces_differ_by_more_than_colour() -> None:
    for kind in KINDS:
        patches = runs.finished().plot(kind).patches
        looks = {(to_hex(patch.get_facecolor()), patch.get_hatch()) for patch in patches}
        assert all(contrast(colour, "#ffffff") >= 3 for colour, _ in looks)
        if kind != "latency":
            assert len({hatch for _, hatch in looks}) == len(looks)


@pytest.mark.parametrize("kind", ["latncy", "pie", 3, None])
def test_an_unknown_kind_is_named_with_the_nearest(kind: object) -> None:
    with pytest.raises(InputError, match="There is no chart") as caught:
        runs.finished().plot(kind)  # type: ignore[arg-type]
    assert "timeline, cost, tokens, latency, retries" in str(caught.value)
    if kind == "latncy":
        assert "did you mean 'latency'" in str(caught.value)


def test_a_chart_can_be_drawn_into_axes_of_pyplots() -> None:
    _, ax = plt.subplots()
    assert runs.finished().plot("cost", ax=ax) is ax
    plt.close("all")
