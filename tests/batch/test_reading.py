"""What a job reads from DataFrames and files: the values that rows send, the index and columns that are kept."""

from __future__ import annotations

import gzip
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from agentflow import Workflow
from agentflow.core.errors import InputError, RunInterrupted


def seeing(name: str = "seeing") -> tuple[Workflow, list[Any]]:
    """Return a workflow of the input `text`, and the values that it was given."""
    seen: list[Any] = []

    def see(text: Any) -> str:
        seen.append(text)
        return str(text)

    workflow = Workflow(name)
    workflow.add_step("see", see)
    return workflow, seen


@pytest.mark.parametrize("unit", ["ns", "us"])
@pytest.mark.parametrize("zone", [None, "Europe/Berlin", timezone(timedelta(hours=1))])
def test_times_are_plain_python_ones(unit: Any, zone: Any) -> None:
    workflow, seen = seeing()
    moments = pd.date_range("2020", periods=2, freq="h", unit=unit, tz=zone)
    workflow.map(pd.DataFrame({"text": moments}), progress=False)
    assert {type(value) for value in seen} == {datetime}
    assert sorted(seen) == list(moments)


def test_what_is_finer_than_a_microsecond_is_left_out_of_what_a_row_sends_alone(tmp_path: Path) -> None:
    workflow, seen = seeing()
    spans = pd.Series(pd.to_timedelta([1_001, 2_000], unit="ns"))
    nested = [[pd.Timestamp(1_001)], [pd.Timestamp(2_000)]]
    done = workflow.map(pd.DataFrame({"text": spans}), out=tmp_path / "spans", progress=False)
    assert sorted(seen) == [timedelta(microseconds=1), timedelta(microseconds=2)]
    assert list(done["text"]) == list(spans)
    seen.clear()
    workflow.map(pd.DataFrame({"text": nested}), out=tmp_path / "nested", progress=False)
    assert [type(value[0]) for value in seen] == [datetime] * 2


def test_a_job_over_times_of_nanoseconds_goes_on_after_an_interrupt(tmp_path: Path) -> None:
    import _thread

    moments = pd.date_range("2020", periods=200, freq="h", unit="ns")
    pd.DataFrame({"text": moments}).to_parquet(tmp_path / "in.parquet")

    def step(text: datetime) -> str:
        if text == moments[50] and not (tmp_path / "interrupted").exists():
            (tmp_path / "interrupted").touch()
            _thread.interrupt_main()
        time.sleep(0.002)  # so that the interrupt comes before the end
        return str(text)

    workflow = Workflow("times")
    workflow.add_step("step", step)
    with pytest.raises(RunInterrupted):
        workflow.map(tmp_path / "in.parquet", out=tmp_path / "out", max_concurrency=2, progress=False)
    done = workflow.map(tmp_path / "in.parquet", out=tmp_path / "out", progress=False)
    assert list(done["step"]) == [str(moment) for moment in moments]


def keep(folder: Path, name: str, text: str) -> Path:
    """Write a file, and return where."""
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("text,customer\nThe shop is down,Ann,\nNo invoice,Bob,\n", "line 2 has 3 fields, and the header 2"),
        ('text,customer\n"a\nb",Ann\n"c\nd",Bob,x\n', "line 4 has 3 fields"),
        ('text,customer\na,b\n"c,d\n', "row of line 3 has a wrong quote"),
        ('text,customer\n"a" and b,c\n', "row of line 2 has a wrong quote"),
    ],
)
def test_a_row_that_does_not_fit_the_header_of_a_csv_file_is_told(text: str, words: str, tmp_path: Path) -> None:
    workflow, seen = seeing()
    with pytest.raises(InputError, match=words):
        workflow.map(keep(tmp_path, "a.csv", text), progress=False)
    assert seen == []


