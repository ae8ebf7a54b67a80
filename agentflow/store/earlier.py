"""Which earlier runs a run is compared with."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection

from agentflow.core.places import Place
from agentflow.store.batch import WHOLE
from agentflow.store.codec import ITEMS, dumps
from agentflow.store.history import DELETED, run_row
from agentflow.store.records import clean

# An output is written when a step has ended well; that of a mapped step when it begins, so all its items are counted.
_NEWEST = f"""SELECT place.key, (
    SELECT run_id FROM runs WHERE workflow = :workflow AND started_at < :started_at AND status <> '{DELETED}'
    AND EXISTS (
        SELECT 1 FROM outputs AS whole
        WHERE whole.run_id = runs.run_id AND step = place.value ->> 0 AND item = place.value ->> 1
        AND (kind <> '{ITEMS}' OR CAST(data AS INTEGER) = (
            SELECT count(*) FROM outputs AS part
            WHERE part.run_id = whole.run_id AND part.step = whole.step AND part.item >= 0
        ))
    )
    ORDER BY started_at DESC LIMIT 1
) FROM json_each(:places) AS place"""  # noqa: S608 - two words of ours


def earlier_run_ids(connection: sqlite3.Connection, run_id: str, places: Collection[Place]) -> dict[Place, str]:
    """Return, for each place, the newest run of the same workflow in which it ended well, of those begun before a run.

    Raises
    ------
    RunNotFoundError
        There is no such run.
    """
    run = run_row(connection, run_id)
    asked = list(places)
    listed = dumps([[clean(step), WHOLE if item is None else item] for step, item in asked])
    values = {"workflow": run["workflow"], "started_at": run["started_at"], "places": listed}
    return {asked[index]: found for index, found in connection.execute(_NEWEST, values) if found is not None}
