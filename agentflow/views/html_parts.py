"""The small pieces that the run card is built of; every text goes through `safe` here or where it enters."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from html import escape

from agentflow.views.format import MARKS, explain, spoken
from agentflow.views.outputs import encodable
from agentflow.views.summary import Fact

# Grey in any theme: the page's own text colour, at a share that keeps 4.5:1 in JupyterLab's light and dark theme.
MUTED = "opacity:0.75"
RULE = "1px solid rgba(128,128,128,0.35)"
MONO = "font-family:ui-monospace,Menlo,Consolas,monospace"
CARD = (
    f"max-width:1060px;margin:4px 0;padding:14px 16px;border:{RULE};border-radius:10px;font-size:13px;line-height:1.5"
)
TABLE = "width:100%;margin:0;border:0;border-collapse:collapse;table-layout:auto;font-size:13px"
# Said on each cell, because JupyterLab's own style for tables stripes the rows and aligns all to the right.
CELL = f"padding:7px 12px 7px 0;border:0;border-top:{RULE};vertical-align:top;text-align:left;line-height:1.5"
NUMBER = f"{CELL};text-align:right;white-space:nowrap"
HEAD = f"{MUTED};padding:0 12px 4px 0;border:0;text-align:left;font-weight:normal;font-size:12px;white-space:nowrap"
HEAD_NUMBER = f"{HEAD};text-align:right"
_CODE = "font-size:12px;white-space:pre-wrap;overflow-wrap:anywhere"
ROW = "background:transparent"
PRE = (
    f"margin:6px 0 0 0;padding:10px 12px;border:{RULE};border-radius:6px;background:transparent;color:inherit;{MONO};"
    "font-size:12px;line-height:1.5;white-space:pre-wrap;overflow-wrap:break-word;max-height:360px;overflow:auto"
)


_PRE = re.compile(r"(<pre.*?</pre>)", re.DOTALL)
_DOLLAR = re.compile(r"\$(?=[^<>]*<)")  # in a text; what follows one in a tag's attribute is the tag's end


def safe(text: str) -> str:
    """Escape a text for HTML, also inside of attributes."""
    return escape(encodable(text), quote=True)


def element(tag: str, content: str, *, style: str = "", **attributes: str) -> str:
    """Return an element; `content` is HTML, the attributes are escaped here."""
    given = {"style": style, **attributes}
    written = "".join(f' {name}="{escape(value, quote=True)}"' for name, value in given.items() if value)
    return f"<{tag}{written}>{content}</{tag}>"


def card(parts: Iterable[str]) -> str:
    """Return a card around pieces of HTML, in which JupyterLab looks for no formulas between dollar signs."""
    pieces = _PRE.split("".join(parts))  # every second one is a `pre`, where it never looks
    pieces[::2] = [_DOLLAR.sub("<span>$</span>", piece) for piece in pieces[::2]]
    return element("div", "".join(pieces), style=CARD)


def plain(content: str, *, style: str = "") -> str:
    """Return text of others as it is written: in a `pre`, JupyterLab looks for no formulas between dollar signs."""
    kept = (
        "margin:0;padding:0;border:0;background:transparent;color:inherit;font-family:inherit;font-size:inherit;"
        "line-height:inherit;white-space:pre-wrap;word-break:normal;overflow-wrap:break-word"
    )
    return element("pre", content, style=f"{kept};{style}" if style else kept)


def head_row(heads: Mapping[str, str]) -> str:
    """Return the heads of a table's columns, each with its style."""
    cells = [element("th", name, style=look, scope="col") for name, look in heads.items()]
    return element("thead", element("tr", "".join(cells), style=ROW))


def caption(text: str) -> str:
    """Return what a table is of, above it."""
    look = f"{MUTED};caption-side:top;text-align:left;font-size:12px;padding:0 0 4px 0"
    return element("caption", safe(text), style=look)


def code_block(code: str) -> str:
    """Return a line of code that can be copied."""
    look = f"margin:2px 0 0 0;padding:6px 10px;border:{RULE};border-radius:6px;background:transparent;color:inherit"
    return element("pre", element("code", safe(code), style="color:inherit"), style=f"{look};{MONO};{_CODE}")


def small(content: str, *, style: str = "") -> str:
    """Return a second, quieter line below a figure or a name; none for no content."""
    if not content:
        return ""
    return element("div", content, style=f"{MUTED};font-size:12px;font-weight:normal" + (f";{style}" if style else ""))


def badge(status: str) -> str:
    """Return a status as sign, colour and word, so that no one of them has to carry it alone."""
    mark = MARKS[status]
    disc = (
        "display:inline-block;width:16px;height:16px;line-height:16px;border-radius:8px;text-align:center;"
        f"font-size:11px;background-color:{mark.colour};color:#ffffff"
    )
    return element("span", f"{element('span', mark.symbol, style=disc)} {spoken(status)}", style="white-space:nowrap")


def fact_blocks(facts: Iterable[Fact]) -> str:
    """Return the figures of a headline, each above its label."""
    blocks = "".join(
        element(
            "div",
            element("strong", safe(fact.value), style="font-size:15px;white-space:nowrap")
            + "<br>"
            + element("span", safe(fact.label), style=f"{MUTED};font-size:12px;white-space:nowrap"),
        )
        for fact in facts
    )
    return element(
        "div", blocks, style="display:flex;flex-wrap:wrap;gap:8px 28px;margin:10px 0 14px 0;line-height:1.35"
    )


def warnings_note(warnings: Iterable[str]) -> str:
    """Return what went wrong beside the figures; nothing where nothing did."""
    told = "".join(element("div", safe(warning), style="overflow-wrap:break-word") for warning in warnings)
    if not told:
        return ""
    edge = "border-left:4px solid rgba(128,128,128,0.6);padding:2px 0 2px 12px;margin:0 0 12px 0"
    return element("div", element("strong", "Worth knowing") + told, style=edge)


def error_note(error: BaseException, more: str = "") -> str:
    """Return an error with what to do next, and more HTML behind it."""
    what, fix = explain(error)
    parts = [_paragraph("What happened", what), _paragraph("What to do", fix) if fix else "", more]
    edge = f"border-left:4px solid {MARKS['failed'].colour};padding:2px 0 2px 12px;margin:0 0 12px 0"
    return element("div", "".join(parts), style=edge)


def _paragraph(label: str, text: str) -> str:
    wrapped = element("div", safe(text), style="white-space:pre-wrap;overflow-wrap:break-word")
    return element("div", element("strong", label) + wrapped, style="margin:2px 0")