def test_what_a_row_of_a_csv_file_lacks_at_its_end_is_missing(tmp_path: Path) -> None:
    workflow, _ = seeing()
    done = workflow.map(keep(tmp_path, "a.csv", "text,more\n\na\nb,c\n"), out=tmp_path / "out", progress=False)
    assert done["more"].isna().tolist() == [True, False]
    with pytest.raises(InputError, match=r"'text' of b.csv has no value in line 4, .* in the file, or leave the row"):
        workflow.map(keep(tmp_path, "b.csv", "text,more\n\na,b\n,c\n"), out=tmp_path / "b", progress=False)


@pytest.mark.parametrize(
    ("texts", "values"),
    [
        (["1", "-20", "9223372036854775807"], [1, -20, 2**63 - 1]),
        (["1.5", "-0.0", "19.90"], [1.5, -0.0, 19.9]),
        (["True", "False"], [True, False]),
        (["true", "false"], None),
        (["1", "1.5"], [1.0, 1.5]),
        (["0.1234567890123456"], None),
        (["0123", "5"], None),
        (["+49170"], None),
        (["1e5"], None),
        (["Infinity", "inf", "nan"], None),
        (["NA", "null"], None),
        (["9223372036854775808"], None),
        ([" 1", "1_000", "1,5", "x" * 200_000], None),
    ],
)
def test_a_csv_column_is_of_numbers_where_all_are_plain_ones(
    texts: list[str], values: list[Any] | None, tmp_path: Path
) -> None:
    workflow, seen = seeing()
    rows = "".join(f'"{text}",{number}\n' for number, text in enumerate(texts))
    workflow.map(keep(tmp_path, "a.csv", f"text,id\n{rows}"), max_concurrency=1, progress=False)
    assert [(type(value), value) for value in seen] == [(type(value), value) for value in values or texts]


def test_whole_numbers_stay_whole_where_some_are_missing(tmp_path: Path) -> None:
    seen: list[Any] = []
    workflow = Workflow("optional")
    workflow.add_step("see", lambda text, size=None: seen.append((text, size)))
    workflow.map(keep(tmp_path, "a.csv", "text,size\na,1\nb,\n"), max_concurrency=1, progress=False)
    assert seen == [("a", 1), ("b", None)]


@pytest.mark.parametrize(("text", "value"), [("hello", "hello"), ("1.5", 1.5)])
def test_a_row_of_another_kind_under_numbers_leaves_the_rows_before_done(text: str, value: Any, tmp_path: Path) -> None:
    workflow, seen = seeing()
    numbers = "text\n" + "".join(f"{number}\n" for number in range(1_100))
    workflow.map(keep(tmp_path, "a.csv", numbers), out=tmp_path / "out", progress=False)
    assert len(seen) == 1_100
    workflow.map(keep(tmp_path, "a.csv", f"{numbers}{text}\n"), out=tmp_path / "out", progress=False)
    assert seen[1_100:] == [value]


@pytest.mark.parametrize("ending", ["csv", "jsonl", "frame"])
@pytest.mark.parametrize("inputs", [0, 1])
def test_a_workflow_that_needs_no_column_runs_once_a_row(ending: str, inputs: int, tmp_path: Path) -> None:
    seen: list[Any] = []
    workflow = Workflow("constant")
    if inputs:
        workflow.add_step("see", lambda tone: seen.append(tone))  # noqa: PLW0108 - its argument is the input
    else:
        workflow.add_step("see", lambda: seen.append("dry"))
    constants: dict[str, Any] = {"tone": "dry"} if inputs else {}
    for rows in (3, 3, 5):
        frame = pd.DataFrame({"x": range(rows)})
        frame.to_csv(tmp_path / "in.csv", index=False)
        frame.to_json(tmp_path / "in.jsonl", orient="records", lines=True)
        table: Any = frame if ending == "frame" else tmp_path / f"in.{ending}"
        done = workflow.map(table, out=tmp_path / "out", progress=False, **constants)
        assert list(done["status"]) == ["ok"] * rows
    assert set(seen) == {"dry"}
    assert len(seen) in (3, 5)  # rows that send the same are known by what they send


