"""How far a job is: a bar where somebody looks, a line now and then where nobody does."""

from __future__ import annotations

import sys
import threading
import time
from decimal import Decimal
from typing import Any

from agentflow.core.events import AttemptFinished, CallFinished, Event, NestedEvent
from agentflow.utils.env import in_jupyter_session

LINE_SECONDS = 30.0
BAR_SECONDS = 0.5


class Progress:
    """Counts what happens to the rows, and shows it. Any thread may use it.

    Parameters
    ----------
    rows : all of the job's.
    shown : whether anything is written, to standard error or into the notebook.

    Attributes
    ----------
    done, failed : rows that have ended, now or before; those that failed among them.
    """

    def __init__(self, rows: int, *, shown: bool = True) -> None:
        self.rows = rows
        self.done = self.failed = 0
        self._now = self._throttled = 0
        self._queue_ms = 0.0
        self._cost_usd = Decimal(0)
        self._lock = threading.Lock()
        self._began = time.monotonic()
        self._due = self._began + LINE_SECONDS
        self._shown = shown
        self._bar: Any = _bar(rows) if shown and _is_watched() else None

    def skip(self, rows: int, failed: int) -> None:
        """Count rows that had ended before."""
        with self._lock:
            self.done += rows
            self.failed += failed
        self._show(rows)

    def ended(self, *, failed: bool) -> None:
        """Count a row that ends now."""
        with self._lock:
            self.done += 1
            self._now += 1
            self.failed += failed
        self._show(1)

    def take(self, event: Event) -> None:
        """Take in what an attempt or an answer brought."""
        while isinstance(event, NestedEvent):
            event = event.event
        if isinstance(event, AttemptFinished):
            if event.attempt.http_status == 429:
                self._throttled += 1
        elif isinstance(event, CallFinished) and event.reply.origin is None:
            with self._lock:
                self._queue_ms += event.reply.queue_ms
                self._cost_usd += event.reply.bedrock_usd or 0

    def line(self) -> str:
        """Return how far the job is, in a line."""
        seconds = max(time.monotonic() - self._began, 1e-3)
        rate = self._now / seconds
        parts = [f"{self.done:,} of {self.rows:,} rows", f"{rate:,.1f} rows/s"]
        left = self.rows - self.done
        if rate and left > 0:
            parts.append(f"about {span(left / rate)} left")
        parts += self._facts()
        return ", ".join(parts)

    def close(self) -> None:
        """Say it a last time."""
        if self._bar is not None:
            self._bar.set_postfix_str(", ".join(self._facts()), refresh=True)
            self._bar.close()
        elif self._shown:
            self._write()

    def _facts(self) -> list[str]:
        facts = [f"${self._cost_usd:.4f}"]
        if self._now and self.done < self.rows:
            forecast = self._cost_usd / self._now * (self.rows - self.done + self._now)
            facts[0] += f" of about ${forecast:.4f}"
        if self._throttled:
            facts.append(f"{self._throttled:,} throttled")
        if self._now and self._queue_ms >= 1_000 * self._now:
            facts.append(f"{self._queue_ms / 1_000 / self._now:.1f} s queued a row")
        if self.failed:
            facts.append(f"{self.failed:,} failed")
        return facts

    def _show(self, rows: int) -> None:
        if not self._shown:
            return
        if self._bar is not None:
            self._bar.update(rows)
            if time.monotonic() >= self._due:
                self._due = time.monotonic() + BAR_SECONDS
                self._bar.set_postfix_str(", ".join(self._facts()), refresh=False)
        elif time.monotonic() >= self._due:
            self._due = time.monotonic() + LINE_SECONDS
            self._write()

    def _write(self) -> None:
        sys.stderr.write(f"agentflow: {self.line()}\n")
        sys.stderr.flush()


def _is_watched() -> bool:
    """Return whether somebody looks: a terminal, or a notebook in a front end; papermill, cron and CI have neither."""
    ipython = sys.modules.get("IPython")
    if ipython is not None and (shell := ipython.get_ipython()) is not None and hasattr(shell, "kernel"):
        return in_jupyter_session()
    return sys.stderr.isatty()


def _bar(rows: int) -> Any:
    from tqdm.auto import tqdm

    return tqdm(total=rows, unit="row", mininterval=BAR_SECONDS, dynamic_ncols=True)


def span(seconds: float) -> str:
    """Write seconds roughly, for an estimate."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
