"""What a health check found: the operation runbook's dictionary, whose values say more than true or false."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from agentflow.views.health import health_html, health_text

if TYPE_CHECKING:
    import pandas as pd

State: TypeAlias = Literal["ok", "warning", "failed", "not configured", "not checked"]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. As a truth value it is whether that works.

    Attributes
    ----------
    state : `ok`; `warning`, it works and somebody should look at it; `failed`; `not configured`, it is turned off, and
        `fix` says how to turn it on; `not checked`, such as for want of a permission, which `fix` names.
    figure : what was found, in words and numbers.
    fix : what to do; empty where there is nothing to do.
    """

    state: State
    figure: str
    fix: str = ""

    def __bool__(self) -> bool:
        return self.state in ("ok", "warning")


class Health(dict[str, Check]):
    """The checks by name, in the order in which they are shown; the operation runbook's three stand first.

    Parameters
    ----------
    checks : by name.
    place : what was checked, such as `us-east-1 · Amazon Bedrock`.
    """

    def __init__(self, checks: Iterable[tuple[str, Check]], place: str) -> None:
        super().__init__(checks)
        self.place = place

    @property
    def failed(self) -> tuple[str, ...]:
        """The names of the checks that failed."""
        return tuple(name for name, check in self.items() if check.state == "failed")

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return not self.failed

    def records(self) -> list[Mapping[str, Any]]:
        """Return a plain record for each check: `check, ok, state, figure, fix`."""
        return [
            {"check": name, "ok": bool(check), "state": check.state, "figure": check.figure, "fix": check.fix}
            for name, check in self.items()
        ]

    def to_frame(self) -> pd.DataFrame:
        """Return the checks as a table.

        Returns
        -------
        DataFrame, one row a check
            `check, ok` (boolean)`, state, figure, fix` (`<NA>` where there is nothing to do).
        """
        from agentflow.views.frames import health_frame

        return health_frame(self.records())

    def __repr__(self) -> str:
        return health_text(self.records(), self.place)

    def _repr_html_(self) -> str:
        return health_html(self.records(), self.place)
