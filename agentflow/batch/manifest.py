"""What a job's folder remembers of the job beside the rows: its workflow, the runs of its chunks, what they cost."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any

from agentflow.batch.outputs import Kind

VERSION = 1


@dataclass(slots=True)
class ChunkRun:
    """The run that asks for the rows of a chunk.

    Attributes
    ----------
    positions : those of the rows in the chunk; None is all of them.
    keys : tells the inputs of these rows from others.
    spent_usd : what it has cost, as far as that was written down.
    is_closed : whether it has ended, so that `spent_usd` is all.
    digest : of the workflow that it is of.
    """

    run_id: str
    positions: list[int] | None
    keys: str
    spent_usd: str = "0"
    is_closed: bool = False
    digest: str = ""

    def of(self, keys: Sequence[str]) -> list[int] | None:
        """Return the positions of its rows among those of a chunk; None where they are others now."""
        positions = list(range(len(keys))) if self.positions is None else self.positions
        fits = not positions or positions[-1] < len(keys)
        return positions if fits and self.keys == digest_of([keys[position] for position in positions]) else None


@dataclass(slots=True)
class Manifest:
    """What is known of a job.

    Attributes
    ----------
    workflow : its name.
    steps : step id -> the fingerprint of what it does.
    kinds : the columns that the outputs gave so far.
    runs : the number of a chunk -> its run.
    earlier_usd : what runs have cost that are not in `runs` any more.
    """

    workflow: str
    steps: dict[str, str]
    kinds: dict[str, Kind] = field(default_factory=dict)
    runs: dict[int, ChunkRun] = field(default_factory=dict)
    earlier_usd: str = "0"
    version: int = VERSION

    @property
    def digest(self) -> str:
        """What tells the workflow, as it is, from others."""
        return digest_of(sorted(self.steps.items()))

    def spent_usd(self) -> Decimal:
        """Return what the job has cost, as far as that was written down."""
        return Decimal(self.earlier_usd) + sum(Decimal(run.spent_usd) for run in self.runs.values())

    def drop_run(self, chunk: int) -> None:
        """Forget a chunk's run, but not what it cost."""
        if run := self.runs.pop(chunk, None):
            self.earlier_usd = str(Decimal(self.earlier_usd) + Decimal(run.spent_usd))

    def changes(self, steps: Mapping[str, str]) -> dict[str, str]:
        """Return how the steps of a workflow differ from those that the job was begun with."""
        changed = {
            name: "changed" if name in self.steps else "new" for name in steps if self.steps.get(name) != steps[name]
        }
        return changed | {name: "gone" for name in self.steps if name not in steps}

    def to_json(self) -> str:
        """Return the text that `from_json` reads."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Return the manifest that was written.

        Raises
        ------
        ValueError, TypeError, KeyError
            It is none.
        """
        data = json.loads(text)
        if data["version"] != VERSION:
            message = f"version {data['version']}"
            raise ValueError(message)
        data["runs"] = {int(chunk): ChunkRun(**run) for chunk, run in data["runs"].items()}
        return cls(**data)


def digest_of(parts: Sequence[Any]) -> str:
    """Return a hash of what JSON can hold."""
    return hashlib.sha256(json.dumps(list(parts)).encode()).hexdigest()[:32]
