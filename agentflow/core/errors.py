"""Every error that a user can meet: what happened, and what to do next (`fix`).

AgentFlowError
├── DefinitionError          a workflow, step or setting is written wrongly
│   ├── CycleError           steps wait for each other
│   └── UnknownModelError    a model name that the catalog does not know
├── InputError               a run was given too little, too much, or a value that cannot be used
├── ModelCallError           one call of a model failed, after its retries
│   ├── CredentialsError     no AWS credentials, or expired ones
│   ├── ConfigurationError   the AWS configuration cannot be used, such as a region that does not exist
│   ├── AccessDeniedError    Bedrock refused this caller
│   ├── ModelNotFoundError   no such model in this region, or it is retired
│   ├── ProfileNeededError   the model is reached through an inference profile only
│   ├── ThrottledError       too many requests or tokens
│   ├── ModelTimeoutError    no answer in time
│   ├── EndpointError        the endpoint cannot be reached
│   ├── PromptTooLongError   the prompt is longer than the model's context
│   ├── InvalidRequestError  Bedrock refused the request itself
│   ├── ServiceError         Bedrock failed, or is busy
│   ├── OutputFormatError    the answer does not fit the step's output_type
│   └── ToolRoundsError      a model asks for tools without an end
├── StepError                a step failed; `__cause__` says why
├── ItemsFailedError         items of a mapped step failed; `.failures` has the error of each
├── StepTimeoutError         a step took longer than its `timeout_seconds`
├── WorkflowTimeoutError     a run took longer than its workflow allows
├── JournalError             the journal cannot be opened, read or written
├── RunNotFoundError         the journal has no such run
├── ResumeError              a run cannot go on; `.changed` lists the steps that are not what they were
├── PastError                an error of an earlier process, as the journal has it
├── UnknownPriceError        a budget holds, and a model's price is not known
├── CassetteError            a file of recorded answers cannot be used, or lacks the answer to a request
└── WorkflowError            a run failed; `.result` has what was finished
    └── BudgetExceeded       the next call could pass the budget
RunInterrupted               a KeyboardInterrupt; `.result` has what was finished
"""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from agentflow.core import ports

if TYPE_CHECKING:
    from agentflow.core.result import RunResult


FaultKind = Literal["throttle", "daily quota", "capacity", "timeout", "network", "auth", "validation", "other"]


class AgentFlowError(Exception):
    """Base of AgentFlow's errors: a sentence that says what happened, and one that says what to do next."""

    def __init__(self, what: str, *, fix: str = "") -> None:
        super().__init__(f"{what} {fix}".strip())
        self.what = what
        self.fix = fix

    def _render_traceback_(self) -> list[str]:
        """Return what IPython shows: what happened, why, the fix, what was kept, how to go on; `%tb` gives all."""
        lines: list[str] = ports.load("error_lines")(self)
        return lines

    def __reduce__(self) -> tuple[Any, ...]:
        """Let the error pass between processes, whatever its constructor takes."""
        return _copied, (type(self), self.args, self.__dict__)


class DefinitionError(AgentFlowError):
    """A workflow cannot run as it is written; `problems` lists all that was found."""

    def __init__(self, what: str, *, fix: str = "", problems: Sequence[str] = ()) -> None:
        super().__init__(what, fix=fix)
        self.problems = tuple(problems) or (str(self),)


class CycleError(DefinitionError):
    """Steps wait for each other; the message shows the path."""


class UnknownModelError(DefinitionError):
    """A model name is neither in the catalog nor a Bedrock id."""


class InputError(AgentFlowError):
    """A run was given too little, too much, or a value that cannot be used. Nothing was called."""


class ModelCallError(AgentFlowError):
    """A call of a model failed. `code` is AWS's own, `kind` what it means; a `retryable` one may pass later."""

    def __init__(
        self, what: str, *, fix: str = "", code: str = "", retryable: bool = False, kind: FaultKind = "other"
    ) -> None:
        super().__init__(what, fix=fix)
        self.code = code
        self.retryable = retryable
        self.kind: FaultKind = kind


class CredentialsError(ModelCallError):
    """There are no AWS credentials, or they have expired."""


class ConfigurationError(ModelCallError):
    """The AWS configuration cannot be used: a region that does not exist, a profile that is written wrongly."""


class AccessDeniedError(ModelCallError):
    """Bedrock refused this caller: model access, IAM policy or organization policy."""


class ModelNotFoundError(ModelCallError):
    """There is no such model in this region, or it is retired."""


class ProfileNeededError(ModelCallError):
    """The model can be reached through an inference profile only."""


class ThrottledError(ModelCallError):
    """Too many requests or tokens, also after the retries."""


class ModelTimeoutError(ModelCallError):
    """The model did not answer in time."""


class EndpointError(ModelCallError):
    """The endpoint cannot be reached."""


class PromptTooLongError(ModelCallError):
    """The prompt is longer than the model's context window."""


class InvalidRequestError(ModelCallError):
    """Bedrock refused the request itself."""


class ServiceError(ModelCallError):
    """Bedrock failed or is busy, also after the retries."""


class OutputFormatError(ModelCallError):
    """The model's answer does not fit the step's `output_type`; `text` is the answer."""

    def __init__(self, what: str, *, fix: str = "", text: str = "") -> None:
        super().__init__(what, fix=fix)
        self.text = text


class ToolRoundsError(ModelCallError):
    """A model asked for tools in more answers in a row than the agent allows."""


class StepError(AgentFlowError):
    """A step failed; `step_id` names it, `__cause__` is the error itself."""

    def __init__(self, step_id: str, cause: BaseException) -> None:
        super().__init__(f"Step {step_id!r} failed: {described(cause)}")
        self.step_id = step_id
        self.fix = cause.fix if isinstance(cause, AgentFlowError) else ""
        self.__cause__ = cause


