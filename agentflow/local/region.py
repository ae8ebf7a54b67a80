"""One region of the endpoint: all that it keeps between requests, how it is set, and how it starts anew."""

from __future__ import annotations

from pydantic import ConfigDict

from agentflow.local.clock import Clock, ClockChange
from agentflow.local.fault_script import FaultScript
from agentflow.local.faults import Faults
from agentflow.local.prompt_cache import PromptCache
from agentflow.local.quotas import Quotas
from agentflow.local.script import Script
from agentflow.local.stats import Stats


class Settings(FaultScript):
    """The body of ``POST /_config``: what is given is replaced and begins anew, the rest stays as it is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    script: Script | None = None
    clock: ClockChange | None = None


class Region:
    """The clock, the statistics, the prompt cache, the quotas and the faults of a region."""

    def __init__(self, name: str, label: str, script: FaultScript) -> None:
        self.name = name
        self._label = label
        self._script = script
        self.reset()

    def reset(self) -> None:
        """Begin anew: no statistics, an empty cache, full quotas, the clock at 0, and the faults from their start.

        A request that is in work keeps the parts it began with, and is not counted in the new ones.
        """
        self.clock = Clock()
        self.stats = Stats(self._label)
        self.cache = PromptCache(self.clock)
        self._follow(self._script, {"quotas", "faults"})

    def follow(self, settings: Settings) -> None:
        """Take other quotas and faults, and move the clock."""
        given = settings.model_fields_set & FaultScript.model_fields.keys()
        script = self._script.model_copy(update={name: getattr(settings, name) for name in given})
        self._follow(script, given)
        if settings.clock:
            self.clock.change(settings.clock)

    def _follow(self, script: FaultScript, given: set[str]) -> None:
        self._script = script
        if "quotas" in given:
            self.quotas = Quotas(script.quotas, self.clock)
        if given & {"seed", "faults"}:
            self.faults = Faults(script, self.name, self.clock, self.stats)
