"""From a run back to a cell: a notebook that holds one step of a past run, ready to be changed, with what it was given.

The values come out of the journal, so nothing is paid for what came before the step.
"""

from __future__ import annotations

import json
import keyword
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentflow.core.agent import SimpleAgent
from agentflow.core.definition.code import text_literal
from agentflow.core.definition.workflows import from_definition_json
from agentflow.core.errors import InputError, nearest
from agentflow.core.explaining.resolved_inputs import PastInputs
from agentflow.core.history import known_run
from agentflow.core.journal import PastRun, opened_journal
from agentflow.core.output_types import short_form_of
from agentflow.core.outputs import NotKept
from agentflow.core.result import RunResult
from agentflow.core.step_parts import StepParts
from agentflow.core.step_row import StepRow, StepStatus
from agentflow.notebook.options import option_line
from agentflow.notebook.schema_form import short_form_of_schema
from agentflow.views.outputs import one_line

if TYPE_CHECKING:
    from nbformat import NotebookNode

_MOST_SHOWN = 3_000  # characters of what a step was given that are shown without being asked for
_IN_THE_CELL = {"max_tokens", "temperature"}  # of the parameters, those that a `%%step` line has an option for


def open_run(run_id: str, step: str | None = None, item: int | None = None, out: Path | str | None = None) -> Path:
    """Write a notebook that holds a step of a past run as a cell, with what it was given, and return its path.

    Parameters
    ----------
    run_id : as `agentflow.runs()` lists it; `last` for the newest run.
    step : its id; ``sub.classify`` for a step of a workflow that is a step, ``rows[3].classify`` where that is mapped.
        Default: the first prompt that failed, else the last prompt of the run, those of workflows inside among them.
    item : of a mapped step, or without `step` of a mapped workflow too; default the first that failed, else 0.
    out : where to; default ``RUN-STEP.ipynb`` in the current folder. A file that is there already is kept, and the
        notebook is written beside it under a number.

    Raises
    ------
    RunNotFoundError
        The journal has no such run.
    InputError
        The run has no such step or item, or the step is no prompt, or `out` is there already.
    JournalError
        The journal cannot be read.
    """
    import nbformat

    past = opened_journal().past_run(known_run(run_id)["run_id"])
    given = PastInputs(past)
    path = step or _default_step(past, item)
    parts, item = _chosen(past, given, path, None if step is None and "[" in path else item)
    cells = _Cells(past, path, item, parts, given.of(path, item))
    notebook = cells.notebook()
    target = _target(past.result.run_id, path, out)
    nbformat.write(notebook, target)  # type: ignore[no-untyped-call]
    return target


def _default_step(past: PastRun, item: int | None) -> str:
    prompts = dict(_prompts(past.parts, past.result, item))
    if not prompts:
        known = ", ".join(past.parts) or "none"
        raise InputError(
            f"Run {past.result.run_id} has no prompt among its steps ({known}).",
            fix="Open a run of a workflow that asks a model.",
        )
    failed = [path for path, status in prompts.items() if status is StepStatus.FAILED]
    ran = [path for path, status in prompts.items() if status is not StepStatus.NOT_RUN]
    return (failed or ran[-1:] or list(prompts))[0]


def _prompts(
    steps: Mapping[str, StepParts], result: RunResult | None, item: int | None
) -> Iterator[tuple[str, StepStatus]]:
    """Yield the path of each prompt and how it ended, those inside workflows among them.

    Parameters
    ----------
    item : of mapped workflows; None is the first that failed, else the first.
    """
    for name, parts in steps.items():
        row = result.rows.get(name) if result else None
        if parts.kind == "prompt":
            yield name, row.status if row else StepStatus.NOT_RUN
        elif parts.steps:
            items = (row.items if row else None) or []
            chosen = _first_failed(items) if item is None else item
            one = items[chosen] if 0 <= chosen < len(items) else row
            before = name if parts.map_over is None else f"{name}[{chosen}]"
            for path, status in _prompts(parts.steps, one.inner if one else None, item):
                yield f"{before}.{path}", status


def _first_failed(items: Sequence[StepRow]) -> int:
    """Return the number of the first item that failed, else 0."""
    return next((number for number, row in enumerate(items) if row.status is StepStatus.FAILED), 0)


