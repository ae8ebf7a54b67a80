"""Make a fault script happen: which of its rules a request meets, and what they do to its answer."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from random import Random
from typing import TypeAlias

from agentflow.local.billing import Call
from agentflow.local.chat import Begin, Finish, Items, Piece
from agentflow.local.clock import Clock
from agentflow.local.errors import BrokenOffError, Refusal
from agentflow.local.fault_script import (
    BrokenStream,
    FaultScript,
    Latency,
    NamedError,
    OtherError,
    RegionDown,
    Reset,
    Rule,
    SlowFirstToken,
    StalledStream,
    StreamError,
    seconds,
)
from agentflow.local.refusals import REFUSALS
from agentflow.local.stats import Stats

_SIGNED_AGO = timedelta(minutes=10)
_SIGNATURE_LIFE = timedelta(minutes=5)
_SECOND_FORM = "%Y%m%dT%H%M%SZ"

InStream: TypeAlias = float | BrokenOffError | Refusal  # seconds to wait, or how the stream ends


@dataclass(slots=True)
class Plan:
    """What is to happen to the answer of one request."""

    latency_seconds: float = 0.0
    in_stream: list[tuple[int, InStream]] = field(default_factory=list)  # each after how many pieces
    reset_after_work: bool = False

    def apply(self, items: Items) -> Items:
        """Return the answer with what is to happen to it; the same where that is nothing."""
        return self._spoilt(items) if self.latency_seconds or self.in_stream or self.reset_after_work else items

    async def _spoilt(self, items: Items) -> Items:
        waiting, pieces = sorted(self.in_stream, key=lambda entry: entry[0]), 0
        async with aclosing(items):
            async for item in items:
                match item:
                    case Begin():
                        await asyncio.sleep(self.latency_seconds)
                    case Piece():
                        while waiting and waiting[0][0] <= pieces:
                            await _happen(waiting.pop(0)[1])
                        pieces += 1
                    case Finish():  # which may come before the piece that a fault waits for
                        for _, what in waiting:
                            await _happen(what)
                        if self.reset_after_work:
                            raise BrokenOffError("reset")
                yield item


async def _happen(what: InStream) -> None:
    if not isinstance(what, float):
        raise what
    await asyncio.sleep(what)


class Faults:
    """The rules of a script in one region, with what each has seen so far."""

    def __init__(self, script: FaultScript, region: str, clock: Clock, stats: Stats) -> None:
        self._clock = clock
        self._stats = stats
        here = [rule for rule in script.faults if rule.region in (None, region)]
        self._outages = [rule for rule in here if isinstance(rule, RegionDown)]
        self._rules = [
            # Each draws from a source of its own, so that the rules do not change each other's luck.
            _Armed(rule, region, Random(f"{script.seed} {region} {number}"))  # noqa: S311 - chance, no secret
            for number, rule in enumerate(here)
            if not isinstance(rule, RegionDown)
        ]

    def check_outage(self) -> None:
        """Break the connection off where the region is down.

        Raises
        ------
        BrokenOffError
            It is.
        """
        if self._outages and any(rule.is_open(self._clock.now()) for rule in self._outages):
            self._stats.faults["region_down"] += 1
            raise BrokenOffError("reset")

    def plan(self, call: Call, *, streamed: bool) -> Plan:
        """Return what is to happen to the answer of a request.

        Raises
        ------
        Refusal, BrokenOffError
            The fault is one that comes before any work.
        """
        plan = Plan()
        for armed in self._rules:
            if armed.meets(call, self._clock.now(), streamed=streamed):
                self._stats.faults[armed.rule.fault] += 1
                armed.add_to(plan, call)
        return plan


ActiveRule: TypeAlias = (
    NamedError | OtherError | Latency | SlowFirstToken | StalledStream | BrokenStream | StreamError | Reset
)
_STREAM_RULES = (SlowFirstToken, StalledStream, BrokenStream, StreamError)


class _Armed:
    """One rule, how often it was met, and how often it has happened."""

    def __init__(self, rule: ActiveRule, region: str, random: Random) -> None:
        self.rule = rule
        self._region = region
        self._random = random
        self._met = 0
        self._happened = 0

    def meets(self, call: Call, now: float, *, streamed: bool) -> bool:
        """Return whether the fault happens to a request, and count it."""
        rule = self.rule
        if (isinstance(rule, _STREAM_RULES) and not streamed) or not _names(rule, call, now):
            return False
        self._met += 1
        # Drawn in every case, so that the luck of a later request does not hang on `every` and `first`.
        lucky = rule.probability == 1.0 or self._random.random() < rule.probability
        if self._met % rule.every or not lucky or (rule.first is not None and self._happened >= rule.first):
            return False
        self._happened += 1
        return True

    def add_to(self, plan: Plan, call: Call) -> None:
        """Add the fault to a plan, or raise what comes before any work."""
        match self.rule:
            case NamedError(fault=name):
                code, message = REFUSALS[name]
                raise Refusal(code, _filled(message, call, self._region))
            case OtherError(code=code, message=message, status=status):
                raise Refusal(code, message, status=status)
            case Latency(delay_ms=delay):
                plan.latency_seconds += seconds(delay, self._random)
            case SlowFirstToken(delay_ms=delay):
                plan.in_stream.append((0, seconds(delay, self._random)))
            case StalledStream(after_pieces=pieces, delay_ms=delay):
                plan.in_stream.append((pieces, seconds(delay, self._random)))
            case BrokenStream(after_pieces=pieces, fault=how):
                plan.in_stream.append((pieces, BrokenOffError(how)))
            case StreamError(after_pieces=pieces, code=code, message=message):
                plan.in_stream.append((pieces, Refusal(code, message)))
            case Reset(after_work=True):
                plan.reset_after_work = True
            case Reset():
                raise BrokenOffError("reset")


def _names(rule: Rule, call: Call, now: float) -> bool:
    """Return whether a rule's conditions, but for its counts and its luck, fit a request."""
    return (
        (rule.model is None or fnmatchcase(call.called_as, rule.model))
        and (rule.operation is None or rule.operation == call.operation)
        and rule.is_open(now)
        and (rule.prompt is None or any(re.search(rule.prompt, text) for text in _texts(call)))
    )


def _texts(call: Call) -> Iterable[str]:
    yield call.chat.system
    yield from (turn.text for turn in call.chat.turns)


def _filled(message: str, call: Call, region: str) -> str:
    """Put the request's own names into the wording of an error."""
    now = datetime.now(UTC)
    names = {
        "action": "bedrock:InvokeModel" + ("WithResponseStream" if "Stream" in call.operation else ""),
        "region": region,
        "model": call.model.model_id,
        "called_as": call.called_as,
        "signed": (now - _SIGNED_AGO).strftime(_SECOND_FORM),
        "earliest": (now - _SIGNATURE_LIFE).strftime(_SECOND_FORM),
        "now": now.strftime(_SECOND_FORM),
    }
    return message.format(**names)
