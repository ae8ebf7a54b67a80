"""Why a step ran or did not, as text and as HTML."""

from __future__ import annotations

from agentflow.core.explaining.changes import Reason
from agentflow.core.explaining.explain import Explanation
from agentflow.views.html_parts import CARD, MONO, MUTED, RULE, element, plain, safe
from agentflow.views.outputs import encodable, one_line

_NAME_WIDTH = 60
_LINE_WIDTH = 400
_DIFF = (
    f"margin:4px 0 8px 0;padding:8px 10px;border:{RULE};border-radius:6px;font-size:12px;{MONO};line-height:1.5;"
    "max-height:360px;overflow:auto"
)
# Behind lines that were added and removed; the text on them keeps the page's colour, and its sign.
_BEHIND = {"+": "rgba(26,127,55,0.18)", "-": "rgba(179,38,30,0.18)"}


def explanation_text(explanation: Explanation) -> str:
    """Return an explanation as text: the sentence, then a line or a diff for each reason."""
    lines = [f"{_title(explanation)}: {explanation.said}"]
    for reason in explanation.reasons:
        lines += reason_lines(reason)
    return "\n".join(lines)


def reason_lines(reason: Reason) -> list[str]:
    """Return what changed, as lines of text: a sentence, and a diff where there is one."""
    head = f"  {_label(reason)}{one_line(reason.text, _LINE_WIDTH)}"
    return [head, *(f"    {_printable(line)}" for line in reason.diff.splitlines())]


def explanation_html(explanation: Explanation) -> str:
    """Return an explanation as an HTML card; all that comes from workflows and models is escaped."""
    title = element("strong", safe(_title(explanation)), style="font-size:15px")
    said = plain(safe(explanation.said), style="margin:4px 0 0 0")
    return element(
        "div", title + said + "".join(map(reason_html, explanation.reasons)), style=f"{CARD};overflow-wrap:break-word"
    )


def _title(explanation: Explanation) -> str:
    step = one_line(explanation.step, _NAME_WIDTH)
    place = step if explanation.item is None else f"{step}[{explanation.item}]"
    return f"{place} · {explanation.word}" if explanation.word else place


def _label(reason: Reason) -> str:
    return f"{reason.kind}: " if reason.kind else ""


def _printable(line: str) -> str:
    return "".join(char if char.isprintable() else " " for char in encodable(line))


def reason_html(reason: Reason) -> str:
    """Return what changed as HTML: a sentence, and a diff where there is one."""
    label = element("span", safe(_label(reason)), style=MUTED)
    told = plain(label + safe(one_line(reason.text, _LINE_WIDTH)), style="margin:6px 0 0 0")
    lines = [line for line in reason.diff.splitlines() if not line.startswith(("--- ", "+++ "))]  # colours say it
    return told + (plain("".join(map(_line, lines)), style=_DIFF) if lines else "")


def _line(line: str) -> str:
    behind = _BEHIND.get(line[:1], "")
    look = f"background-color:{behind}" if behind else MUTED
    return element("span", safe(line) or "&nbsp;", style=f"display:block;{look}")
