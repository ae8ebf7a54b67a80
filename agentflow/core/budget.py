"""Budgets: no request is sent whose worst case would pass what is left.

A budget counts Bedrock's list price. On the local endpoint, which bills nothing, it is a rehearsal of the real thing.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from decimal import Decimal, InvalidOperation

from agentflow.core.errors import BudgetExceeded, DefinitionError, UnknownPriceError
from agentflow.core.result import RunResult
from agentflow.core.surroundings import surroundings

_changed = threading.Condition()  # one for all budgets, since a request may count against several


class Budget:
    """Dollars that requests may cost together. Any thread may use it.

    Parameters
    ----------
    limit_usd : above 0.

    Attributes
    ----------
    limit_usd : all of it.
    spent_usd : what answered requests cost, and the most that those can have cost of which nobody knows.

    Raises
    ------
    DefinitionError
        The limit is no amount above 0.
    """

    def __init__(self, limit_usd: Decimal | float | str) -> None:
        self.limit_usd = as_limit(limit_usd)
        self.spent_usd = Decimal(0)
        self._held = Decimal(0)

    @property
    def left_usd(self) -> Decimal:
        """What has not been spent."""
        return self.limit_usd - self.spent_usd

    def __repr__(self) -> str:
        return f"Budget(${self.limit_usd:f}, spent ${self.spent_usd:f})"


class Hold:
    """What is held back for one request while it is on its way."""

    def __init__(self, budgets: Sequence[Budget], usd: Decimal) -> None:
        self._budgets = budgets
        self._usd = usd

    def settle(self, spent_usd: Decimal | None) -> None:
        """Say what the request cost; where nobody knows (None), all that was held back counts as spent."""
        with _changed:
            for budget in self._budgets:
                budget._held -= self._usd
                budget.spent_usd += self._usd if spent_usd is None else spent_usd
            _changed.notify_all()


def hold(budgets: Sequence[Budget], most_usd: Decimal | None, model: str) -> Hold:
    """Hold back the most that a request can cost; for threads, since it waits for those on their way to leave enough.

    Raises
    ------
    BudgetExceeded
        It could pass one of the budgets, whatever the requests on their way come to.
    UnknownPriceError
        The price of the model is not known.
    """
    if most_usd is None:
        raise unknown_price(model)
    with _changed:
        while short := next((budget for budget in budgets if budget.left_usd - budget._held < most_usd), None):
            if short.left_usd < most_usd or not short._held:
                raise _exceeded(short, most_usd, model)
            _changed.wait()
        for budget in budgets:
            budget._held += most_usd
    return Hold(budgets, most_usd)


def unknown_price(model: str) -> UnknownPriceError:
    """Return the error of a budget that cannot be kept."""
    return UnknownPriceError(
        f"The price of {model} is not known, so no budget can be kept.",
        fix="Give its price, which holds for the default service tier and latency, in a file that AGENTFLOW_PRICES "
        "names, or run without a budget.",
    )


def spent_of(result: RunResult) -> Decimal:
    """Return what a run has spent of its budget: what it was billed, and the most that its open requests can have cost.

    Raises
    ------
    UnknownPriceError
        Nobody knows.
    """
    billed, uncertain = result.bedrock_usd, result.uncertain_usd
    if billed is None or uncertain is None:
        raise UnknownPriceError(
            f"What run {result.run_id} has cost so far is not known, so no budget can be kept.",
            fix="Go on without a budget.",
        )
    return billed + uncertain


def _exceeded(budget: Budget, most_usd: Decimal, model: str) -> BudgetExceeded:
    needed = budget.spent_usd + most_usd
    return BudgetExceeded(
        f"The budget of ${budget.limit_usd:f} does not cover the next call: ${dollars(budget.spent_usd)} is spent, and "
        f"the call of {model} can cost up to ${dollars(most_usd)}.",
        fix=f"To go on it has to be at least ${dollars(needed)}.",
        limit_usd=budget.limit_usd,
        spent_usd=budget.spent_usd,
        next_usd=most_usd,
    )


def dollars(amount: Decimal) -> str:
    """Return an amount as text, rounded up to a hundredth of a cent, so that it is enough where it is asked for.

    >>> dollars(Decimal("0.000111")), dollars(Decimal(2))
    ('0.0002', '2.00')
    """
    up = amount.quantize(Decimal("0.0001"), rounding="ROUND_CEILING")
    return f"{up:f}" if up != up.quantize(Decimal("0.01")) else f"{up:.2f}"


def as_limit(amount: Decimal | float | str) -> Decimal:
    """Return a budget as an exact number of dollars.

    Raises
    ------
    DefinitionError
        It is no amount above 0.
    """
    try:
        limit = Decimal(str(amount))
    except InvalidOperation:
        limit = Decimal(0)
    if isinstance(amount, bool) or not limit.is_finite() or limit <= 0:
        raise DefinitionError(f"A budget of {amount!r} is no amount of dollars.", fix="Give a number above 0.")
    return limit


_in_force: ContextVar[tuple[Budget, ...]] = ContextVar("agentflow_budgets", default=())


def budgets_in_force() -> tuple[Budget, ...]:
    """Return the budgets of the `with budget(...)` blocks around the current code, and that of the surroundings."""
    return _in_force.get() if surroundings.budget is None else (surroundings.budget, *_in_force.get())


@contextmanager
def budget(usd: Decimal | float | str) -> Iterator[Budget]:
    """Limit what all model calls in a `with` block cost together: runs, plain calls, whatever they are made by.

    Parameters
    ----------
    usd : dollars, at Bedrock's list price.

    Raises
    ------
    DefinitionError
        `usd` is no amount above 0.

    Examples
    --------
    >>> with budget(0.50) as trial:
    ...     trial.left_usd
    Decimal('0.5')
    """
    trial = Budget(usd)
    token = _in_force.set((*_in_force.get(), trial))
    try:
        yield trial
    finally:
        _in_force.reset(token)
