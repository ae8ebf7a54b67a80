"""What differs between a step of one run and the same step of another: what it is made of, and what it was given."""

from __future__ import annotations

import dataclasses
import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from agentflow.core.outputs import NotKept
from agentflow.core.step_parts import Source, StepParts

_SHORT = 60  # characters; what is longer, or has several lines, is shown as a diff
_LONGEST = 20_000  # characters of a value that go into a diff
_MOST_LINES = 200  # of a diff
_NOTHING: Any = object()


class _Words(str):
    """Our words in the place of a value: they are shown without quotes."""

    __slots__ = ()


_DEFAULT = _Words("the default")
_NONE = _Words("none")

# A kind of change, which is the word for it in every view, and what it is in a sentence.
KINDS = {
    "prompt": "its prompt",
    "system": "its system prompt",
    "examples": "its examples",
    "model": "its model",
    "parameters": "its parameters",
    "schema": "its output schema",
    "tool": "its tools",
    "code": "its code",
    "wiring": "its wiring",
    "input": "an input",
    "upstream": "what other steps gave it",
}


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason why a step ran, or did not.

    Attributes
    ----------
    kind : the word for it, one of `KINDS` where something changed; empty for a remark.
    what : what changed, or a whole sentence where nothing is shown of it.
    before, after : what it was and is; texts as they are, all else as JSON or as its `repr`.
    """

    kind: str
    what: str
    before: Any = _NOTHING
    after: Any = _NOTHING

    @property
    def text(self) -> str:
        """The reason in a line, with before and after where both are short."""
        if self.before is _NOTHING:
            return self.what
        before, after = _text(self.before), _text(self.after)
        if _is_short(before) and _is_short(after):
            return f"{self.what}: {_quoted(self.before, before)} -> {_quoted(self.after, after)}"
        return f"{self.what} changed"

    @property
    def diff(self) -> str:
        """A unified diff of before and after; empty where the text shows them."""
        if self.before is _NOTHING:
            return ""
        before, after = _text(self.before), _text(self.after)
        if _is_short(before) and _is_short(after):
            return ""
        old, new = before[:_LONGEST].splitlines(), after[:_LONGEST].splitlines()
        lines = list(difflib.unified_diff(old, new, "before", "after", lineterm=""))
        if len(lines) > _MOST_LINES:
            lines[_MOST_LINES:] = [f"... {len(lines) - _MOST_LINES:,} more lines"]
        return "\n".join(lines) or f"(ends of lines, or what follows the first {_LONGEST:,} characters)"


def part_changes(before: StepParts, after: StepParts, where: str = "") -> Iterator[Reason]:
    """Return what differs in what a step is made of, in the order of `KINDS`.

    Parameters
    ----------
    where : stands before what changed, for a step of a workflow that is a step.
    """
    if before.kind != after.kind:
        yield Reason("code", f"{where}What it is", _Words(before.kind), _Words(after.kind))
        yield from _wiring_changes(before, after, where)
        return
    words = {"prompt": "Its prompt", "system": "Its system prompt", "examples": "Its examples", "model": "Its model"}
    for name, what in words.items():
        old, new = getattr(before, name), getattr(after, name)
        if _listed(old) != _listed(new):
            missing = _DEFAULT if name == "model" else _NONE
            yield Reason(name, where + what, _listed(old) or missing, _listed(new) or missing)
    for name in sorted({*before.parameters, *after.parameters}):
        old, new = before.parameters.get(name, _DEFAULT), after.parameters.get(name, _DEFAULT)
        if old != new:
            yield Reason("parameters", f"{where}{name}", old, new)
    if before.schema != after.schema:
        yield Reason("schema", f"{where}Its output schema", before.schema or _NONE, after.schema or _NONE)
    if before.code != after.code:
        yield _code_change(before, after, where)
    yield from _tool_changes(before, after, where)
    for step_id in [*after.steps, *(gone for gone in before.steps if gone not in after.steps)]:
        old_step, new_step = before.steps.get(step_id), after.steps.get(step_id)
        if old_step is None or new_step is None:
            yield Reason("wiring", f"{where}Its step {step_id!r} is {'new' if old_step is None else 'gone'}")
        else:
            yield from part_changes(old_step, new_step, f"{where}Step {step_id!r}: ")
    yield from _wiring_changes(before, after, where)


def _tool_changes(before: StepParts, after: StepParts, where: str) -> Iterator[Reason]:
    for name in dict.fromkeys((*after.tools, *before.tools)):
        old_tool, new_tool = before.tools.get(name), after.tools.get(name)
        if old_tool is None or new_tool is None:
            yield Reason("tool", f"{where}Its tool {name!r} is {'new' if old_tool is None else 'gone'}")
        else:
            changes = part_changes(old_tool, new_tool, f"{where}Its tool {name!r}: ")
            yield from (dataclasses.replace(change, kind="tool") for change in changes)


def value_changes(
    parts: StepParts, before: Mapping[str, Any], after: Mapping[str, Any], rewired: Mapping[str, Source]
) -> Iterator[Reason]:
    """Return what differs in what a step was given: run inputs first, then what came from other steps.

    Parameters
    ----------
    rewired : where the parameters came from before; what comes from elsewhere now is a change of the wiring.
    """
    remarks = []
    for origin, kind in (("input", "input"), ("step", "upstream")):
        for name, source in parts.wiring.items():
            if source[0] != origin or rewired.get(name) != source:
                continue
            old, new = before.get(name), after.get(name)
            if isinstance(old, NotKept) or isinstance(new, NotKept):
                reason = old.reason if isinstance(old, NotKept) else new.reason if isinstance(new, NotKept) else ""
                remarks.append(Reason("", f"{shown_source(source)} cannot be compared: {reason}"))
            elif not same(old, new):
                yield Reason(kind, shown_source(source), old, new)
    yield from remarks


def _code_change(before: StepParts, after: StepParts, where: str) -> Reason:
    if before.source and after.source and before.source != after.source:
        return Reason("code", f"{where}Its code", before.source, after.source)
    names = sorted({*before.holds, *after.holds})
    held = [repr(name) for name in names if before.holds.get(name) != after.holds.get(name)]
    if held:
        return Reason("code", f"{where}What its code holds changed: {', '.join(held)}")
    if before.name != after.name:
        return Reason("code", f"{where}What it runs", _Words(before.name), _Words(after.name))
    return Reason("code", f"{where}Its code changed, or a value that it holds; there is no text of it to compare")


def _wiring_changes(before: StepParts, after: StepParts, where: str) -> Iterator[Reason]:
    for name in dict.fromkeys((*after.wiring, *before.wiring)):
        if before.wiring.get(name) != after.wiring.get(name):
            yield Reason("wiring", f"{where}Its input {name!r}", _given(before, name), _given(after, name))
    for attribute in ("depends_on", "optional", "map_over"):
        old, new = getattr(before, attribute), getattr(after, attribute)
        if _listed(old) != _listed(new):
            yield Reason("wiring", f"{where}{attribute}", old or _NONE, new or _NONE)
    if before.when != after.when:
        if before.when[:1] == after.when[:1] == ("code",):
            yield Reason("wiring", f"{where}The function that says whether it is wanted changed")
        else:
            yield Reason("wiring", f"{where}when", shown_source(before.when), shown_source(after.when))


def _given(parts: StepParts, name: str) -> Any:
    source = parts.wiring.get(name)
    if source is None:
        return _NONE
    return parts.literals[name] if source[0] == "literal" else shown_source(source)


def shown_source(source: Source) -> _Words:
    """Return where a value comes from in words, such as ``step classify.product``."""
    if not source:
        return _NONE
    kind, name, *path = source
    parts = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return _Words("a function" if kind == "code" else f"{kind} {name}{parts}")


def _listed(value: Any) -> Any:
    """Return tuples as the lists that they are in the journal."""
    return [_listed(item) for item in value] if isinstance(value, list | tuple) else value


def same(one: Any, other: Any) -> bool:
    """Return whether two values are equal, of any type; models of a class that was defined again by their fields."""
    try:
        if hasattr(one, "equals") and hasattr(one, "columns"):
            return type(one) is type(other) and bool(one.equals(other))
        if bool(one == other):
            return True
    except Exception:  # noqa: BLE001 - whatever a foreign comparison raises
        return _text(one) == _text(other)
    return _is_record(one) and _is_record(other) and _text(one) == _text(other)


def _is_record(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(map(_is_record, value))
    return isinstance(value, BaseModel) or dataclasses.is_dataclass(value)


def _text(value: Any) -> str:
    """Return a value as text for a comparison: a string as it is, what is structured as JSON, else the `repr`."""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(to_jsonable_python(value, fallback=repr), indent=2, ensure_ascii=False)
    except Exception:  # noqa: BLE001 - bytes that are no text, a value that holds itself, a foreign __repr__ that raises
        return f"<{type(value).__name__}>"


def _is_short(text: str) -> bool:
    return len(text) <= _SHORT and "\n" not in text


def _quoted(value: Any, text: str) -> str:
    return repr(text) if isinstance(value, str) and not isinstance(value, _Words) else text
