"""The line of `%%step`: its options, and errors in one line with the nearest name. Nothing in it is evaluated."""

from __future__ import annotations

import argparse
import shlex
from typing import NoReturn

from IPython.core.error import UsageError

from agentflow.core.errors import nearest

USAGE = (
    "%%step NAME --model MODEL [--system TEXT|VAR] [--input VAR ...] [--tool FUNC ...] [--output SCHEMA] "
    "[--max-tokens N] [--temperature T] [--workflow NAME] [--when STEP[.FIELD]] [--run] [--literal]"
)


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, and never end the process."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"%%step: {message}. Use {USAGE}")


def step_parser() -> argparse.ArgumentParser:
    """Return the parser of a `%%step` line."""
    parser = _Parser(prog="%%step", add_help=False, allow_abbrev=False)
    parser.add_argument("name")
    parser.add_argument("--model")
    parser.add_argument("--system")
    parser.add_argument("--input", nargs="+", action="extend", default=[])
    parser.add_argument("--tool", nargs="+", action="extend", default=[])
    parser.add_argument("--output")
    parser.add_argument("--max-tokens", type=int)
    parser.add_argument("--temperature", type=float)
    parser.add_argument("--workflow")
    parser.add_argument("--when")
    parser.add_argument("--run", action="store_true")
    parser.add_argument("--literal", action="store_true")
    return parser


OPTIONS = tuple(option for action in step_parser()._actions for option in action.option_strings)


def step_options(line: str) -> argparse.Namespace:
    """Return the options of a `%%step` line.

    Raises
    ------
    UsageError
        The line is written wrongly.
    """
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise UsageError(f"%%step: the line cannot be read: {str(error).lower()}.") from None
    for word in words:
        option = word.partition("=")[0]
        if option.startswith("--") and option not in OPTIONS:
            raise UsageError(f"%%step: there is no option {option}{nearest(option, OPTIONS)}.")
    if not words or words[0].startswith("-"):
        raise UsageError(f"%%step needs the name of the step first: {USAGE}")
    options, others = step_parser().parse_known_args(words)
    if others:
        raise UsageError(f"%%step: {' '.join(others)!r} belongs to no option. Put a text of several words in quotes.")
    if not options.name.isidentifier():
        raise UsageError(f"%%step: {options.name!r} is no name that {{braces}} can hold: use letters, digits and _.")
    return options


def option_line(name: str, options: dict[str, str | list[str] | bool | None]) -> str:
    """Return a `%%step` line; an option without a value is left out, one that is True stands alone."""
    words = [name]
    for option, value in options.items():
        if value is True:
            words.append(option)
        elif isinstance(value, list):
            words += [option, *map(shlex.quote, value)] if value else []
        elif value:
            words += [option, _quoted(value)]
    return " ".join(words)


def _quoted(text: str) -> str:
    """Quote a text for the line; in double quotes where that reads better."""
    quoted = shlex.quote(text)
    plain = not any(char in text for char in '"\\$`')
    return f'"{text}"' if quoted != text and plain else quoted
