"""`workflow.map` over DataFrames and files: what comes out, and what bad input gets before anything is asked."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from agentflow import AgentConfig, BedrockClient, Quota, SimpleAgent, Workflow, WorkflowConfig
from agentflow.core.errors import DefinitionError, InputError, RunInterrupted
from tests.endpoint import Endpoint


def shouting() -> Workflow:
    workflow = Workflow("shouting")
    workflow.add_step("shout", lambda text: text.upper())
    workflow.add_step(
        "facts", lambda text, shout: {"length": len(text), "loud": shout.isupper(), "words": text.split()}
    )
    return workflow


def test_rows_come_back_with_their_index_and_what_they_gave(tmp_path: Path) -> None:
    frame = pd.DataFrame({"text": ["a b", "c"], "status": ["new", "old"]}, index=["x", "y"])
    done = shouting().map(frame, out=tmp_path / "out", progress=False)
    assert list(done.index) == ["x", "y"]
    assert list(done["shout"]) == ["A B", "C"]
    assert list(done["facts.length"]) == [3, 1]
    assert done["facts.loud"].dtype == bool
    assert json.loads(done["facts.words"]["x"]) == ["a", "b"]
    assert list(done["input_status"]) == ["new", "old"]
    assert list(done["status"]) == ["ok", "ok"]
    assert list(done.columns[-11:]) == [
        "status", "error", "stop_reason", "attempts", "latency_ms", "input_tokens", "output_tokens", "cost_usd",
        "cached", "run_id", "item",
    ]  # fmt: skip


def test_the_same_call_again_asks_nothing(scripted: Endpoint) -> None:
    scripted.follow(text="fine")
    workflow = Workflow("asks")
    client = BedrockClient(endpoint_url=scripted.url)
    workflow.add_step("ask", SimpleAgent(AgentConfig(name="a"), client, prompt_template="{text}, {tone}"))
    frame = pd.DataFrame({"body": ["one", "two", "one"]})
    done = workflow.map(frame, columns={"text": "body"}, tone="dry", progress=False)
    assert list(done["ask"]) == ["fine"] * 3
    assert (done["input_tokens"] > 0).all()
    assert (done["cost_usd"] == 0).all() or (done["cost_usd"] > 0).all()
    requests = scripted.stats()["requests"]
    assert requests == 3
    again = workflow.map(frame, columns={"text": "body"}, tone="dry", progress=False)
    assert scripted.stats()["requests"] == requests
    pd.testing.assert_frame_equal(done, again)


def test_equal_rows_are_asked_once_where_the_cache_is_on(scripted: Endpoint) -> None:
    scripted.follow(text="fine")
    workflow = Workflow(WorkflowConfig(name="asks", cache=True))
    client = BedrockClient(endpoint_url=scripted.url)
    workflow.add_step("ask", SimpleAgent(AgentConfig(name="a"), client, prompt_template="{text}"))
    done = workflow.map(pd.DataFrame({"text": ["one", "two"] * 10}), progress=False)
    assert scripted.stats()["requests"] == 2
    assert sum(done["cached"]) == 18


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
def test_files_are_read_in_chunks(ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("files", "source"):  # in this order: the one takes the number of the other when it is imported
        monkeypatch.setattr(f"agentflow.batch.{module}.CHUNK_ROWS", 4)
    rows = pd.DataFrame({"text": ["1", "2", "3", "4", "five", "6", "7", "8", "9"], "other": [None] * 8 + [1.5]})
    file = tmp_path / f"rows.{ending}"
    if ending == "parquet":
        rows.to_parquet(file)
    elif ending == "csv":
        rows.to_csv(file, index=False)
    else:
        rows.to_json(file, orient="records", lines=True)
    done = shouting().map(file, out=tmp_path / "out", progress=False)
    assert list(done["shout"]) == ["1", "2", "3", "4", "FIVE", "6", "7", "8", "9"]
    assert len(list((tmp_path / "out").glob("part-*.parquet"))) == 3
    assert done["other"].iloc[-1] == 1.5


def test_outputs_that_change_their_kind_become_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentflow.batch.source.CHUNK_ROWS", 2)
    workflow = Workflow("kinds")
    workflow.add_step("value", lambda number: [None, 1, 2.5, "three", {"four": 4}][number])
    done = workflow.map(pd.DataFrame({"number": range(5)}), out=tmp_path / "out", progress=False)
    assert list(done["value"])[1:4] == ["1", "2.5", "three"]
    assert done["value.four"].iloc[-1] == 4


def test_the_kind_of_a_column_does_not_depend_on_where_chunks_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentflow.batch.source.CHUNK_ROWS", 1)
    workflow = Workflow("widened")
    workflow.add_step("text", lambda number: [1, 2.5, "three", 2**70][number])
    workflow.add_step("big", lambda number: [3, 2**70, 2**60 + 1, 4][number])
    done = workflow.map(pd.DataFrame({"number": range(4)}), out=tmp_path / "out", progress=False)
    assert list(done["text"]) == ["1", "2.5", "three", str(2**70)]
    assert list(done["big"]) == [3.0, 2.0**70, 2.0**60, 4.0]


def test_numpy_scalars_and_times_come_out_as_their_values(tmp_path: Path) -> None:
    workflow = Workflow("values")
    workflow.add_step("count", lambda text: np.int64(len(text)))
    workflow.add_step("fields", lambda text: {"ok": np.bool_(True), "list": np.array([1, 2])})
    workflow.add_step("at", lambda text: datetime(2020, 1, 2, 3, tzinfo=UTC).replace(tzinfo=None))
    workflow.add_step("instant", lambda text: datetime(2020, 1, 2, 3, tzinfo=UTC))
    workflow.add_step("nanoseconds", lambda text: np.datetime64("2020-01-02T03:00:00", "ns"))
    workflow.add_step("day", lambda text: date(2020, 1, 2))
    done = workflow.map(pd.DataFrame({"text": ["abc"]}), out=tmp_path / "out", progress=False)
    first = done.iloc[0]
    assert (first["count"], first["fields.ok"], first["fields.list"]) == (3, True, "[1, 2]")
    assert done["count"].dtype == np.int64
    assert first["at"] == first["nanoseconds"] == pd.Timestamp(2020, 1, 2, 3)
    assert first["instant"] == pd.Timestamp(2020, 1, 2, 3, tz="UTC")
    assert first["day"] == date(2020, 1, 2)


def test_what_parquet_cannot_hold_is_text_and_ends_no_job(tmp_path: Path) -> None:
    workflow = Workflow("odd")
    circle: list[Any] = []
    circle.append(circle)
    workflow.add_step("step", lambda number: ["half \ud800", {"m": {(1, 2): 3}}, {"c": circle}, {"\ud800": 1}][number])
    done = workflow.map(pd.DataFrame({"number": range(4)}), out=tmp_path / "out", progress=False)
    assert set(done["status"]) == {"ok"}
    assert done["step"].iloc[0] == "half \\ud800"
    assert done["step.m"].iloc[1] == "{(1, 2): 3}"
    assert done["step.c"].iloc[2] == "[[...]]"
    assert done["step.\\ud800"].iloc[3] == 1


def test_answers_that_were_cut_off_or_filtered_can_be_found(scripted: Endpoint) -> None:
    scripted.follow(replies=[{"text": "", "stop_reason": "content_filtered"}, {"text": "fine"}])
    workflow = Workflow("asks")
    client = BedrockClient(endpoint_url=scripted.url)
    workflow.add_step("ask", SimpleAgent(AgentConfig(name="a"), client, prompt_template="{text}"))
    done = workflow.map(pd.DataFrame({"text": ["one", "two"]}), max_concurrency=1, progress=False)
    assert list(done["status"]) == ["ok", "ok"]
    assert list(done["stop_reason"].fillna("")) == ["content_filtered", ""]


BAD: list[tuple[Any, dict[str, Any], str]] = [
    (pd.DataFrame({"body": ["a"]}), {}, "no column 'text'"),
    (pd.DataFrame({"text": ["a", None]}, index=["x", "y"]), {}, "'text' .* has no value in row 'y'"),
    (pd.DataFrame({"text": ["a", "b"]}, index=["x", "x"]), {}, "'x' more than once"),
    (pd.DataFrame({"text": ["a", 1]}), {}, "'text' of the DataFrame mixes types: str first, and in row 1 int"),
    (pd.DataFrame({"text": []}), {}, "no rows"),
    (pd.DataFrame({"text": ["a"]}), {"columns": {"txt": "text"}}, "no input 'txt'.*did you mean 'text'"),
    (pd.DataFrame({"text": ["a"]}), {"columns": {"text": "txet"}}, "no column 'txet'.*did you mean 'text'"),
    (pd.DataFrame({"text": ["a"]}), {"max_concurrency": 0}, "max_concurrency=0"),
    (pd.DataFrame({"text": ["a"]}), {"tone": "dry"}, "no input 'tone'"),
    ("nothing.csv", {}, "no file 'nothing.csv'"),
    ("rows.xlsx", {}, "of no kind that can be read"),
    (17, {}, "of type int"),
]


@pytest.mark.parametrize(("rows", "options", "words"), BAD, ids=[words[:20] for _, _, words in BAD])
def test_bad_input_is_told_before_anything_runs(rows: Any, options: dict[str, Any], words: str) -> None:
    ran: list[str] = []
    workflow = Workflow("never")
    workflow.add_step("run", lambda text: ran.insert(0, text))
    with pytest.raises((InputError, DefinitionError), match=words):
        workflow.map(rows, progress=False, **options)
    assert ran == []


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", b"text\nna\xefve\n", "not UTF-8"),
        ("a.csv", b"", "no rows|no column"),
        ("a.csv", b"text\n", "no rows"),
        ("a.csv", b"text\na\nb,c\n", "cannot be read as CSV.*line 3"),
        ("a.parquet", b"not parquet", "cannot be read as Parquet"),
        ("a.jsonl", b'{"text": "a"}\n{"text": \n', "Line 2 of a.jsonl is no JSON"),
        ("a.jsonl", b'["a"]\n', "Line 1 of a.jsonl is no object"),
        ("a.jsonl", b'{"text": "a"}\n{"text": 5}\n', "mixes types"),
    ],
)
def test_files_that_cannot_be_read_are_told(name: str, content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=words):
        shouting().map(tmp_path / name, progress=False)


def test_the_output_of_another_job_is_refused(tmp_path: Path) -> None:
    frame = pd.DataFrame({"text": ["a"]})
    shouting().map(frame, out=tmp_path / "out", progress=False)
    other = Workflow("other")
    other.add_step("shout", lambda text: text)
    with pytest.raises(InputError, match="another job, of the workflow 'shouting'"):
        other.map(frame, out=tmp_path / "out", progress=False)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("Dear")
    with pytest.raises(InputError, match="other files"):
        other.map(frame, out=tmp_path / "mine", progress=False)


def test_too_many_failures_stop_the_job(tmp_path: Path) -> None:
    from agentflow.batch.world import JobStopped

    workflow = Workflow("failing")
    workflow.add_step("fail", lambda text: 1 / 0)
    frame = pd.DataFrame({"text": [str(number) for number in range(500)]})
    with pytest.raises(JobStopped, match="4 rows failed, more than the 3 allowed"):
        workflow.map(frame, out=tmp_path / "out", max_failures=3, max_concurrency=1, progress=False)
    assert len(pd.read_parquet(tmp_path / "out")) < 50


def test_a_quote_is_told_before_and_lines_where_nobody_watches(
    scripted: Endpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted.follow(text="fine")
    workflow = Workflow("asks")
    client = BedrockClient(
        endpoint_url=scripted.url, max_connections=4, quotas={"haiku": Quota(requests_per_minute=600)}
    )
    workflow.add_step("ask", SimpleAgent(AgentConfig(name="a"), client, prompt_template="{text}"))
    workflow.map(pd.DataFrame({"text": [str(number) for number in range(50)]}), max_concurrency=8)
    told = capsys.readouterr().err
    assert "50 rows to ask: likely $" in told
    assert "set BEDROCK_MAX_CONNECTIONS=8" in told
    assert "step 'ask' takes 5 s or more at its quota of 600 requests/min" in told
    assert "50 of 50 rows" in told
    assert "\r" not in told


def test_an_interrupted_map_keeps_what_is_done(tmp_path: Path) -> None:
    import _thread

    workflow = Workflow("interrupted")

    def step(number: int) -> int:
        if number == 150:
            _thread.interrupt_main()
        return number

    workflow.add_step("step", step)
    with pytest.raises(RunInterrupted, match="the same command goes on"):
        workflow.map(pd.DataFrame({"number": range(20_000)}), out=tmp_path / "out", max_concurrency=2, progress=False)
    assert 100 < len(pd.read_parquet(tmp_path / "out")) < 20_000
