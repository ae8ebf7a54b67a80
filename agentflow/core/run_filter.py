"""Which runs of the journal somebody wants to see."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, TypeAlias, get_args

from agentflow.core.errors import InputError, nearest
from agentflow.core.events import RunStatus

Since: TypeAlias = datetime | date | timedelta | str | None

_AGO = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|m|h|d|w)")
_SECONDS = {"s": 1, "min": 60, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


class RunFilter:
    """The filters of `agentflow.runs()`, as that describes them.

    Attributes
    ----------
    said : the filters in words; empty where there are none.

    Raises
    ------
    InputError
        One of them is none.
    """

    def __init__(
        self, workflow: str | Sequence[str] | None, status: str | Sequence[str] | None, since: Since, limit: int | None
    ) -> None:
        self._workflows = _words("workflow", workflow)
        self._statuses = _words("status", status)
        for word in self._statuses or ():
            if word not in get_args(RunStatus):
                known = get_args(RunStatus)
                raise InputError(f"No run is {word!r}{nearest(word, known)}.", fix=f"Give one of {', '.join(known)}.")
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
            raise InputError(f"limit={limit!r} is no number of runs.", fix="Give 1 or more.")
        self._since = moment(since)
        self._limit = limit
        told = {"workflow": self._workflows, "status": self._statuses}
        words = [f"{name} {' or '.join(values)}" for name, values in told.items() if values]
        words += [f"since {self._since:%Y-%m-%d %H:%M} UTC"] if self._since else []
        words += [f"the newest {limit:,}"] if limit else []
        self.said = ", ".join(words)

    def of(self, records: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Return those of the journal's runs that are wanted."""
        return [record for record in records if self._is_wanted(record)][: self._limit]

    def _is_wanted(self, record: Mapping[str, Any]) -> bool:
        return (
            (self._workflows is None or record["workflow"] in self._workflows)
            and (self._statuses is None or record["status"] in self._statuses)
            and (self._since is None or record["started_at"] >= self._since)
        )


def _words(name: str, given: str | Sequence[str] | None) -> Sequence[str] | None:
    words = [given] if isinstance(given, str) else given
    if words is None:
        return None
    if not isinstance(words, Sequence) or not all(isinstance(word, str) for word in words):
        raise InputError(f"{name}={given!r} is no name.", fix="Give a name, or a list of names.")
    return words


def moment(since: Since) -> datetime | None:
    """Return a moment in UTC.

    Raises
    ------
    InputError
        It is none.
    """
    if since is None:
        return None
    if isinstance(since, timedelta):
        return datetime.now(UTC) - since
    if isinstance(since, datetime):
        return since.astimezone(UTC)
    if isinstance(since, date):
        return datetime.combine(since, time()).astimezone(UTC)
    if isinstance(since, str):
        if ago := _AGO.fullmatch(since.strip()):
            return datetime.now(UTC) - timedelta(seconds=float(ago[1]) * _SECONDS[ago[2]])
        try:
            return datetime.fromisoformat(since.strip()).astimezone(UTC)
        except ValueError:
            pass
    raise InputError(
        f"since={since!r} is no moment.", fix="Give a datetime, '2026-11-01', or how long ago: '24h', '7d'."
    )
