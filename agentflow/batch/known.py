"""What is known of rows, by what they are: each answer is that of one row, and more rows that are equal get copies."""

from __future__ import annotations

from collections.abc import Iterable

from agentflow.batch.outputs import Record

_OF_A_COPY: Record = {
    "attempts": 0,
    "latency_ms": 0.0,
    "input_tokens": 0,
    "output_tokens": 0,
    "cost_usd": 0.0,
    "cached": True,
}


class Known:
    """What is known of rows, by their keys.

    Parameters
    ----------
    without_failed : leave rows out that failed, since they are to be asked again.
    """

    def __init__(self, records: Iterable[tuple[str, Record]] = (), *, without_failed: bool = False) -> None:
        self._records: dict[str, list[Record]] = {}
        for key, record in records:
            if record["status"] == "ok" or not without_failed:
                self._records.setdefault(key, []).append(record)

    def __contains__(self, key: str) -> bool:
        return key in self._records

    def __bool__(self) -> bool:
        return bool(self._records)

    def take(self, key: str) -> Record | None:
        """Return what is known of the next row with a key; where all was taken before, a copy, which cost nothing."""
        records = self._records.get(key)
        if records is None:
            return None
        record = records[0]
        if len(records) > 1:
            del records[0]
        elif record["cached"] is not None:  # it has asked models
            records[0] = record | _OF_A_COPY
        return record
