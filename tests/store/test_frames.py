"""DataFrames and Series: Arrow holds them as they were, or says why not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from agentflow.store import frames
from agentflow.store.codec import FRAME, decode, encode

FRAMES = [
    pd.DataFrame({"a": [1, 2], "b": ["x", None], "c": [1.5, float("nan")]}),
    pd.DataFrame({"when": pd.to_datetime(["2026-01-01", "NaT"], utc=True), "kind": pd.Categorical(["a", "b"])}),
    pd.DataFrame({"n": pd.array([1, None], dtype="Int64"), "ok": pd.array([True, None], dtype="boolean")}),
    pd.DataFrame(np.arange(6).reshape(2, 3), index=pd.Index(["r", "s"], name="row")),
    pd.DataFrame({("a", 1): [1], ("b", 2): [2]}),
    pd.DataFrame(index=pd.date_range("2026-01-01", periods=3), data={"x": [1, 2, 3]}),
    pd.DataFrame(),
]


@pytest.mark.parametrize("frame", FRAMES, ids=range(len(FRAMES)))
def test_a_frame_comes_back(frame: pd.DataFrame) -> None:
    encoded = encode(frame)
    assert (encoded.kind, encoded.problem) == (FRAME, "")
    pd.testing.assert_frame_equal(decode(FRAME, encoded.data or b""), frame, check_freq=False)


@pytest.mark.parametrize("name", [None, "price", 3])
def test_a_series_comes_back_with_its_name(name: Any) -> None:
    series = pd.Series([1.0, 2.0], index=["a", "b"], name=name)
    pd.testing.assert_series_equal(decode(FRAME, encode(series).data or b""), series)


def test_a_frame_among_other_values_comes_back() -> None:
    encoded = encode({"rows": [FRAMES[0]], "count": 2})
    back = decode(encoded.kind, encoded.data or "")
    pd.testing.assert_frame_equal(back["rows"][0], FRAMES[0])
    assert back["count"] == 2


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"mixed": [1, "a"]}),
        pd.DataFrame({"things": [object()]}),
        pd.DataFrame({"lists": [[1], [2, 3]]}),
        pd.DataFrame([[1, 2]], columns=["a", "a"]),
        pd.Series([1], name=("a", "b")),
    ],
    ids=["mixed", "objects", "lists", "two of a name", "name"],
)
def test_what_arrow_cannot_hold_is_a_problem(frame: Any) -> None:
    encoded = encode(frame)
    assert encoded.data is None
    assert "Arrow cannot hold this" in encoded.problem or "the name of the Series" in encoded.problem


def test_without_pyarrow_the_problem_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode(FRAMES[0]).data
    monkeypatch.setattr(frames, "find_spec", lambda _name: None)
    assert encode(FRAMES[0]).problem == "it needs pyarrow: pip install 'agentflow-bedrock[dataframes]'"
    with pytest.raises(Exception, match=r"needs pyarrow: pip install 'agentflow-bedrock\[dataframes\]'"):
        decode(FRAME, data or b"")
