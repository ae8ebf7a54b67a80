"""Orders to runs of other processes: rows that one process writes, and the run's own looks at once a second."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable
from datetime import UTC, datetime

from agentflow.core.errors import AgentFlowError
from agentflow.core.events import OrderTaken
from agentflow.core.orders import Order, check_order
from agentflow.store.live import LiveRun
from agentflow.store.owner import this_process
from agentflow.store.records import utc_text

LOOK_SECONDS = 1.0  # how often a process looks for orders to its runs

_logger = logging.getLogger(__name__)


def send(connection: sqlite3.Connection, run_id: str, what: str, value: int | None) -> int:
    """Write an order to a run, and return its number. In a transaction."""
    cursor = connection.execute(
        "INSERT INTO orders (run_id, what, value, pid, at) VALUES (?, ?, ?, ?, ?)",
        (run_id, what, value, this_process().pid, utc_text(datetime.now(UTC))),
    )
    return int(cursor.lastrowid or 0)


def outcome(connection: sqlite3.Connection, number: int) -> str | None:
    """Return what became of an order: why it was refused, empty where it was done; None while nobody knows."""
    row = connection.execute("SELECT outcome FROM orders WHERE number = ?", (number,)).fetchone()
    return None if row is None else row[0]


def settle(connection: sqlite3.Connection, taken: Iterable[OrderTaken]) -> None:
    """Write down what became of orders. In a transaction."""
    connection.executemany(
        "UPDATE orders SET outcome = ? WHERE number = ?", [(event.refusal, event.order.number) for event in taken]
    )


def forget_open(connection: sqlite3.Connection, run_id: str) -> None:
    """Forget the orders that a run did not take before its process ended: they are none to the one that goes on."""
    connection.execute("DELETE FROM orders WHERE run_id = ? AND outcome IS NULL", (run_id,))


class Inbox:
    """The orders to the runs of this process, as the writer's thread sees them."""

    def __init__(self) -> None:
        self._file_changes: int | None = None

    def look(self, connection: sqlite3.Connection, lives: Iterable[LiveRun]) -> None:
        """Give new orders to their runs. It is a few microseconds where no other process has written meanwhile.

        Parameters
        ----------
        connection : always the same one: SQLite counts what others have committed since it last asked.

        Raises
        ------
        sqlite3.Error
            The file cannot be read.
        """
        [changes] = connection.execute("PRAGMA data_version").fetchone()
        if changes == self._file_changes:
            return
        rows = connection.execute(_OPEN).fetchall()
        self._file_changes = changes
        if rows:
            runs = {live.run_id: live for live in lives if live.obey is not None}
            for number, run_id, what, value, pid in rows:
                live = runs.get(run_id)
                if live is not None and number > live.last_order:
                    live.last_order = number
                    _give(live, number, what, value, pid)

    def forget(self) -> None:
        """Take in that the connection is another one from now on."""
        self._file_changes = None


_OPEN = "SELECT number, run_id, what, value, pid FROM orders WHERE outcome IS NULL ORDER BY number"


def _give(live: LiveRun, number: int, what: str, value: int | None, pid: int) -> None:
    try:
        check_order(what, value)
        if live.obey is not None:
            live.obey(Order(number, what, value, int(pid)))  # type: ignore[arg-type]  # it was checked
    except (AgentFlowError, ValueError, TypeError) as error:  # of a newer AgentFlow, or written by somebody else
        _logger.warning("Run %s was told something that it does not know: %s", live.run_id, error)
    except RuntimeError:  # the event loop of the run is closed
        _logger.warning("Run %s cannot be told anything any more", live.run_id)