def _chosen(past: PastRun, given: PastInputs, step: str, item: int | None) -> tuple[StepParts, int | None]:
    """Return what a step is made of, and which of its items is meant."""
    run_id = past.result.run_id
    parts = given.parts(step)
    if parts is None:
        known = list(past.parts)
        raise InputError(
            f"Run {run_id} has no step {step!r}{nearest(step, known)}.", fix=f"It has {', '.join(known) or 'none'}."
        )
    if parts.kind != "prompt":
        told = {"python": "a Python function", "agent": "an agent of your own"}.get(parts.kind, "a workflow")
        at = "" if parts.map_over is None else f"[{_first_failed(_items(past, step)) if item is None else item}]"
        inside = [f"{step}{at}.{name}" for name in parts.steps]
        fix = (
            f"Name one of {', '.join(inside)}." if inside else "Open one of its prompts, or run it from your own code."
        )
        raise InputError(f"Step {step!r} of run {run_id} is {told}, which a %%step cell cannot hold.", fix=fix)
    items = _items(past, step)
    if parts.map_over is None and item is not None:
        raise InputError(
            f"Step {step!r} of run {run_id} is not mapped, so it has no item {item}.", fix="Leave --item out."
        )
    if parts.map_over is not None and item is None:
        item = _first_failed(items)
    if parts.map_over is not None and not 0 <= (item or 0) < len(items):
        raise InputError(
            f"Step {step!r} of run {run_id} has {len(items)} items, and no item {item}.", fix="The first is 0."
        )
    return parts, item


def _items(past: PastRun, step: str) -> list[StepRow]:
    return list(past.result.row(step, None).items or ()) if step in past.result.rows else []


def _target(run_id: str, step: str, out: Path | str | None) -> Path:
    if out is not None:
        path = Path(out)
        if path.exists():
            raise InputError(f"{path} is there already.", fix="Give another --out.")
        if not path.parent.is_dir():
            raise InputError(f"There is no folder {path.parent}.", fix="Make it, or give another --out.")
        return path if path.suffix == ".ipynb" else path.with_name(f"{path.name}.ipynb")
    name = "".join(char if char.isalnum() or char in "-_." else "-" for char in f"{run_id}-{step}")[:100]
    path, number = Path(f"{name}.ipynb"), 2
    while path.exists():
        path, number = Path(f"{name}-{number}.ipynb"), number + 1
    return path


