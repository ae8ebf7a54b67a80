"""What logs say of an error: AWS's own code first, and nothing that a prompt or an answer may be quoted in."""

from __future__ import annotations

import traceback
from pathlib import Path

from agentflow.core import errors
from agentflow.core.errors import (
    AgentFlowError,
    BudgetExceeded,
    ItemsFailedError,
    JournalError,
    ModelCallError,
    OutputFormatError,
    PastError,
    StepError,
    StepTimeoutError,
    ToolRoundsError,
    UnknownModelError,
    UnknownPriceError,
    WorkflowError,
    WorkflowTimeoutError,
    message_of,
    type_name_of,
)
from agentflow.utils.redaction import redacted

LONGEST = 500  # characters

# Their words are AWS's and our own; those of all other errors may quote what a step was given.
_SAFE = (
    BudgetExceeded, JournalError, ModelCallError, StepTimeoutError, ToolRoundsError, UnknownModelError,
    UnknownPriceError, WorkflowTimeoutError,
)  # fmt: skip


def error_text(error: BaseException, *, with_content: bool = False, code: str = "") -> str:
    """Return an error in one line, AWS's code first where it has one.

    Parameters
    ----------
    code : AWS's, of an error that an earlier process raised.
    with_content : whether the words of errors are said that may quote a prompt or an answer. Else such an error is its
        kind, and the file and line that raised it.
    """
    if isinstance(error, StepError | ItemsFailedError | WorkflowError) and error.__cause__ is not None:
        cause = error_text(error.__cause__, with_content=with_content, code=code)
        return f"{cause} ({len(error.failures):,} items failed)" if isinstance(error, ItemsFailedError) else cause
    code = error.code if isinstance(error, ModelCallError) else code
    kind = code or type_name_of(error)
    if not has_safe_words(error) and not with_content:
        return kind + _raised_at(error)
    words = error.what if isinstance(error, AgentFlowError) else message_of(error)
    words = words.removeprefix(f"{kind}: ")
    return _line(f"{kind}: {words}" if words else kind)


def has_safe_words(error: BaseException) -> bool:
    """Return whether the words of an error can quote no prompt and no answer."""
    return is_safe_kind(error.type_name) if isinstance(error, PastError) else _is_safe(type(error))


def is_safe_kind(name: str) -> bool:
    """Return whether the words of errors of a class of ours, by its name, can quote no prompt and no answer."""
    return _is_safe(getattr(errors, name, None))


def _is_safe(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, _SAFE) and not issubclass(kind, OutputFormatError)


def _line(text: str) -> str:
    """Return a text in one line, without secrets and control characters."""
    shown = "".join(char if char.isprintable() else " " for char in redacted(text[: 2 * LONGEST]))
    return " ".join(shown.split())[:LONGEST]


def _raised_at(error: BaseException) -> str:
    if isinstance(error, AgentFlowError) or error.__traceback__ is None:
        return ""
    *_, frame = traceback.extract_tb(error.__traceback__)
    return f" (raised at {Path(frame.filename).name}:{frame.lineno})"