def test_index_and_types_of_a_parquet_file_are_kept(tmp_path: Path) -> None:
    workflow, _ = seeing()
    frame = pd.DataFrame(
        {
            "text": ["a", "b"],
            "number": pd.array([1, None], "Int64"),
            "truth": pd.array([True, None], "boolean"),
            "kind": pd.Categorical(["x", "y"]),
        }
    )
    indexes: list[Any] = [
        pd.Index(["x", "y"]),
        pd.RangeIndex(5, 9, 2, name="every"),
        pd.Index([3, 4], name="id"),
        pd.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["one", None]),
        pd.date_range("2020", periods=2),
    ]
    for number, index in enumerate(indexes):
        frame.index = index
        file = tmp_path / f"{number}.parquet"
        frame.to_parquet(file)
        read = workflow.map(file, out=tmp_path / f"of-file-{number}", progress=False)
        given = workflow.map(frame, out=tmp_path / f"of-frame-{number}", progress=False)
        assert read.dtypes.equals(given.dtypes)
        pd.testing.assert_frame_equal(read[list(frame)], given[list(frame)])
        pd.testing.assert_frame_equal(read[list(frame)], frame, check_freq=False, check_index_type="equiv")


def test_a_parquet_file_that_pandas_did_not_write_is_numbered(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"text": ["a", "b"]}), tmp_path / "in.parquet")
    workflow, _ = seeing()
    assert list(workflow.map(tmp_path / "in.parquet", progress=False).index) == [0, 1]


@pytest.mark.parametrize("row", ['{"text": "a", "m": {}}', '{"text": "a", "m": [{"n": {}}]}'])
def test_a_column_that_no_output_can_keep_is_told_before_anything_runs(row: str, tmp_path: Path) -> None:
    workflow, seen = seeing()
    with pytest.raises(InputError, match=r"'m' of a.jsonl cannot be kept in Parquet"):
        workflow.map(keep(tmp_path, "a.jsonl", row), progress=False)
    assert seen == []


def big(text: str) -> str:
    """Return rows of JSON Lines that fill a first chunk, and one more."""
    return '{"text": "a", "x": 1}\n' * 1_000 + text


BAD_FILES: list[tuple[str, bytes, str]] = [
    ("a.jsonl", b'\n{"text": "a"}\n{"text": 5}\n', "'text' of a.jsonl mixes types: str first, and in line 3 int"),
    ("a.jsonl", big('{"text": "a", "x": "y"}').encode(), "'x' of a.jsonl mixes types: int64 first, and in line 1001 s"),
    ("a.jsonl", b'{"text": "a"}\n{"text": "\\ud800"}\n', "'text' of a.jsonl has a value in line 2"),
    ("a.jsonl", b'{"text": "a", "x": 1180591620717411303424}\n', "'x' of a.jsonl has a value in line 1 .*too large"),
    ("a.jsonl", b'{"text": "a", "x": {"y": 1}}\n{"text": "a", "x": {"y": "z"}}\n', "'x' of a.jsonl .* in line 2"),
    ("a.jsonl", big('{"text": "a", "x": 1.5}\n{"text": "a", "x": 9007199254740993}').encode(), "'x' .* in line 1002"),
    ("a.jsonl", b'{"text": "a"}\n{"text": "na\xefve"}\n', "Line 2 of a.jsonl is not UTF-8 text: it has the byte 0xef"),
    ("a.jsonl", b"{}\n{}\n", "a.jsonl has no columns"),
    ("a.csv", b"text\n" + b"a\n" * 9_000 + b"na\xefve\n", "Line 9002 of a.csv is not UTF-8 text.*iconv -f latin1"),
    ("a.csv", "text\na\n".encode("utf-16"), "a.csv is UTF-16 text.*iconv -f utf-16"),
    ("a.csv", gzip.compress(b"text\na\n"), "a.csv is compressed by gzip.*a.csv.gz"),
    ("a.csv.gz", b"text\na\n", "a.csv.gz cannot be read: Not a gzipped file"),
    ("a.csv.gz", gzip.compress(b"text\na\n")[:-9], "a.csv.gz cannot be read: Compressed file ended"),
    ("a.csv", b"text;id\na;1\n", "a.csv has the one column 'text;id': its values are separated by ';'"),
    ("a.csv", b"text,text\na,b\n", "Two columns of a.csv have the name 'text'"),
    ("a.csv", b"body\na\n", r"columns=\{'text': 'COLUMN'\}, --column text=COLUMN"),
]


