"""`SqliteRun`: the journal of one run."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from agentflow.core.errors import JournalError
from agentflow.core.events import Event
from agentflow.core.journal import Encoded
from agentflow.core.model import Reply, Request
from agentflow.core.orders import Order
from agentflow.core.outputs import NotKept
from agentflow.store import codec, history
from agentflow.store.batch import WHOLE, Answer, Closed
from agentflow.store.cache import SqliteCache
from agentflow.store.codec import dumps
from agentflow.store.database import Database
from agentflow.store.live import LiveRun
from agentflow.store.records import clean, plain, utc_text
from agentflow.store.writer import Writer


class SqliteRun:
    """The journal of one run; see the port `RunJournal`."""

    def __init__(
        self, open_: Callable[[], None], database: Database, writer: Writer, cache: SqliteCache, live: LiveRun
    ) -> None:
        self._open = open_
        self._database = database
        self._writer = writer
        self._cache = cache
        self._live = live

    def write(self, event: Event, encoded: Encoded | None = None) -> None:
        """Take an event in; it is durable soon."""
        self._writer.put((self._live, event, encoded))

    def take_orders(self, obey: Callable[[Order], object]) -> None:
        """Have each order of another process given to the run, until its end."""
        self._live.obey = obey

    def encode_quickly(self, output: Any) -> Encoded | None:
        """Encode a small plain value in a few microseconds; None for all others."""
        return codec.encode_quickly(output)

    def encode(self, output: Any) -> Encoded:
        """Encode any value."""
        return codec.encode(output)

    def read_output(self, step: str, item: int | None) -> Any:
        """Return the output of a step that was kept.

        Raises
        ------
        JournalError
            It cannot be read.
        """
        kept = None if self.wait_until_durable() else self._writer.unwritten(self._live.run_id, step, item)
        if kept is None:
            with self._database.reading() as connection:
                return history.output(connection, self._live.run_id, step, item)
        if kept.kind == codec.ITEMS:
            return [self._item(step, position) for position in range(int(kept.data or 0))]
        return history.value(kept.kind, kept.data or "")

    def _item(self, step: str, position: int) -> Any:
        """Return the output of one item while the file cannot be written."""
        try:
            return self.read_output(step, position)
        except JournalError as error:
            return NotKept(error.what)

    def wait_until_durable(self) -> bool:
        """Block until all that was written before is durable, and return whether it is."""
        if not self._writer.is_running:  # a child that was forked, or the process is about to end
            try:
                self._open()
            except (JournalError, RuntimeError) as error:
                self._live.tell(f"This run cannot be journalled: {error}")
                return False
        return self._writer.wait()

    def keep_answer(self, step: str, item: int | None, request: Request, reply: Reply) -> bool:
        """Block until an answer is durable, and return whether it is."""
        return self._put_answer(step, item, request, reply) and self.wait_until_durable()

    def note_answer(self, step: str, item: int | None, request: Request, reply: Reply) -> None:
        """Take in an answer that was there before; it is durable soon."""
        self._put_answer(step, item, request, reply)

    def _put_answer(self, step: str, item: int | None, request: Request, reply: Reply) -> bool:
        try:
            row = _answer_row(self._live, (step, item), reply, dumps(plain(request)), self._cache.text_of(reply))
        except Exception as error:  # noqa: BLE001 - whatever a foreign value in a request raises
            self._live.tell(f"An answer cannot be journalled: {type(error).__name__}: {error}.")
            return False
        self._writer.put((self._live, Answer(reply, row), None))
        return True

    def close(self) -> None:
        """Say that the run writes nothing more, but for late answers."""
        self._live.obey = None
        self._writer.put((self._live, Closed(), None))
        self._writer.hurry()


def _answer_row(
    live: LiveRun, place: tuple[str, int | None], reply: Reply, request_json: str, reply_json: str
) -> tuple[str | int | None, ...]:
    step, item = place
    is_paid = reply.origin is None
    tokens = (reply.usage.input_tokens, reply.usage.output_tokens) if is_paid else (0, 0)
    amounts = (reply.cost_usd, reply.bedrock_usd) if is_paid else (Decimal(0), Decimal(0))
    return (
        *(live.run_id, clean(step), WHOLE if item is None else item, reply.key),
        *(reply.model_id, utc_text(datetime.now(UTC)), *tokens),
        *(None if usd is None else str(usd) for usd in amounts),
        *(request_json, reply_json),
    )
