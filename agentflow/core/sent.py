"""The prompts of a run as they were sent: from the journal, else rendered once more from what the steps were given."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agentflow.core.content import Attachment
from agentflow.core.errors import AgentFlowError
from agentflow.core.explaining.resolved_inputs import PastInputs
from agentflow.core.outputs import NotKept
from agentflow.core.places import Place
from agentflow.core.result import RunResult
from agentflow.core.step_parts import StepParts
from agentflow.core.template import Template

_SETTINGS = ("max_tokens", "temperature", "top_p", "stop_sequences", "service_tier", "latency", "effort")


@dataclass(frozen=True, slots=True)
class Sent:
    """One request, for people.

    Attributes
    ----------
    messages : (role, text) of the conversation in order, the prompt last; an image or a document in square brackets.
    settings : the parameters that were sent with it.
    is_rendered : it was rendered again from what the step was given, since the journal has no request of it.
    """

    messages: Sequence[tuple[str, str]]
    system: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    is_rendered: bool = False


def sent_prompts(result: RunResult, places: Collection[Place]) -> Mapping[Place, Sequence[Sent]]:
    """Return what models were asked at some places of a run, in order; nothing for a place where nobody knows.

    The journal is read for it. Never raises: a damaged journal must not keep anybody from seeing the run.
    """
    evidence = result._evidence
    if evidence is None or not places:
        return {}
    found: dict[Place, Sequence[Sent]] = {}
    try:
        for place, requests in evidence.requests(result, places).items():
            found[place] = [_sent(request) for request in requests]
        missing = [place for place in places if place not in found]
        if missing:
            past = PastInputs(evidence.past_run(result))
            for place in missing:
                if rendered := _rendered(past, place):
                    found[place] = [rendered]
    except (AgentFlowError, KeyError, TypeError, ValueError, AttributeError):  # what a damaged row raises
        return found
    return found


def _sent(request: Mapping[str, Any]) -> Sent:
    """Return a request that the journal has as JSON."""
    turns = [(str(turn.get("role", "user")), _text(turn.get("content", ""))) for turn in request.get("turns", ())]
    settings = {name: request[name] for name in _SETTINGS if request.get(name) not in (None, [], ())}
    if request.get("tools"):
        settings["tools"] = ", ".join(str(tool.get("name")) for tool in request["tools"])
    if request.get("output_schema"):
        settings["answer"] = "JSON that follows a schema"
    return Sent([*turns, ("user", _text(request.get("prompt", "")))], request.get("system"), settings)


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(filter(None, map(_block, content)))


def _block(block: Any) -> str:
    if isinstance(block, str):
        return block
    if not isinstance(block, Mapping):
        return str(block)
    if "tool_use_id" in block:
        return f"[result of a tool] {block.get('text', '')}"
    if isinstance(data := block.get("data"), Mapping):  # of an attachment only its hash and length are kept
        return f"[{block.get('kind', 'image')} {block.get('name', '')}: {data.get('bytes', 0):,} bytes]"
    if "toolUse" in block:
        return f"[asks for the tool {block['toolUse'].get('name')}]"
    return str(block.get("text", "" if set(block) <= {"ttl"} else block))


def _rendered(past: PastInputs, place: Place) -> Sent | None:
    parts = past.parts(place[0])
    if parts is None or parts.prompt is None:
        return None
    values = past.of(*place)
    if any(isinstance(value, NotKept) for value in values.values()):
        return None
    system = _filled(parts.system, values) if parts.system else None
    return Sent([("user", _filled(parts.prompt, values))], system, _settings(parts), is_rendered=True)


def _settings(parts: StepParts) -> Mapping[str, Any]:
    return {name: value for name, value in parts.parameters.items() if name in _SETTINGS}


def _filled(template: str, values: Mapping[str, Any]) -> str:
    content = Template(template).render(values)
    blocks = [content] if isinstance(content, str) else content
    return "".join(f"[{block.kind} {block.name}]" if isinstance(block, Attachment) else str(block) for block in blocks)
