"""`%agentflow edit STEP`: a form that writes the `%%step` cell back.

A form lives as long as its kernel, and as long as no other cell runs; then a note stands in its place that says how to
get it back, so that a saved notebook holds no dead widget.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import ipywidgets as widgets
from IPython.core.error import UsageError
from IPython.display import DisplayHandle, display

from agentflow.core.agent import SimpleAgent
from agentflow.core.errors import RunInterrupted
from agentflow.core.model import DEFAULT_MAX_TOKENS
from agentflow.core.output_types import short_form_of
from agentflow.core.template import Template
from agentflow.core.workflow import Workflow
from agentflow.notebook.completion import model_names
from agentflow.notebook.form_note import FormNote
from agentflow.notebook.options import option_line, step_options
from agentflow.notebook.past_calls import past_calls_html
from agentflow.notebook.running import run_up_to
from agentflow.notebook.state import KernelState
from agentflow.notebook.step_magic import trial
from agentflow.notebook.values import size_words
from agentflow.utils.env import in_jupyter_session
from agentflow.views.html_parts import MONO, MUTED, element, error_note, plain, safe

_WIDE = {"width": "auto"}
_WHOLE = {"width": "100%", "overflow": "auto"}
_NO_WIDER = "width:0;min-width:100%"  # than the form: ipywidgets makes room for the longest line
_LABEL = {"description_width": "96px"}


class EditForm:
    """A form for one step.

    Attributes
    ----------
    cell : the text of the `%%step` cell as the form stands; empty where it cannot be written.
    root : the widget that holds all.
    """

    def __init__(self, state: KernelState, name: str) -> None:
        self._state = state
        self._workflow, agent = _step_of(state, name)
        config = agent.config if agent else None
        made = state.cell_steps(self._workflow).get(name) if self._workflow else None
        self._options = step_options(made.line) if made else step_options(name)
        self._handle: DisplayHandle | None = None
        self.cell = ""
        prompt = made.body if made else agent.prompt_template if agent else ""
        system = self._options.system or (config.system if config else "") or ""
        form = short_form_of(config.output_class) if config and config.output_class else ""
        self.name = widgets.Text(name, description="step", style=_LABEL)
        asked = (config.model_type if config else None) or "fast"
        names = model_names()
        self.model = widgets.Dropdown(
            value=asked,
            options=names if asked in names else [asked, *names],  # a Bedrock id, or a profile's
            description="model",
            style=_LABEL,
        )
        self.prompt = widgets.Textarea(prompt, description="prompt", rows=8, layout=_WIDE, style=_LABEL)
        self.system = widgets.Text(
            system, description="system", placeholder="text, or a variable's name", layout=_WIDE, style=_LABEL
        )
        self.output = widgets.Text(
            self._options.output or form or "",
            description="output",
            placeholder="urgent: bool, product: str; empty for text",
            layout=_WIDE,
            style=_LABEL,
        )
        self.max_tokens = widgets.BoundedIntText(
            config.max_tokens if config else DEFAULT_MAX_TOKENS,
            min=1,
            max=1_000_000,
            description="max tokens",
            style=_LABEL,
        )
        self.temperature = widgets.Text(
            "" if config is None or config.temperature is None else f"{config.temperature:g}",
            description="temperature",
            placeholder="0 to 1; empty for the model's own",
            style=_LABEL,
        )
        self.inputs = widgets.VBox([])
        self.message = widgets.HTML("", layout=_WHOLE)
        self.result = widgets.HTML("", layout=_WHOLE)
        self.calls = widgets.HTML("", layout=_WHOLE)
        self.run = widgets.Button(description="Run", tooltip="Run the step as it stands here, with what it needs")
        self.write = widgets.Button(
            description="Write the cell", button_style="primary", tooltip="As a %%step cell below"
        )
        self.run.on_click(self._shown_here(self._run))
        self.write.on_click(self._shown_here(self._write))
        self.prompt.observe(self._shown_here(lambda _: self._list_inputs()), "value")
        parameters = widgets.HBox([self.max_tokens, self.temperature], layout={"flex_flow": "row wrap"})
        buttons = widgets.HBox([self.run, self.write], layout={"margin": "4px 0 4px 104px"})
        fields = [self.name, self.model, self.prompt, self.system, self.output, parameters, self.inputs, buttons]
        self.root = widgets.VBox(
            [*fields, self.message, self.calls, self.result], layout={"width": "100%", "max_width": "1000px"}
        )
        self._list_inputs()
        self._list_calls()

    def show(self) -> None:
        """Show the form, until another cell runs."""
        self._handle = DisplayHandle()  # type: ignore[no-untyped-call]
        self._handle.display(self.root)  # type: ignore[no-untyped-call]
        self._state.shell.events.register("pre_run_cell", self._another_cell_runs)

    def close(self) -> None:
        """Put a note in the place of the form."""
        if self._handle is not None:
            self._state.shell.events.unregister("pre_run_cell", self._another_cell_runs)
            self._handle.update(FormNote(self.name.value, self.cell))  # type: ignore[no-untyped-call]
            self._handle = None
        self.root.close()

    def _another_cell_runs(self, _info: Any) -> None:
        self.close()

    def _shown_here(self, handler: Callable[[Any], None]) -> Callable[[Any], None]:
        """Have what a handler raises shown in the form: nobody would see it elsewhere."""

        @wraps(handler)
        def handle(event: Any) -> None:
            try:
                self.message.value = ""
                handler(event)
            except RunInterrupted:
                self.message.value = element("div", "The run was interrupted.")
            except UsageError as error:
                self.message.value = element("div", plain(safe(str(error))), role="alert")
            except Exception as error:  # noqa: BLE001 - whatever it is, the person has to see it
                self.message.value = error_note(error)

        return handle

    # What the fields say

    def _line(self) -> str:
        """Return the line of the cell: the options that the form has, and those that it was opened with."""
        prompt = Template(self.prompt.value)
        names = {*prompt.names, *Template(self.system.value).names}
        declared = [name for name in self._options.input if name in names]
        fields = {field.description: field for field in self.inputs.children}
        declared += [name for name in fields if name not in declared and name in self._state.variables]
        return option_line(
            self.name.value.strip(),
            {
                "--model": self.model.value.strip() or "fast",
                "--input": declared,
                "--system": self.system.value.strip(),
                "--tool": list(self._options.tool),
                "--output": self.output.value.strip(),
                "--max-tokens": str(self.max_tokens.value) if self.max_tokens.value != DEFAULT_MAX_TOKENS else None,
                "--temperature": self.temperature.value.strip(),
                "--workflow": self._options.workflow,
                "--when": self._options.when,
                "--literal": bool(self._options.literal),
            },
        )

    def _list_inputs(self) -> None:
        """Make a field for each input that the prompt uses; what was typed into one that stays is kept."""
        before = {field.description: field for field in self.inputs.children}
        steps = self._workflow.steps if self._workflow else {}
        try:
            names = dict.fromkeys((*Template(self.prompt.value).names, *Template(self.system.value).names))
        except Exception:  # noqa: BLE001 - while somebody types
            return
        wanted = [name for name in names if name not in steps]
        if self._options.literal:
            wanted = [name for name in wanted if name in self._options.input]
        self.inputs.children = tuple(before.get(name) or self._input_field(name) for name in wanted)

    def _input_field(self, name: str) -> widgets.Text:
        variables = self._state.variables
        hint = f"the kernel's variable ({size_words(variables[name])})" if name in variables else "a value for Run"
        return widgets.Text("", description=name, placeholder=hint, layout=_WIDE, style=_LABEL)

    def _list_calls(self) -> None:
        agent = (
            self._workflow.steps[self.name.value].agent
            if self._workflow and self.name.value in self._workflow.steps
            else None
        )
        if self._workflow is not None and isinstance(agent, SimpleAgent):
            self.calls.value = past_calls_html(self._workflow.config.name, self.name.value, agent)

    # What the buttons do

    def _run(self, _event: Any) -> None:
        options = step_options(self._line())
        self.run.disabled, self.run.description = True, "Runs…"
        try:
            workflow = trial(self._state, options, self.prompt.value)
            workflow._display_mode = "off"  # the form shows the run: what else a button's run shows has no place
            typed = {field.description: field.value for field in self.inputs.children if field.value}
            result = run_up_to(self._state, workflow, options.name, typed)
        finally:
            self.run.disabled, self.run.description = False, "Run"
        self.result.value = element("div", result._repr_html_(), style=_NO_WIDER)
        self._list_calls()

    def _write(self, _event: Any) -> None:
        line = self._line()
        trial(self._state, step_options(line), self.prompt.value)  # which says what is wrong with it
        self.cell = f"%%step {line}\n{self.prompt.value}"
        self._state.shell.set_next_input(self.cell, replace=False)
        shown = element("pre", safe(self.cell), style=f"{MONO};white-space:pre-wrap;overflow-wrap:break-word")
        told = "Your notebook puts this cell below the next one that you run; or copy it from here."
        self.message.value = element("div", element("div", told, style=MUTED) + shown)


def show_form(state: KernelState, name: str) -> None:
    """Show a form for a step, or for a new one of that name; a note where nobody could use a form.

    Raises
    ------
    UsageError
        The step is no prompt, or the name cannot be one's.
    """
    form = EditForm(state, name)
    if is_watched(state):
        form.show()
    else:
        form.root.close()
        display(FormNote(name))  # type: ignore[no-untyped-call]


def is_watched(state: KernelState) -> bool:
    """Return whether a person sees this kernel's widgets: JupyterLab says so, papermill and terminals do not."""
    return hasattr(state.shell, "kernel") and in_jupyter_session()


def _step_of(state: KernelState, name: str) -> tuple[Workflow | None, SimpleAgent | None]:
    """Return the workflow and the prompt of a step; that of a new step is None."""
    for workflow in reversed(list(state.workflows.values())):
        if name in workflow.steps:
            agent = workflow.steps[name].agent
            if not isinstance(agent, SimpleAgent):
                raise UsageError(f"%agentflow edit {name}: that step is no prompt, so it has no form.")
            return workflow, agent
    return (state.workflow()[0] if state.workflows else None), None
