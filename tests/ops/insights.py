"""As much of CloudWatch Logs Insights as the runbook's queries need, over records: moto evaluates no query.

Semantics: Amazon CloudWatch Logs User Guide, "CloudWatch Logs Insights language query syntax".
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

Row = dict[str, Any]


def run(query: str, records: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Return the rows of a query; a field that a record does not have is not in its row."""
    rows: list[Row] = [
        {**record, "@timestamp": record["timestamp"], "@message": str(record["message"])} for record in records
    ]
    for line in query.splitlines():
        command, _, rest = line.removeprefix("| ").partition(" ")
        rows = _COMMANDS[command](rest, rows)
    return rows


def fields_of(query: str) -> set[str]:
    """Return the fields of a record that a query names."""
    text = re.sub(r"/.*?/|\"[^\"]*\"| as \w+", " ", query)
    words = set(re.findall(r"@?[a-z_]+", text))
    return words - _WORDS - {word for word in words if word.startswith("@")}


_WORDS = {"fields", "filter", "sort", "limit", "stats", "by", "and", "like", "desc", "asc", "sum", "count", "bin", "m"}


def _fields(rest: str, rows: list[Row]) -> list[Row]:
    del rest  # it only says what is shown; what comes after may use other fields too
    return rows


def _filter(rest: str, rows: list[Row]) -> list[Row]:
    tests = rest.split(" and ")
    return [row for row in rows if all(_holds(test, row) for test in tests)]


def _holds(test: str, row: Row) -> bool:
    name, operator, value = test.split(" ", 2)
    if row.get(name) is None:
        return False
    if operator == "like":
        return re.search(value.strip("/"), str(row[name])) is not None
    if operator == ">":
        return float(row[name]) > float(value)
    assert operator == "="
    return str(row[name]) == value.strip('"')


def _sort(rest: str, rows: list[Row]) -> list[Row]:
    name, _, direction = rest.partition(" ")
    return sorted(rows, key=lambda row: row[name], reverse=direction == "desc")


def _limit(rest: str, rows: list[Row]) -> list[Row]:
    return rows[: int(rest)]


def _stats(rest: str, rows: list[Row]) -> list[Row]:
    sums, _, groups = rest.partition(" by ")
    names = groups.split(", ")
    grouped: defaultdict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        grouped[tuple(_group(name, row) for name in names)].append(row)
    return [
        dict(zip(names, key, strict=True)) | _aggregates(sums, members)
        for key, members in grouped.items()
        if any(part is not None for part in key)
    ]


def _group(name: str, row: Row) -> Any:
    if name != "bin(5m)":
        return row.get(name)
    at = datetime.fromisoformat(row["@timestamp"])
    return at.replace(minute=at.minute // 5 * 5, second=0, microsecond=0)


def _aggregates(sums: str, members: list[Row]) -> Row:
    made: Row = Counter()
    for part in sums.split(", "):
        if part == "count()":
            made["count"] = len(members)
            continue
        name, _, alias = part.removeprefix("sum(").partition(") as ")
        made[alias] = sum(member.get(name) or 0 for member in members)
    return dict(made)


_COMMANDS = {"fields": _fields, "filter": _filter, "sort": _sort, "limit": _limit, "stats": _stats}