class ItemsFailedError(AgentFlowError):
    """Items of a mapped step failed; `failures` has the error of each, by its position in the list."""

    def __init__(self, failures: Mapping[int, BaseException], *, of: int) -> None:
        first = min(failures)
        cause = failures[first]
        super().__init__(f"{len(failures):,} of {of:,} items failed; the first is item {first}: {described(cause)}")
        self.fix = cause.fix if isinstance(cause, AgentFlowError) else ""
        self.failures = dict(failures)
        self.__cause__ = cause


class StepTimeoutError(AgentFlowError):
    """A step took longer than its `timeout_seconds`."""


class JournalError(AgentFlowError):
    """The journal cannot be opened, read or written."""


class RunNotFoundError(AgentFlowError):
    """The journal has no such run."""


class ResumeError(AgentFlowError):
    """A run cannot go on; `changed` lists the steps that are not what they were."""

    def __init__(self, what: str, *, fix: str = "", changed: Sequence[str] = ()) -> None:
        super().__init__(what, fix=fix)
        self.changed = tuple(changed)


class PastError(AgentFlowError):
    """An error of an earlier process, as the journal has it; `type_name` is the class that it had."""

    def __init__(self, what: str, *, fix: str = "", type_name: str) -> None:
        super().__init__(what, fix=fix)
        self.type_name = type_name


class UnknownPriceError(AgentFlowError):
    """A budget cannot be kept, since the price of a model is not known. Nothing was sent."""


class CassetteError(AgentFlowError):
    """A file of recorded answers cannot be used, or has no answer to a request. Nothing was sent."""


class WorkflowTimeoutError(AgentFlowError):
    """A run took longer than its workflow's `timeout_seconds`."""


class WorkflowError(AgentFlowError):
    """A run failed; `result` has everything that was finished, `__cause__` is the first failure."""

    def __init__(self, workflow: str, cause: AgentFlowError, result: RunResult) -> None:
        super().__init__(f"workflow {workflow!r} failed: {cause}")
        self.fix = cause.fix
        self.result = result
        self.__cause__ = cause


class BudgetExceeded(WorkflowError):  # noqa: N818 - the fixed name
    """A call was not sent, since it could have passed the budget.

    Attributes
    ----------
    limit_usd, spent_usd : of the budget.
    next_usd : the most that the call could have cost.
    result : what was finished; None where the call belonged to no run.
    """

    def __init__(self, what: str, *, fix: str, limit_usd: Decimal, spent_usd: Decimal, next_usd: Decimal) -> None:
        AgentFlowError.__init__(self, what, fix=fix)
        self.limit_usd = limit_usd
        self.spent_usd = spent_usd
        self.next_usd = next_usd
        self.result = None  # type: ignore[assignment]  # there is none outside of a run

    def of_run(self, result: RunResult, *, is_kept: bool) -> BudgetExceeded:
        """Return the error that ends a run, which has its result."""
        then = f" What is finished is kept: `await workflow.resume({result.run_id!r}, budget_usd=...)` goes on."
        ended = BudgetExceeded(
            self.what,
            fix=self.fix + then if is_kept and self.result is None else self.fix,
            limit_usd=self.limit_usd,
            spent_usd=self.spent_usd,
            next_usd=self.next_usd,
        )
        ended.result = result
        return ended

    def foretell(self, sentence: str) -> None:
        """Say as well what all of the run is likely to cost."""
        self.fix = f"{self.fix} {sentence}".rstrip()
        self.args = (f"{self.what} {self.fix}",)


class RunInterrupted(KeyboardInterrupt):
    """A run was interrupted; `result` has everything that was finished. Stops a notebook's "run all" and papermill."""

    def __init__(self, result: RunResult) -> None:
        super().__init__(f"The run was {result.how_interrupted}; .result has what was finished.")
        self.result = result

    def _render_traceback_(self) -> list[str]:
        return _interrupted_lines(self, self.result)


def mark_interrupted(error: asyncio.CancelledError, result: RunResult) -> None:
    """Give the cancellation that ends a run the run's `result`, which it shows in a notebook."""
    error.result = result  # type: ignore[attr-defined]  # asyncio hands on the very same object
    error._render_traceback_ = lambda: _interrupted_lines(error, result)  # type: ignore[attr-defined]


def _interrupted_lines(error: BaseException, result: RunResult) -> list[str]:
    lines: list[str] = ports.load("interrupted_lines")(error, result)
    return lines


def _copied(kind: type[AgentFlowError], arguments: tuple[Any, ...], attributes: dict[str, Any]) -> AgentFlowError:
    error = kind.__new__(kind)
    error.args = arguments
    error.__dict__.update(attributes)
    return error


def message_of(error: BaseException) -> str:
    """Return an error's own words, none where it cannot say them: that must not hide that a step failed."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - whatever a foreign __str__ raises
        return ""


def described(cause: BaseException) -> str:
    """Return an error in words: our own as they are, others behind their kind."""
    text = message_of(cause)
    if isinstance(cause, AgentFlowError):
        return text
    return f"{type(cause).__name__}: {text}" if text else type(cause).__name__


def type_name_of(error: BaseException) -> str:
    """Return the name of an error's class, also of one that an earlier process raised."""
    return error.type_name if isinstance(error, PastError) else type(error).__name__


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the closest known name, else an empty string.

    >>> nearest("clasify", ["classify", "reply"])
    " (did you mean 'classify'?)"
    """
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" (did you mean {close[0]!r}?)" if close else ""
