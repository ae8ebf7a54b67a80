"""AgentFlow: build, run and operate LLM workflows on Amazon Bedrock, in Jupyter first.

>>> from agentflow import Workflow
>>> workflow = Workflow("greeting")
>>> _ = workflow.add_step("greet", lambda name: f"Hello {name}")
>>> workflow.run(name="Ada").outputs
{'greet': 'Hello Ada'}
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from agentflow.core import ports

if TYPE_CHECKING:
    from agentflow.batch.notebooks import completed, record, recorded, secret
    from agentflow.batch.world import JobStopped
    from agentflow.core.agent import SimpleAgent
    from agentflow.core.budget import budget
    from agentflow.core.config import AgentConfig, WorkflowConfig
    from agentflow.core.content import Attachment, CachePoint
    from agentflow.core.errors import AgentFlowError, BudgetExceeded, RunInterrupted, WorkflowError
    from agentflow.core.explaining.backtest import Backtest
    from agentflow.core.explaining.explain import Explanation
    from agentflow.core.history import cache, get_run, prune_cache, prune_runs, resume, runs
    from agentflow.core.model import Guardrail, Turn
    from agentflow.core.portal import RunHandle
    from agentflow.core.quoting.quote import Quote
    from agentflow.core.result import RunResult
    from agentflow.core.step import Step
    from agentflow.core.watching import display
    from agentflow.core.workflow import Workflow
    from agentflow.models.bedrock_client import BedrockClient
    from agentflow.models.catalog import ModelType
    from agentflow.models.choice import list_models, select_model
    from agentflow.models.limiting.quotas import Quota
    from agentflow.notebook.extension import load_ipython_extension, unload_ipython_extension
    from agentflow.notebook.open_run import open_run
    from agentflow.ops.diagnosis.diagnose import diagnose
    from agentflow.ops.health.checkup import health_check

__version__ = "0.1.0"

_PUBLIC = {
    "AgentConfig": "agentflow.core.config",
    "AgentFlowError": "agentflow.core.errors",
    "BudgetExceeded": "agentflow.core.errors",
    "Attachment": "agentflow.core.content",
    "Backtest": "agentflow.core.explaining.backtest",
    "BedrockClient": "agentflow.models.bedrock_client",
    "CachePoint": "agentflow.core.content",
    "Explanation": "agentflow.core.explaining.explain",
    "JobStopped": "agentflow.batch.world",
    "Guardrail": "agentflow.core.model",
    "ModelType": "agentflow.models.catalog",
    "Quota": "agentflow.models.limiting.quotas",
    "Quote": "agentflow.core.quoting.quote",
    "RunHandle": "agentflow.core.portal",
    "RunInterrupted": "agentflow.core.errors",
    "RunResult": "agentflow.core.result",
    "SimpleAgent": "agentflow.core.agent",
    "Step": "agentflow.core.step",
    "Turn": "agentflow.core.model",
    "Workflow": "agentflow.core.workflow",
    "WorkflowConfig": "agentflow.core.config",
    "WorkflowError": "agentflow.core.errors",
    "budget": "agentflow.core.budget",
    "completed": "agentflow.batch.notebooks",
    "record": "agentflow.batch.notebooks",
    "recorded": "agentflow.batch.notebooks",
    "secret": "agentflow.batch.notebooks",
    "cache": "agentflow.core.history",
    "diagnose": "agentflow.ops.diagnosis.diagnose",
    "display": "agentflow.core.watching",
    "get_run": "agentflow.core.history",
    "health_check": "agentflow.ops.health.checkup",
    "list_models": "agentflow.models.choice",
    "load_ipython_extension": "agentflow.notebook.extension",
    "open_run": "agentflow.notebook.open_run",
    "prune_cache": "agentflow.core.history",
    "prune_runs": "agentflow.core.history",
    "resume": "agentflow.core.history",
    "runs": "agentflow.core.history",
    "select_model": "agentflow.models.choice",
    "unload_ipython_extension": "agentflow.notebook.extension",
}

__all__ = [
    "AgentConfig",
    "AgentFlowError",
    "Attachment",
    "Backtest",
    "BedrockClient",
    "BudgetExceeded",
    "CachePoint",
    "Explanation",
    "Guardrail",
    "JobStopped",
    "ModelType",
    "Quota",
    "Quote",
    "RunHandle",
    "RunInterrupted",
    "RunResult",
    "SimpleAgent",
    "Step",
    "Turn",
    "Workflow",
    "WorkflowConfig",
    "WorkflowError",
    "__version__",
    "budget",
    "cache",
    "completed",
    "diagnose",
    "display",
    "get_run",
    "health_check",
    "list_models",
    "load_ipython_extension",
    "open_run",
    "prune_cache",
    "prune_runs",
    "record",
    "recorded",
    "resume",
    "runs",
    "secret",
    "select_model",
    "unload_ipython_extension",
]

ports.connect(
    answer_cache="agentflow.store.journal:answer_cache",
    answers_frame="agentflow.views.frames:answers_frame",
    map_rows="agentflow.batch.mapping:map_rows",
    journal="agentflow.store.journal:journal",
    models_frame="agentflow.views.frames:models_frame",
    model_client="agentflow.models.bedrock_client:BedrockClient",
    signal_tap="agentflow.ops.signals:signal_tap",
    steps_frame="agentflow.views.frames:steps_frame",
    run_chart="agentflow.views.step_charts:run_chart",
    attempts_frame="agentflow.views.frames:attempts_frame",
    tools_frame="agentflow.views.frames:tools_frame",
    runs_frame="agentflow.views.history:runs_view",
    error_lines="agentflow.views.errors:error_lines",
    interrupted_lines="agentflow.views.errors:interrupted_lines",
    run_text="agentflow.views.text:run_text",
    run_html="agentflow.views.html:run_html",
    run_display="agentflow.notebook.display:run_display",
    going_on_html="agentflow.notebook.live_html:going_on_html",
    backtest_frame="agentflow.views.frames:backtest_frame",
    backtest_text="agentflow.views.backtest:backtest_text",
    backtest_html="agentflow.views.backtest:backtest_html",
    explanation_text="agentflow.views.explanation:explanation_text",
    explanation_html="agentflow.views.explanation:explanation_html",
    quote_frame="agentflow.views.frames:quote_frame",
    quote_text="agentflow.views.quote_text:quote_text",
    quota_report_frame="agentflow.views.frames:quota_report_frame",
    quote_html="agentflow.views.quote_html:quote_html",
    diff_frame="agentflow.views.frames:diff_frame",
    diff_text="agentflow.views.diff:diff_text",
    diff_html="agentflow.views.diff:diff_html",
    workflow_text="agentflow.views.workflow_text:workflow_text",
    workflow_html="agentflow.views.workflow_html:workflow_html",
)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `import agentflow` stays fast."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'agentflow' has no attribute {name!r}")
    value = getattr(import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
