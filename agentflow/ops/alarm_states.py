"""How the alarms stand: as CloudWatch says, or by their figures in the records of runs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from agentflow.core.errors import InputError
from agentflow.ops.cloudwatch import aws_client
from agentflow.ops.deployment.config import Thresholds
from agentflow.ops.diagnosis.alarms import ALARMS
from agentflow.ops.diagnosis.seen import Seen
from agentflow.views.format import duration
from agentflow.views.verdicts import Verdict, Verdicts, Word

if TYPE_CHECKING:
    import pandas as pd

PREFIX = "agentflow-"
_LOW = frozenset({"agentflow-low-success-rate", "agentflow-nothing-ran"})  # go off below their threshold
_MOST_PERIODS = 300  # of a window: longer ones are looked at in longer periods
_MILLISECONDS = {" min": 60_000.0, " s": 1000.0, " ms": 1.0}
_STATES: dict[str, Word] = {"OK": "ok", "ALARM": "poor", "INSUFFICIENT_DATA": "not checked"}


def figure(name: str, seen: Seen) -> float | None:
    """Return an alarm's figure in the window; None where there is nothing to measure."""
    return ALARMS[name][2](seen)


def threshold(name: str, limits: Thresholds) -> float | None:
    """Return the threshold of an alarm; None where it has none."""
    if name == "agentflow-nothing-ran":
        return None if limits.nothing_ran_hours is None else 1.0
    value = getattr(limits, ALARMS[name][3])
    return None if value is None else float(value)


def limit_text(name: str, limits: Thresholds) -> str:
    """Return when an alarm goes off, such as `> 5%`; empty where it never does."""
    value = threshold(name, limits)
    sign = "<" if name in _LOW else ">"
    return "" if value is None else f"{sign} {value:,g}{ALARMS[name][1]}"


def is_over(name: str, value: float | None, limits: Thresholds) -> bool:
    """Return whether a figure is one that the alarm is for."""
    limit = threshold(name, limits)
    if value is None or limit is None:
        return False
    return value < limit if name in _LOW else value > limit


def written(name: str, value: float | None) -> str:
    """Return a figure of an alarm with its unit and what it is of."""
    what, unit, _, _ = ALARMS[name]
    if value is None:
        return "nothing to measure"
    told = duration(value * _MILLISECONDS[unit]) if unit in _MILLISECONDS else f"{value:,.3g}{unit}"
    return f"{what} {told}" if unit in _MILLISECONDS else f"{told} ({what})"


def crossings(seen: Seen) -> dict[str, datetime]:
    """Return for each alarm the beginning of the first period in which its figure is over the threshold.

    A rate of fewer than `minimum_count` samples says nothing, as in the alarms that are deployed.
    """
    found: dict[str, datetime] = {}
    for begin, period in _periods(seen):
        for name in ALARMS:
            is_measured = name not in found and name != "agentflow-nothing-ran" and _is_enough(name, period)
            if is_measured and is_over(name, figure(name, period), seen.limits):
                found[name] = begin
    return found


def alarm_states(seen: Seen, source: str | Path = "store") -> Verdicts:
    """Return how each alarm stands. Blocks where `source` is `cloudwatch`.

    There, CloudWatch says it. Elsewhere it is found in the records: an alarm is on where its figure is over the
    threshold in each of the last periods.

    Raises
    ------
    InputError
        CloudWatch refused, or cannot be reached.
    """
    return Verdicts(_of_cloudwatch() if source == "cloudwatch" else _computed(seen))


def _computed(seen: Seen) -> Iterator[Verdict]:
    limits = seen.limits
    periods = limits.evaluation_periods
    newest = [period for _, period in _newest(seen, periods)]
    for name in ALARMS:
        if not (limit := limit_text(name, limits)):
            continue
        if name == "agentflow-nothing-ran":
            ended = figure(name, seen)
            word: Word = "ok" if ended else "warning"
            yield Verdict(name, word, written(name, ended), "" if ended else _command(name), limit)
            continue
        values = [figure(name, period) if _is_enough(name, period) else None for period in newest]
        over = sum(is_over(name, value, limits) for value in values)
        last = next((value for value in reversed(values) if value is not None), None)
        word = "poor" if over == periods else "warning" if over else "ok" if last is not None else "not checked"
        told = f"; over in {over} of the last {periods} periods" if over else ""
        yield Verdict(name, word, written(name, last) + told, _command(name) if over else "", limit)


def _of_cloudwatch() -> Iterator[Verdict]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        pages = aws_client("cloudwatch").get_paginator("describe_alarms").paginate(AlarmNamePrefix=PREFIX)
        found = [alarm for page in pages for alarm in page["MetricAlarms"]]
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        raise InputError(
            f"CloudWatch refused to show the alarms: {code}.", fix="Allow cloudwatch:DescribeAlarms."
        ) from error
    except BotoCoreError as error:
        raise InputError(f"CloudWatch cannot be asked: {error}.", fix="Check AWS_PROFILE and AWS_REGION.") from error
    if not found:
        yield Verdict("alarms", "poor", "there are none", "agentflow deploy template > agentflow.yaml, then deploy it")
    for alarm in found:
        name, word = alarm["AlarmName"], _STATES.get(alarm["StateValue"], "not checked")
        since = f"{alarm['StateUpdatedTimestamp']:%Y-%m-%d %H:%M} UTC" if "StateUpdatedTimestamp" in alarm else ""
        figure_ = f"{alarm['StateValue']} since {since}" if since else alarm["StateValue"]
        reason = f" ({alarm['StateReason']})" if word == "poor" and alarm.get("StateReason") else ""
        yield Verdict(name, word, figure_ + reason, _command(name) if word == "poor" else "", "")


def _command(name: str) -> str:
    return f"agentflow diagnose --since 30m --alarm {name}"


def _is_enough(name: str, seen: Seen) -> bool:
    """Return whether there are as many samples as a rate needs to say something."""
    if ALARMS[name][1] != "%":
        return True
    samples = {"workflows": seen.ended, "steps": seen.steps, "requests": seen.attempts}[ALARMS[name][0].split()[0]]
    return len(seen.new(samples)) >= seen.limits.minimum_count


def _periods(seen: Seen) -> Iterator[tuple[datetime, Seen]]:
    """Give the periods of the window that have records, the oldest first."""
    new = seen.new(seen.records)
    if new.empty:
        return
    seconds = seen.limits.period_seconds
    while (new["timestamp"].max() - new["timestamp"].min()).total_seconds() > _MOST_PERIODS * seconds:
        seconds *= 2  # type: ignore[assignment]  # no setting any more
    begins = new["timestamp"].dt.floor(f"{seconds}s")
    for begin, records in new.groupby(begins):
        yield begin.to_pydatetime(), _seen(records, seen)


def _newest(seen: Seen, periods: int) -> Iterator[tuple[datetime, Seen]]:
    """Give the last periods until now, the oldest first."""
    new = seen.new(seen.records)
    seconds = seen.limits.period_seconds
    last = datetime.fromtimestamp(seen.now.timestamp() // seconds * seconds, UTC)
    for number in range(periods - 1, -1, -1):
        begin = last - timedelta(seconds=number * seconds)
        is_within = (new["timestamp"] >= begin) & (new["timestamp"] < begin + timedelta(seconds=seconds))
        yield begin, _seen(new[is_within], seen)


def _seen(records: pd.DataFrame, seen: Seen) -> Seen:
    return Seen(records, seen.now, seen.limits)
