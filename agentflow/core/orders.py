"""What a person in another process of this host wants of a run that goes on: `agentflow stop`, `agentflow set`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from agentflow.core.errors import InputError, nearest

What: TypeAlias = Literal["stop", "max_concurrency"]

MOST_AT_ONCE = 1_000_000
_CAN_BE_SET = f"What can be set: max_concurrency, 1 to {MOST_AT_ONCE:,}."
_SETTINGS = [what for what in get_args(What) if what != "stop"]


@dataclass(frozen=True, slots=True)
class Order:
    """What a run is told.

    Attributes
    ----------
    number : by which the journal knows it.
    what : `stop`, or the setting that is to be changed.
    value : of the setting.
    pid : the process that asks.
    """

    number: int
    what: What
    value: int | None
    pid: int

    @property
    def sender(self) -> str:
        """Who asks: the command and its process."""
        return f"`agentflow {'stop' if self.what == 'stop' else 'set'}` (pid {self.pid})"

    def sentence(self, refusal: str) -> str:
        """Return what became of it; `refusal` says why it was not done, and is empty where it was."""
        if self.what == "stop":
            return f"The run was stopped by {self.sender}."
        if refusal:
            return f"{self.sender} could not set {self.what} to {self.value}: {refusal}."
        return f"{self.what} was set to {self.value} by {self.sender}."


def check_setting(name: str, value: object) -> None:
    """Raise an `InputError` where a run's setting cannot be changed to that."""
    if name not in _SETTINGS:
        raise InputError(f"{name!r} cannot be set{nearest(name, _SETTINGS)}.", fix=_CAN_BE_SET)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_AT_ONCE:
        raise InputError(f"{name}={value!r} cannot be set.", fix=_CAN_BE_SET)


def check_order(what: str, value: object) -> None:
    """Raise an `InputError` where a run cannot be told that."""
    if what != "stop":
        check_setting(what, value)
