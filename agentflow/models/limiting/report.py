"""What the models of a client may be asked, and how far that is used: what `client.quota()` returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentflow.core import ports
from agentflow.models.limiting.lane import Lane
from agentflow.models.limiting.lanes import lanes
from agentflow.models.route import Route

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "account", "region", "model_id", "source", "tokens_per_minute", "requests_per_minute", "reserved_tokens",
    "used_tokens", "headroom_tokens", "in_flight", "waiting", "throttled", "queued_ms", "wasteful_step", "max_tokens",
    "advised_max_tokens",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class QuotaReport:
    """What the models of a client may be asked, and how far that is used, when it was made.

    Attributes
    ----------
    rows : one a region and model that was asked; None is unknown.
    """

    rows: Sequence[Mapping[str, Any]]

    def to_frame(self) -> pd.DataFrame:
        """Return the report as a table.

        Returns
        -------
        DataFrame, one row a region and model that was asked
            `account, region, model_id, source` (`given`, `Service Quotas`, `learned` or `unknown`)`,
            tokens_per_minute, requests_per_minute` (as they are kept to now)`, reserved_tokens` (of requests in
            flight)`, used_tokens` (in the last minute)`, headroom_tokens, in_flight, waiting, throttled` (refusals)`,
            queued_ms` (all waits together)`, wasteful_step` (whose `max_tokens` reserves most in vain)`, max_tokens`
            (of that step)`, advised_max_tokens` (what does for 99 of 100 of its answers).
        """
        frame: pd.DataFrame = ports.load("quota_report_frame")(self.rows, COLUMNS)
        return frame

    def __repr__(self) -> str:
        return "\n".join(map(_sentence, self.rows)) or "Nothing was asked yet."

    def _repr_html_(self) -> str:
        html: str = self.to_frame().to_html(index=False)
        return html


def quota_report(route: Route) -> QuotaReport:
    """Return the report of the lanes that a client's calls take."""
    ways = {(way.account, way.link.target.endpoint_url, way.region) for way in (route, *route.elsewhere)}
    return QuotaReport([_row(lane) for lane in lanes.all() if lane.key[:3] in ways])


def _row(lane: Lane) -> Mapping[str, Any]:
    step = lane.wasteful_step()
    per_minute = {
        name: None if pace.rate is None else round(pace.rate * 60, 1)
        for name, pace in (("tokens", lane.tokens), ("requests", lane.requests))
    }
    headroom = lane.headroom_tokens()
    return {
        "account": lane.key.account,
        "region": lane.key.region,
        "model_id": lane.key.model_id,
        "source": lane.source,
        "tokens_per_minute": per_minute["tokens"],
        "requests_per_minute": per_minute["requests"],
        "reserved_tokens": lane.reserved_tokens,
        "used_tokens": lane.used_last_minute(),
        "headroom_tokens": None if headroom is None else int(headroom),
        "in_flight": lane.in_flight,
        "waiting": lane.waiting,
        "throttled": lane.throttled,
        "queued_ms": lane.queued_seconds * 1000,
        "wasteful_step": step and (step.step or "calls outside of runs"),
        "max_tokens": step and step.max_tokens,
        "advised_max_tokens": step and step.advised_max_tokens,
    }


def _sentence(row: Mapping[str, Any]) -> str:
    paces = [
        f"{row[f'{unit}_per_minute']:,.0f} {unit}/min"
        for unit in ("tokens", "requests")
        if row[f"{unit}_per_minute"] is not None
    ]
    headroom = "" if row["headroom_tokens"] is None else f", {row['headroom_tokens']:,} free"
    text = (
        f"{row['model_id']} in {row['region']}: {' and '.join(paces) or 'no limit known'} ({row['source']}); "
        f"{row['used_tokens']:,} tokens used in the last minute, {row['reserved_tokens']:,} reserved{headroom}; "
        f"{row['in_flight']:,} in flight, {row['waiting']:,} waiting, {row['throttled']:,} refused, "
        f"{row['queued_ms'] / 1000:.1f} s queued."
    )
    if row["wasteful_step"]:
        text += (
            f" max_tokens of {row['wasteful_step']} reserves most in vain: {row['advised_max_tokens']:,} would do, "
            f"not {row['max_tokens']:,}."
        )
    return text
