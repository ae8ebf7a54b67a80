"""What the last calls of a step took, as a small table."""

from __future__ import annotations

from agentflow.core.agent import SimpleAgent
from agentflow.core.errors import AgentFlowError
from agentflow.core.journal import PastCall, opened_journal
from agentflow.core.model import Request
from agentflow.views.format import duration, in_out, money
from agentflow.views.html_parts import CELL, HEAD, HEAD_NUMBER, NUMBER, ROW, TABLE, element, safe, small

_MOST = 5


def past_calls_html(workflow: str, step: str, agent: SimpleAgent) -> str:
    """Return model, time, tokens and list price of the last calls of a step, newest first."""
    try:
        calls = [call for call in opened_journal().past_work(workflow).calls if call.step == step][:_MOST]
    except AgentFlowError as error:
        return small(safe(str(error)))
    if not calls:
        return small("This step has not run yet.")
    heads = {"last calls": HEAD, "time": HEAD_NUMBER, "tokens in / out": HEAD_NUMBER, "list price": HEAD_NUMBER}
    head = element("tr", "".join(element("th", name, style=style) for name, style in heads.items()), style=ROW)
    body = "".join(_row(call, agent) for call in calls)
    return element("table", element("thead", head) + element("tbody", body), style=f"{TABLE};max-width:560px")


def _row(call: PastCall, agent: SimpleAgent) -> str:
    cells = [
        element("td", safe(call.model), style=CELL),
        element("td", duration(call.latency_ms), style=NUMBER),
        element("td", in_out(call.usage), style=NUMBER),
        element("td", _price(call, agent), style=NUMBER),
    ]
    return element("tr", "".join(cells), style=ROW)


def _price(call: PastCall, agent: SimpleAgent) -> str:
    """Return Bedrock's list price of a call, of the model that the step asks, also where this machine answered."""
    estimate = agent.client.estimate(agent.config.model_type, Request("?"))
    return money(estimate.price(call.usage))