@pytest.mark.parametrize(("name", "content", "words"), BAD_FILES, ids=[words[:40] for *_, words in BAD_FILES])
def test_a_file_that_cannot_be_read_is_told_with_its_line_and_column(
    name: str, content: bytes, words: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    workflow, seen = seeing()
    with pytest.raises(InputError, match=words):
        workflow.map(tmp_path / name, progress=False)
    assert seen == []


BAD_FRAMES: list[tuple[pd.DataFrame, str]] = [
    (pd.DataFrame({"text": ["a", "b"]}, index=[1, "b"]), r"The index of the DataFrame .* mixes types"),
    (pd.DataFrame({("text", "x"): ["a"]}), "The columns of the DataFrame have 2 levels"),
    (pd.DataFrame({"text": pd.arrays.SparseArray([0, 1])}), "'text' of the DataFrame is of the type Sparse"),
    (pd.DataFrame({"text": ["a", "b"], "x": [object(), object()]}), "'x' of the DataFrame has a value in row 0"),
    (pd.DataFrame({"text": ["a"], "x": [2**70]}), "'x' of the DataFrame has a value in row 0"),
    (pd.DataFrame({"text": ["a", "b"]}, index=[1, 1]), "has 1 more than once"),
    (pd.DataFrame({"text": ["a", None]}, index=[10, 20]), r"no value in row 20, .*frame\.dropna"),
    (pd.DataFrame(index=[1, 2]), "has no columns"),
    (pd.DataFrame({"text": [pd.NA, "a", 1]}), "mixes types: str first, and in row 2 int"),
]


@pytest.mark.parametrize(("frame", "words"), BAD_FRAMES, ids=[words[:40] for _, words in BAD_FRAMES])
def test_a_frame_that_cannot_be_read_is_told(frame: pd.DataFrame, words: str) -> None:
    workflow, seen = seeing()
    with pytest.raises(InputError, match=words):
        workflow.map(frame, progress=False)
    assert seen == []


def test_a_folder_and_a_parquet_file_with_two_equal_names_are_told(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "x.csv").mkdir()
    pq.write_table(pa.table([["a"], ["b"]], names=["text", "text"]), tmp_path / "in.parquet")
    workflow, _ = seeing()
    with pytest.raises(InputError, match=r"x.csv' is a folder"):
        workflow.map(tmp_path / "x.csv", progress=False)
    with pytest.raises(InputError, match=r"Two columns of in.parquet have the name 'text'"):
        workflow.map(tmp_path / "in.parquet", progress=False)


@pytest.mark.parametrize("name", ["in.csv.gz", "in.jsonl.gz"])
def test_files_compressed_by_gzip_are_read(name: str, tmp_path: Path) -> None:
    text = "\ufefftext\na\n" if "csv" in name else '{"text": "a"}\n'
    (tmp_path / name).write_bytes(gzip.compress(text.encode()))
    workflow, seen = seeing()
    workflow.map(tmp_path / name, progress=False)
    assert seen == ["a"]


def test_an_output_that_cannot_be_made_is_told() -> None:
    workflow, _ = seeing()
    with pytest.raises(InputError, match="'/proc/x' cannot be written"):
        workflow.map(pd.DataFrame({"text": ["a"]}), out="/proc/x", progress=False)
