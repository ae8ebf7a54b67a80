"""Text of others in Markdown, where nothing in it is markup: no link, no HTML, no formula, no second line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from agentflow.views.outputs import one_line

# What could be markup: an underscore within a word is none; `://`, `www.` and `@` would make links.
_MARKUP = re.compile(r"([\\`*{}\[\]|~$^#]|(?<!\w)_|_(?!\w)|:(?=//)|@|(?<=www)\.)")
_LONGEST = 2_000  # characters of a text
_HTML = str.maketrans({"<": "&lt;", "&": "&amp;"})


def escaped(text: str) -> str:
    r"""Return a text in one line in which nothing is markup.

    >>> print(escaped("<b>*x*</b> costs $5 | access_denied https://a.b"))
    &lt;b>\*x\*&lt;/b> costs \$5 \| access_denied https\://a.b
    """
    return _MARKUP.sub(r"\\\1", one_line(text, _LONGEST).translate(_HTML))


def fenced(text: str, language: str = "") -> str:
    """Return a text of any lines as a block of code, which nothing in it can end."""
    longest = max((len(ticks) for ticks in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    kept = "".join(char if char.isprintable() or char == "\n" else " " for char in text)
    return f"{fence}{language}\n{kept}\n{fence}"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; heads are ours, cells are escaped here."""
    lines = [f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}"]
    lines += [f"| {' | '.join(escaped(cell) for cell in row)} |" for row in rows]
    return "\n".join(lines)
