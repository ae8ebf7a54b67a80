"""The same call again with another input or after a stop: the output is the input of now, and only what is new runs."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from agentflow import Workflow


def shouting() -> Workflow:
    workflow = Workflow("shouting")
    workflow.add_step("shout", lambda text: text.upper())
    return workflow


def runs(done: pd.DataFrame) -> list[object]:
    """Return where each row was run, which is the same where it was not run again."""
    return list(zip(done["run_id"], done["item"], strict=True))


def test_other_columns_index_and_types_come_out_without_any_row_being_run_again(tmp_path: Path) -> None:
    out = tmp_path / "out"
    before = shouting().map(pd.DataFrame({"text": ["a", "b"], "id": [1, 2], "gone": [0, 0]}), out=out, progress=False)
    now = pd.DataFrame({"text": ["a", "b"], "id": ["x", "y"], "more": [1.5, None]}, index=pd.Index([7, 8], name="key"))
    done = shouting().map(now, out=out, progress=False)
    pd.testing.assert_frame_equal(done[["text", "id", "more"]], now)
    assert list(done["shout"]) == ["A", "B"]
    assert "gone" not in done.columns
    assert runs(done) == runs(before)


def test_categories_that_were_renamed_are_other_rows(tmp_path: Path) -> None:
    for texts in (["a", "b"], ["c", "d"]):
        frame = pd.DataFrame({"text": pd.Categorical(texts)})
        done = shouting().map(frame, out=tmp_path / "out", progress=False)
        assert list(done["shout"]) == [text.upper() for text in texts]


@pytest.mark.parametrize(("scores", "added"), [([1, 2], 1.5), ([None, None], "late")])
def test_a_column_whose_type_changes_with_appended_rows_can_be_read(
    scores: list[object], added: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("files", "source"):
        monkeypatch.setattr(f"agentflow.batch.{module}.CHUNK_ROWS", 2)
    file, out = tmp_path / "in.jsonl", tmp_path / "out"
    frame = pd.DataFrame({"text": ["a", "b"], "score": scores})
    frame.to_json(file, orient="records", lines=True)
    before = shouting().map(file, out=out, progress=False)
    frame = pd.DataFrame({"text": ["a", "b", "c"], "score": pd.Series([*scores, added], dtype=object), "new": 1})
    frame.to_json(file, orient="records", lines=True)
    done = shouting().map(file, out=out, progress=False)
    assert done["score"].iloc[2] == added
    assert list(done["new"]) == [1, 1, 1]
    assert runs(done)[:2] == runs(before)
