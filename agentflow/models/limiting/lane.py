"""The limiter: requests wait for their turn on the event loop, before they take a thread or are refused by Bedrock.

Bedrock's quotas hold for an account, a region, and a model or profile: each has a `Lane` here, which all clients, runs,
threads and event loops of the process share. A request is let in when a connection is free and the quota has room for
what Bedrock is going to reserve: its input and `max_tokens`. When it is answered, what it did not use is given back
(Amazon Bedrock User Guide, "Token burndown"). A quota that nobody knows is open, as far as the connections go, until
the first refusal; from then on its pace is learned (`models/pace.py`).
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any, Literal, NamedTuple, Self

from agentflow.core.errors import InvalidRequestError, ThrottledError
from agentflow.core.events import StepScope
from agentflow.core.model import Usage
from agentflow.core.time_limit import outward, quota_wait
from agentflow.models.limiting.pace import Pace
from agentflow.models.limiting.quotas import Quota
from agentflow.models.limiting.use import LastMinute, StepUse, UsageByStep

TOKENS_BURST_SECONDS = 60.0  # a quota of tokens is one for a minute, and Bedrock lets a whole prompt in at once
REQUESTS_BURST_SECONDS = 0.9  # even requests are safe however AWS counts a minute; 0.1 s covers what arrives late
DAILY_REST_SECONDS = 300.0  # between two requests that probe a used-up daily quota: AWS does not say when it is renewed
SOONER_SECONDS = 0.001  # a timer is set anew only where that lets a request in so much earlier

Source = Literal["given", "Service Quotas", "learned", "unknown"]


class LaneKey(NamedTuple):
    """What a quota holds for; an `endpoint_url` of None is Amazon's own."""

    account: str
    endpoint_url: str | None
    region: str
    model_id: str


class Asked(NamedTuple):
    """What a request asks a lane for.

    Attributes
    ----------
    scope : the step that it belongs to; lanes take turns between the runs.
    input_tokens, max_tokens : what Bedrock reserves.
    connections : how many requests the client has in flight at once.
    deadline : when to give up waiting for the quota, by the lane's clock; None where somebody else sees to that.
    gives_way : not to wait for the quota at all: another model answers where it has no room.
    """

    scope: StepScope | None
    input_tokens: int
    max_tokens: int
    connections: int
    deadline: float | None = None
    gives_way: bool = False


