"""What the columns of the output are called: the input's, the outputs' and the job's own never have one name."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from itertools import permutations
from typing import TYPE_CHECKING, Any

from agentflow.batch.outputs import ABOUT
from agentflow.core.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

_PANDAS = b"pandas"


def new_names(steps: Collection[str], schema: pa.Schema) -> dict[str, str]:
    """Return other names for columns of the input, the index among them, whose names the output has for others.

    Raises
    ------
    InputError
        A step has the name of a column that every output has, two steps would give the same column, or a column of the
        input has a name that pandas keeps for the index.
    """
    for step in steps:
        if step in ABOUT:
            raise InputError(
                f"The step {step!r} would give the column {step!r}, in which the output says how each row's run went.",
                fix="Give the step another id.",
            )
    for step, other in permutations(steps, 2):
        if other.startswith(f"{step}."):
            raise InputError(
                f"The steps {step!r} and {other!r} may both give a column {other!r}.",
                fix="Give one of them an id without a dot.",
            )
    index = {str(name) for name in _pandas_of(schema).get("index_columns", ())}
    names = schema.names
    for name in names:
        if names.count(name) > 1 or (name.startswith("__index_level_") and name not in index):
            raise InputError(
                f"The column {name!r} of the input has the name of another column, or one that pandas keeps for an "
                "index.",
                fix="Rename it.",
            )
    made: dict[str, str] = {}
    taken = set(names)
    for name in names:
        new = name
        while (
            new in ABOUT
            or any(new == step or new.startswith(f"{step}.") for step in steps)
            or (new != name and new in taken)
        ):
            new = f"input_{new}"
        if new != name:
            made[name] = new
            taken.add(new)
    return made


def renamed(table: pa.Table, names: Mapping[str, str]) -> pa.Table:
    """Return a table whose columns have other names, the index among them."""
    if not names:
        return table
    metadata = dict(table.schema.metadata or {})
    if pandas := _pandas_of(table.schema):
        pandas["index_columns"] = [
            names.get(name, name) if isinstance(name, str) else name for name in pandas["index_columns"]
        ]
        for column in pandas["columns"]:
            if column["field_name"] in names:
                column["name"] = column["field_name"] = names[column["field_name"]]
        metadata[_PANDAS] = json.dumps(pandas).encode()
    columns = [names.get(name, name) for name in table.column_names]
    return table.rename_columns(columns).replace_schema_metadata(metadata)


def _pandas_of(schema: pa.Schema) -> dict[str, Any]:
    """Return what pandas has noted of a table."""
    noted: dict[str, Any] = json.loads((schema.metadata or {}).get(_PANDAS, b"{}"))
    return noted
