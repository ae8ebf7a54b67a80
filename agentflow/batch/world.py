"""What stops a job: errors that are not one row's but the world's, and too many failed rows."""

from __future__ import annotations

from agentflow.core.errors import (
    AccessDeniedError,
    AgentFlowError,
    ConfigurationError,
    CredentialsError,
    EndpointError,
    JournalError,
    ModelCallError,
    ModelNotFoundError,
    PastError,
    ProfileNeededError,
    RunInterrupted,
    StepTimeoutError,
    UnknownModelError,
    WorkflowTimeoutError,
)
from agentflow.core.result import RunResult

GOES_ON = "What is done is kept: the same command goes on."
OUTAGE_ROWS = 5  # failures in a row, with no answer between them, by which an outage is told from bad luck

_ALWAYS = (
    AccessDeniedError,
    ConfigurationError,
    CredentialsError,
    EndpointError,
    JournalError,
    ModelNotFoundError,
    ProfileNeededError,
    UnknownModelError,
)
_NAMES = frozenset(kind.__name__ for kind in _ALWAYS)
_OUTAGE = {"capacity", "network", "timeout", "throttle"}


def _may_be_outage(error: BaseException) -> bool:
    """Return whether an error is a row's own, or the world's, as those of other rows will tell."""
    if isinstance(error, StepTimeoutError | WorkflowTimeoutError):  # of a model that hangs, or throttles for ever
        return True
    return isinstance(error, ModelCallError) and error.kind in _OUTAGE


class JobStopped(AgentFlowError):  # noqa: N818 - it is no mistake: what is done is kept
    """A job was stopped before its end; the same command goes on with it."""


class JobInterrupted(RunInterrupted):
    """A job was interrupted; the same command goes on with it."""

    def __init__(self, result: RunResult, sentence: str) -> None:
        super().__init__(result)
        self.args = (sentence,)

    def _render_traceback_(self) -> list[str]:
        return [f"JobInterrupted: {self}"]


class Watch:
    """Looks at the rows as they end.

    Parameters
    ----------
    max_failures : how many rows may fail, whatever is to blame; None is no limit, but an outage stops the job.

    Attributes
    ----------
    verdict : why the job has to stop; None while it may go on.
    retracted : rows that were taken for failed before it was clear that the world was down.
    """

    def __init__(self, max_failures: int | None) -> None:
        self.verdict: JobStopped | None = None
        self.retracted = 0
        self._max_failures = max_failures
        self._failures = 0
        self._outages = 0
        self._is_down = False

    def ended(self, error: BaseException | None) -> None:
        """Take in how a row ended; None is well."""
        if self.verdict is not None:
            return
        if error is None:
            self._outages = 0
            return
        if self.is_of_world(error):
            self._stop(f"The rows cannot be asked: {error}")
            return
        self._failures += 1
        if self._max_failures is not None:
            if self._failures > self._max_failures:
                allowed = f"more than the {self._max_failures:,} allowed in one go"
                self._stop(f"{self._failures:,} rows failed, {allowed}; the last: {error}")
            return
        self._outages = self._outages + 1 if _may_be_outage(error) else 0
        if self._outages >= OUTAGE_ROWS:
            self.retracted = OUTAGE_ROWS - 1
            self._is_down = True
            self._stop(
                f"{self._outages} rows failed one after the other, and none was answered between them: {error}",
                f"{GOES_ON} If these rows are to blame, let N of them fail: --max-failures N (max_failures=N).",
            )

    def is_of_world(self, error: BaseException) -> bool:
        """Return whether an error is no row's own, so that others would fail too; those of an outage are not."""
        if isinstance(error, ModelCallError) and error.kind in ("auth", "daily quota"):
            return True
        if self._is_down and _may_be_outage(error):
            return True
        return isinstance(error, _ALWAYS) or (isinstance(error, PastError) and error.type_name in _NAMES)

    @property
    def in_doubt(self) -> bool:
        """Whether the last failures may be the rows' own or the beginning of an outage, as the next rows will tell."""
        return self._outages > 0

    def is_unclear(self, error: BaseException) -> bool:
        """Return whether an error is one of those."""
        return self.in_doubt and _may_be_outage(error)

    def stop(self, why: JobStopped) -> None:
        """Take in that the job has to stop, whatever its rows do."""
        self.verdict = self.verdict or why

    def _stop(self, what: str, fix: str = GOES_ON) -> None:
        self.stop(JobStopped(what, fix=fix))