class Lane:
    """The quota of one account, region and model, and the requests that wait for it. Any thread may use it.

    Parameters
    ----------
    burndown : tokens of the quota that each token of an answer takes.
    clock : seconds, never going back.

    Attributes
    ----------
    requests, tokens : the paces.
    source : where the pace comes from.
    in_flight, waiting, reserved_tokens : of now.
    throttled, queued_seconds : since the process began.
    """

    def __init__(self, key: LaneKey, burndown: int = 1, clock: Callable[[], float] = time.monotonic) -> None:
        self.key = key
        self.requests = Pace()
        self.tokens = Pace()
        self.in_flight = self.waiting = self.reserved_tokens = self.throttled = 0
        self.queued_seconds = 0.0
        self._steps = UsageByStep()
        self._known_from: Source | None = None
        self._is_asked = False
        self._burndown = burndown
        self._clock = clock
        self._lock = threading.Lock()
        self._lines: OrderedDict[str, deque[Turn]] = OrderedDict()  # run -> those that wait; the next run stands first
        self._connections: dict[int, int] = {}  # size of a client's pool -> in flight; one pool of each size has a lane
        self._timer: tuple[Turn, float] | None = None  # for whom, and when
        self._used = LastMinute()
        self._probed_at: float | None = None  # when a used-up daily quota may be asked again; None: it is not used up

    def know(self, quota: Quota, source: Source) -> None:
        """Take in what the quota is; what somebody gave is not replaced by what Service Quotas says."""
        with self._lock:
            if source == "Service Quotas" and self._known_from == "given":
                return
            self._known_from = source
            for pace, per_minute, burst, name in (
                (self.requests, quota.requests_per_minute, REQUESTS_BURST_SECONDS, "requests"),
                (self.tokens, quota.tokens_per_minute, TOKENS_BURST_SECONDS, "tokens"),
            ):
                if per_minute is not None and pace.known != per_minute / 60:
                    setattr(self, name, Pace(per_minute / 60, burst))
            self._pump()

    def is_asked(self) -> bool:
        """Return whether somebody knows the quota already, or has asked for it; who is told no asks now."""
        with self._lock:
            was_asked, self._is_asked = self._is_asked or self._known_from is not None, True
        return was_asked

    @property
    def known_quota(self) -> Quota:
        """What the quota is, as far as somebody said so."""
        tokens, requests = self.tokens.known, self.requests.known
        return Quota(tokens and tokens * 60, requests and requests * 60)

    @property
    def source(self) -> Source:
        """Where the pace comes from."""
        return self._known_from or ("learned" if self.is_paced else "unknown")

    @property
    def is_paced(self) -> bool:
        """Whether requests may have to wait for more than a connection."""
        return self.requests.rate is not None or self.tokens.rate is not None

    def has_room(self, tokens: int) -> bool:
        """Return whether the quota would let a request in now."""
        with self._lock:
            waits_for_quota = self.is_paced and next(self._heads(), None) is not None
            is_held = waits_for_quota or self.is_used_up or self._wait_seconds(tokens, self._clock())
            return not is_held and self._can_ever_fit(tokens)

    @property
    def is_used_up(self) -> bool:
        """Whether the daily quota is, as far as known; False also where a request may probe it."""
        return self._probed_at is not None and self._clock() < self._probed_at

    def headroom_tokens(self) -> float | None:
        """Return how many tokens may be reserved now; None where the pace of tokens is open."""
        with self._lock:
            return self.tokens.balance(self._clock())

    def headroom(self) -> float | None:
        """Return how much of the quota may be asked for now, 0 to 1; None where both paces are open."""
        with self._lock:
            now = self._clock()
            known = [share for pace in (self.requests, self.tokens) if (share := pace.filled(now)) is not None]
            return min(known, default=None)

    def used_last_minute(self) -> int:
        """Return the tokens that answers of the last minute took of the quota."""
        with self._lock:
            return self._used.total(self._clock())

    def wasteful_step(self) -> StepUse | None:
        """Return the step whose `max_tokens` reserves most in vain; None where there is none."""
        with self._lock:
            return self._steps.most_wasteful()

    def turn(self, asked: Asked) -> Turn:
        """Return the turn of one request: `async with` waits for it."""
        return Turn(self, asked)

    # What follows is called by turns, and with the lock held.

    def _enter(self, turn: Turn) -> bool:
        """Let a request in, or put it in the line of its run."""
        turn.asked_at = self._clock()
        if not self._can_ever_fit(turn.tokens):
            raise self._too_large(turn.asked)
        if turn.asked.gives_way and self._holds_back(turn):
            raise self._no_room()
        if not self._lines and self._is_free(turn) and not self._wait_seconds(turn.tokens, turn.asked_at):
            self._let_in(turn)
            return True
        turn.waits_for_quota = self.is_paced
        turn.future = asyncio.get_running_loop().create_future()
        self._lines.setdefault(turn.run, deque()).append(turn)
        self.waiting += 1
        self._pump()
        return False

    def _pump(self) -> None:
        """Let in whoever can go, one run after the other; set a timer for the next one that cannot yet."""
        while (turn := next((head for head in self._heads() if self._is_free(head)), None)) is not None:
            wait = self._wait_seconds(turn.tokens, self._clock())
            if wait > 0 and not turn.asked.gives_way:
                self._set_timer(turn, wait)
                return
            self._lines[turn.run].remove(turn)  # mostly the first
            self._lines.move_to_end(turn.run)
            self.waiting -= 1
            if wait > 0:
                turn.is_gone = True
                turn.fail(self._no_room())
                continue
            self._let_in(turn)
            if not turn.wake():
                turn.is_gone = True
                turn.release()

    def _heads(self) -> Iterator[Turn]:
        """Return the first of each run's line, after clearing away those that do not wait any longer.

        Those whose event loop stands still are passed over: they would take a turn, and never give it back.
        """
        for run, line in list(self._lines.items()):
            while line and (line[0].is_gone or line[0].loop_is_closed):
                self.waiting -= not line.popleft().is_gone
            if not line:
                del self._lines[run]
            elif first := next((turn for turn in line if turn.is_awake()), None):
                yield first

    def _is_free(self, turn: Turn) -> bool:
        size = turn.asked.connections
        return self._connections.get(size, 0) < size

    def _wait_seconds(self, tokens: int, now: float) -> float:
        if not self.is_paced:
            return 0.0
        return max(self.requests.wait_seconds(1, now), self.tokens.wait_seconds(tokens, now))

    def _can_ever_fit(self, tokens: int) -> bool:
        """Return whether a known quota has so many tokens in a minute: for more it is no use to wait."""
        return self.tokens.known is None or tokens <= self.tokens.known * 60

    def _too_large(self, asked: Asked) -> InvalidRequestError:
        most = int((self.tokens.known or 0) * 60)
        left = most - asked.input_tokens
        remedy = f"Lower max_tokens to {left:,}" if left > 0 else "Shorten the prompt"
        return InvalidRequestError(
            f"max_tokens={asked.max_tokens:,} and about {asked.input_tokens:,} tokens of input are more than the quota "
            f"of {self.key.model_id} in {self.key.region}, {most:,} tokens a minute, can ever let in.",
            fix=f"{remedy}, or raise the quota in Service Quotas and, where it was given, in quotas.",
            kind="validation",
        )

    def _holds_back(self, turn: Turn) -> bool:
        """Return whether a request would have to wait for the quota, or behind one that does."""
        first = next((head for head in self._heads() if self._is_free(head)), turn)
        return self.is_used_up or any(self._wait_seconds(each.tokens, turn.asked_at) for each in (first, turn))

    def _no_room(self) -> ThrottledError:
        return ThrottledError(
            f"The quota of {self.key.model_id} in {self.key.region} has no room now.", kind="throttle"
        )

    def _let_in(self, turn: Turn) -> None:
        now = turn.let_in_at = self._clock()
        if self._probed_at is not None:
            self._probed_at = now + DAILY_REST_SECONDS
        self.requests.take(1, now)
        self.tokens.take(turn.tokens, now)
        self.queued_seconds += now - turn.asked_at
        size = turn.asked.connections
        self._connections[size] = self._connections.get(size, 0) + 1
        self.in_flight += 1
        self.reserved_tokens += turn.tokens
        turn.held_tokens, turn.is_in = turn.tokens, True

    def _set_timer(self, turn: Turn, wait: float) -> None:
        due = self._clock() + wait
        if self._timer is not None and self._timer[0] is turn and self._timer[1] <= due + SOONER_SECONDS:
            return
        if turn.call_later(wait, self._on_time):
            self._timer = (turn, due)

    def woke_up(self, turn: Turn) -> None:
        """Take in that the event loop of one who waits goes on."""
        turn.is_passed_over = False
        self._on_time()

    def _on_time(self) -> None:
        with self._lock:
            self._timer = None
            self._pump()


