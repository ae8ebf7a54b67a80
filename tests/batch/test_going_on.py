"""The same call again with another input or after a stop: the output is the input of now, and only what is new runs."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from agentflow import AgentConfig, BedrockClient, SimpleAgent, Workflow
from agentflow.core.errors import ResumeError
from tests.endpoint import Endpoint


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


def test_without_a_path_only_new_rows_run_and_tables_do_not_take_each_others_answers_away() -> None:
    first = shouting().map(pd.DataFrame({"text": ["a", "b"]}), progress=False)
    longer = shouting().map(pd.DataFrame({"text": ["a", "b", "c"]}), progress=False)
    assert runs(longer)[:2] == runs(first)
    other = shouting().map(pd.DataFrame({"text": ["x", "b"]}), progress=False)
    assert list(other["shout"]) == ["X", "B"]
    assert runs(other)[1] == runs(first)[1]
    again = shouting().map(pd.DataFrame({"text": ["a", "c", "b"]}), progress=False)
    assert runs(again) == [runs(longer)[0], runs(longer)[2], runs(longer)[1]]
    assert runs(shouting().map(pd.DataFrame({"text": ["x"]}), progress=False)) == runs(other)[:1]


def test_without_a_path_a_changed_workflow_is_refused_until_it_is_accepted() -> None:
    frame = pd.DataFrame({"text": ["a"]})
    shouting().map(frame, progress=False)
    changed = Workflow("shouting")
    changed.add_step("shout", lambda text: text + "!")
    with pytest.raises(ResumeError, match="'shout'"):
        changed.map(frame, progress=False)
    assert list(changed.map(frame, accept_changes=True, progress=False)["shout"]) == ["a!"]


def test_a_row_that_is_equal_to_one_that_is_known_cost_nothing(scripted: Endpoint) -> None:
    scripted.follow(text="fine")
    workflow = Workflow("asks")
    client = BedrockClient(endpoint_url=scripted.url)
    workflow.add_step("ask", SimpleAgent(AgentConfig(name="a"), client, prompt_template="{text}"))
    workflow.map(pd.DataFrame({"text": ["a", "b"]}), progress=False)
    for _ in range(2):
        done = workflow.map(pd.DataFrame({"text": ["b", "a", "b", "b"]}), progress=False)
        assert scripted.stats()["requests"] == 2
        assert list(done["cached"]) == [False, False, True, True]
        assert list(done["output_tokens"] > 0) == [True, True, False, False]
        assert done["input_tokens"].sum() == scripted.stats()["billed"]["input_tokens"]
        assert list(done["ask"]) == ["fine"] * 4
