"""What a job is asked for, whether by `workflow.map` or by the command."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from agentflow.core.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a job is asked for; `Workflow.map` says what each is.

    Attributes
    ----------
    constants : the inputs that are the same in every row.
    shown : whether the quote and the progress are told.
    """

    out: Path | str | None = None
    columns: Mapping[str, str] | None = None
    constants: Mapping[str, Any] | None = None
    budget_usd: Decimal | float | str | None = None
    max_concurrency: int | None = None
    max_failures: int | None = None
    retry_failed: bool = False
    accept_changes: bool = False
    shown: bool = True

    def __post_init__(self) -> None:
        for name, least in (("max_concurrency", 1), ("max_failures", 0)):
            number = getattr(self, name)
            if number is not None and (isinstance(number, bool) or not isinstance(number, int) or number < least):
                raise InputError(f"{name}={number!r} is no number of rows.", fix=f"Give {least} or more.")