@dataclass(frozen=True, slots=True)
class _Cells:
    """The cells of the notebook of one step."""

    past: PastRun
    path: str
    item: int | None
    parts: StepParts
    values: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The step's name in the notebook."""
        plain = self.path.rpartition(".")[2]
        usable = plain.isidentifier() and not keyword.iskeyword(plain) and plain not in self.values
        return plain if usable else "step"

    def notebook(self) -> NotebookNode:
        """Return the notebook."""
        from nbformat import v4

        notebook: NotebookNode = v4.new_notebook()  # type: ignore[no-untyped-call]
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        for number, (kind, source) in enumerate(self._sources()):
            make = v4.new_markdown_cell if kind == "markdown" else v4.new_code_cell
            cell = make(source)  # type: ignore[no-untyped-call]
            cell["id"] = f"cell-{number}"  # the same run gives the same notebook
            notebook.cells.append(cell)
        return notebook

    def _sources(self) -> Iterator[tuple[str, str]]:
        run_id, workflow = self.past.result.run_id, self.past.result.workflow
        where = f", item {self.item}" if self.item is not None else ""
        step = _code_span(f"{self.path}{where}")
        yield (
            "markdown",
            (
                f"# Step {step} of run {_code_span(run_id)}\n\n"
                f"Workflow {_code_span(workflow)}. What the step was given comes out of the journal and costs nothing. "
                "Only the cell that runs the step asks its model."
            ),
        )
        yield "code", "%load_ext agentflow"
        yield "code", f"import agentflow\n\nrun = agentflow.get_run({text_literal(run_id)})\nrun"
        yield "markdown", "## What the step was given"
        yield "code", self._given()
        yield "markdown", f"## The step\n\nChange the prompt, and run the cells from here on.{self._left_out()}"
        yield "code", f"workflow = agentflow.Workflow({text_literal(f'{workflow}: {self.path}')})"
        yield "code", f"%%step {self._line()}\n{self.parts.prompt}"
        yield "code", "result = workflow.run()\nresult"
        yield "markdown", "## Then\n\nThe step as a file that needs no notebook:"
        yield "code", "print(workflow.to_yaml())"
        yield from self._whole()

    def _given(self) -> str:
        where = text_literal(self.path) + (f", item={self.item}" if self.item is not None else "")
        lines = [f"given = run.step_inputs({where})"] if self.values else ["# The prompt uses no value."]
        for name, value in self.values.items():
            if isinstance(value, NotKept):
                lines.append(f'{name} = ""  # not in the journal, since {one_line(value.reason, 200)}: give it here')
            else:
                lines.append(f"{name} = given[{text_literal(name)}]")
        if self._system_variable:
            lines.append(f"{self._system_variable} = {text_literal(str(self.parts.system))}")
        is_short = self.values and len(repr(self.values)) <= _MOST_SHOWN
        return "\n".join([*lines, *(["given"] if is_short else [])])

    @property
    def _system_variable(self) -> str:
        """The name of the variable for a system prompt that a line cannot hold; empty where it can."""
        system = self.parts.system or ""
        is_short = len(system) <= 80 and system.isprintable() and not system.isidentifier()
        if not system or is_short:
            return ""
        return next(name for name in ("system", "system_prompt", "system_text") if name not in self.values)

    @property
    def _agent(self) -> SimpleAgent | None:
        """The step's agent, where the journal has the whole definition."""
        if self.past.definition is None:
            return None
        steps = from_definition_json(self.past.definition).steps
        for part in self.path.split("."):
            step = steps.get(part.partition("[")[0])
            agent = step and step.agent
            steps = getattr(getattr(agent, "workflow", None), "steps", {})
        return agent if isinstance(agent, SimpleAgent) else None

    def _line(self) -> str:
        agent = self._agent
        form = short_form_of(agent.config.output_class) if agent and agent.config.output_class else None
        if form is None and self.parts.schema:
            form = short_form_of_schema(self.parts.schema)
        parameters = self.parts.parameters
        options: dict[str, str | list[str] | bool | None] = {
            "--model": self.parts.model or "fast",
            "--input": list(self.values),
            "--system": self._system_variable or self.parts.system,
            "--output": form,
            "--max-tokens": str(parameters["max_tokens"]) if "max_tokens" in parameters else None,
            "--temperature": str(parameters["temperature"]) if "temperature" in parameters else None,
        }
        return option_line(self.name, options)

    def _left_out(self) -> str:
        """Return what of the step a cell cannot hold."""
        left = [
            f"{name}={json.dumps(value)}" for name, value in self.parts.parameters.items() if name not in _IN_THE_CELL
        ]
        left += [f"the tool {name}" for name in self.parts.tools]
        left += [f"{len(self.parts.examples)} examples"] if self.parts.examples else []
        if self.parts.schema and "--output" not in self._line():
            left.append("the output_type, whose class the journal does not have")
        return f"\n\nThe cell leaves out {_code_span(one_line(', '.join(left), 300))}." if left else ""

    def _whole(self) -> Iterator[tuple[str, str]]:
        """Return how the changed step goes back into its workflow, and is tried on past runs."""
        run_id = self.past.result.run_id
        call = f"workflow.backtest([{text_literal(run_id)}])"
        if self.past.definition is None or "." in self.path:
            yield (
                "markdown",
                (
                    "Does the changed step do better on past runs? Put its prompt into your workflow, and try that on "
                    f"their recorded inputs: `{call}`."
                ),
            )
            return
        whole = from_definition_json(self.past.definition)
        before = f"whole = agentflow.Workflow.from_yaml({text_literal(whole.to_yaml())})\n"
        step = whole.steps[self.path]
        has_wiring = (
            step.inputs or step.depends_on or step.when or step.map_over or step.optional or step.timeout_seconds
        )
        name, mine = text_literal(self.path), f"workflow.steps[{text_literal(self.name)}].agent"
        kept = f"whole.add_step({name}, {mine})\n"
        if has_wiring:
            wiring = ["depends_on", "when", "map_over", "optional", "timeout_seconds"]
            arguments = "".join(f"    {option}=old.{option},\n" for option in wiring)
            kept = (
                f"old = whole.steps[{name}]\nwhole.add_step(\n    {name},\n    {mine},\n    old.inputs,\n{arguments})\n"
            )
        yield (
            "markdown",
            (
                "Does the changed step do better? Put it back into the whole workflow, and try that on the recorded "
                "inputs of past runs. That asks the models again, so it is for you to start: "
                f"`{call.replace('workflow', 'whole', 1)}`, or with more runs of `agentflow.runs()`."
            ),
        )
        yield "code", f"{before}{kept}whole"


def _code_span(text: str) -> str:
    """Return a text of others as code in Markdown, where nothing in it is markup."""
    plain = one_line(text, 200)
    ticks = "`" * (max((len(run) for run in "".join(c if c == "`" else " " for c in plain).split()), default=0) + 1)
    return f"{ticks} {plain} {ticks}" if "`" in plain else f"{ticks}{plain}{ticks}"