class Turn:
    """The turn of one request in a lane: `async with` waits for it and gives the connection back.

    What became of the request is told by one of `answered`, `refused` and `failed`, on any thread, also after the wait
    for it was given up. A request that was never sent gives all back by itself.

    Attributes
    ----------
    tokens : what is reserved.
    asked_at, let_in_at : by the lane's clock.
    was_sent : whether it was.
    """

    def __init__(self, lane: Lane, asked: Asked) -> None:
        self.asked = asked
        self.tokens = asked.input_tokens + asked.max_tokens
        self.run = _root_run(asked.scope)
        self.asked_at = self.let_in_at = 0.0
        self.held_tokens = 0
        self.is_in = self.is_gone = self.was_sent = self.waits_for_quota = self.is_passed_over = False
        self.future: asyncio.Future[None] | None = None
        self._lane = lane

    @property
    def queued_ms(self) -> float:
        """How long the request waited."""
        return (self.let_in_at - self.asked_at) * 1000

    async def __aenter__(self) -> Self:
        """Wait for the turn.

        Raises
        ------
        InvalidRequestError
            The request is larger than the quota of a minute.
        ThrottledError
            The deadline passed before the quota had room, or it has none and the request gives way.
        """
        lane, asked = self._lane, self.asked
        with lane._lock:
            if lane._enter(self):
                return self
        assert self.future is not None  # noqa: S101 - `_enter` has made it
        try:
            if not self.waits_for_quota:
                await self.future
                return self
            left = None if asked.deadline is None else asked.deadline - self.asked_at
            with quota_wait(asked.scope) if asked.scope else nullcontext():
                async with asyncio.timeout(left):
                    await self.future
        except TimeoutError as error:
            self._leave()
            key = lane.key
            raise ThrottledError(
                f"The quota of {key.model_id} in {key.region} had no room for the call in {left or 0:.0f} s.",
                fix="Raise AGENTFLOW_TIMEOUT, lower max_tokens, or raise the quota in Service Quotas.",
                kind="throttle",
            ) from error
        except BaseException:
            self._leave()
            raise
        return self

    def _leave(self) -> None:
        """Wait no longer."""
        lane = self._lane
        with lane._lock:
            if self.is_in:
                self.release()
            elif not self.is_gone:
                self.is_gone = True
                lane.waiting -= 1
            lane._pump()

    async def __aexit__(self, *_: object) -> None:
        with self._lane._lock:
            self._ended()

    def sending(self) -> None:
        """Take in that the request is sent now."""
        lane = self._lane
        with lane._lock:
            self.was_sent, now = True, lane._clock()
            lane.requests.sent(1, self.let_in_at, now)
            lane.tokens.sent(self.tokens, self.let_in_at, now)

    def answered(self, usage: Usage, step: str | None) -> None:
        """Settle at what the request took: input, cache writes, and the answer times the model's burndown."""
        lane = self._lane
        used = usage.input_tokens + usage.cache_write_tokens + usage.output_tokens * lane._burndown
        with lane._lock:
            now, lane._probed_at = lane._clock(), None
            for pace in (lane.requests, lane.tokens):
                pace.answered(self.let_in_at, now, waited=self.waits_for_quota)
            self._settle(used)
            lane._used.note(used, now)
            lane._steps.note(step, self.asked.max_tokens, usage.output_tokens)
            self._ended()

    def refused(self, words: str) -> None:
        """Take in that Bedrock refused the request for a quota; its words tell which."""
        lane = self._lane
        with lane._lock:
            now = lane._clock()
            lane.throttled += 1
            is_tokens = "token" in words.lower()
            pace, amount = (lane.tokens, self.tokens) if is_tokens else (lane.requests, 1)
            self._settle(0)
            if not is_tokens:
                pace.give_back(1)
            pace.refused(amount, self.let_in_at, now)
            self._ended()

    def used_up(self) -> None:
        """Take in that Bedrock refused the request for the daily quota."""
        lane = self._lane
        with lane._lock:
            lane._probed_at = lane._clock() + DAILY_REST_SECONDS
            self._settle(0)
            self._ended()

    def failed(self, *, may_have_worked: bool) -> None:
        """Take in that the request failed for another reason; where Bedrock may have worked, all counts as used."""
        with self._lane._lock:
            self._settle(self.held_tokens if may_have_worked else 0)
            self._ended()

    def wake(self) -> bool:
        """Let the one who waits go on, and return whether its event loop is still there."""
        return self._tell(_set_result, self.future)

    def fail(self, error: ThrottledError) -> None:
        """Let the one who waits fail."""
        self._tell(_set_exception, self.future, error)

    def call_later(self, seconds: float, call: Callable[[], None]) -> bool:
        """Call something later on the event loop of the one who waits; return whether the loop is still there."""
        assert self.future is not None  # noqa: S101 - it waits
        return self._tell(self.future.get_loop().call_later, seconds, call)

    def is_awake(self) -> bool:
        """Return whether the event loop of the one who waits runs; where it does not, the lane hears when it does."""
        assert self.future is not None  # noqa: S101 - it waits
        if self.future.get_loop().is_running():
            return True
        if not self.is_passed_over:
            self.is_passed_over = self._tell(self._lane.woke_up, self)
        return False

    @property
    def loop_is_closed(self) -> bool:
        """Whether nobody can wait any longer."""
        return self.future is not None and self.future.get_loop().is_closed()

    def release(self) -> None:
        """Give the connection back, and what was never sent; the caller holds the lane's lock."""
        if not self.is_in:
            return
        lane, self.is_in = self._lane, False
        lane.in_flight -= 1
        lane._connections[self.asked.connections] -= 1
        if not self.was_sent:
            self._settle(0)
            lane.requests.give_back(1)

    def _ended(self) -> None:
        """Give the connection back: as soon as there is an answer, since the caller's event loop may stand still."""
        self.release()
        self._lane._pump()

    def _tell(self, call: Callable[..., object], *arguments: Any) -> bool:
        assert self.future is not None  # noqa: S101 - it waits
        try:
            self.future.get_loop().call_soon_threadsafe(call, *arguments)
        except RuntimeError:  # the loop was closed
            return False
        return True

    def _settle(self, used: int) -> None:
        held, self.held_tokens = self.held_tokens, 0
        self._lane.reserved_tokens -= held
        self._lane.tokens.give_back(held - used)


def _set_result(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _set_exception(future: asyncio.Future[None], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)


def _root_run(scope: StepScope | None) -> str:
    """Return the run that a step belongs to in the end; calls outside of runs share one line."""
    scopes = tuple(outward(scope))
    return scopes[-1].run.result.run_id if scopes else ""
