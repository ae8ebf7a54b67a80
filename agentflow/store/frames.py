"""DataFrames and Series as the journal keeps them: Arrow's IPC stream, which pyarrow writes."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from agentflow.core.errors import JournalError
from agentflow.store.classes import Unkeepable

if TYPE_CHECKING:
    import pandas as pd

NEEDS_PYARROW = "needs pyarrow: pip install 'agentflow-bedrock[dataframes]'"
_SERIES = b"agentflow.series"  # the key of a Series' name among the metadata


def is_frame(value: Any) -> bool:
    """Return whether a value is a DataFrame or a Series; pandas is not loaded to find out."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and type(value) in (pandas.DataFrame, pandas.Series)


def to_arrow(value: pd.DataFrame | pd.Series[Any]) -> bytes:
    """Return a frame as bytes.

    Raises
    ------
    Unkeepable
        pyarrow is missing, or Arrow cannot hold it as it is.
    """
    import pandas as pd

    if find_spec("pyarrow") is None:
        raise Unkeepable(f"it {NEEDS_PYARROW}")
    import pyarrow as pa

    series_name = [value.name] if isinstance(value, pd.Series) else None
    if series_name and not isinstance(series_name[0], str | int | None):
        raise Unkeepable(f"the name of the Series is of type {type(series_name[0]).__name__}")
    frame = value if isinstance(value, pd.DataFrame) else value.to_frame(name="values")
    try:
        table = pa.Table.from_pandas(frame)
        if series_name:
            table = table.replace_schema_metadata({**table.schema.metadata, _SERIES: json.dumps(series_name).encode()})
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
        data: bytes = sink.getvalue().to_pybytes()
        restored = from_arrow(data)
        if isinstance(value, pd.DataFrame):
            pd.testing.assert_frame_equal(restored, value, check_exact=True, check_freq=False)
        else:
            pd.testing.assert_series_equal(restored, value, check_exact=True, check_freq=False)
    except (pa.ArrowException, AssertionError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise Unkeepable(f"Arrow cannot hold this {type(value).__name__}: {reason}") from error
    return data


def from_arrow(data: bytes) -> Any:
    """Return the frame that bytes hold.

    Raises
    ------
    JournalError
        pyarrow is missing.
    """
    if find_spec("pyarrow") is None:
        raise JournalError(f"A kept DataFrame {NEEDS_PYARROW}.", fix="Install it, and read it again.")
    import pyarrow as pa

    table = pa.ipc.open_stream(data).read_all()
    frame = table.to_pandas()
    name = (table.schema.metadata or {}).get(_SERIES)
    return frame if name is None else frame["values"].rename(json.loads(name)[0])
