"""A user's own prices: the file that `AGENTFLOW_PRICES` names, such as for a contract with Amazon or a new model.

The file has the shape of AgentFlow's own `prices.yaml`: the day on which the prices were read, and rows by model::

    dated: 2026-11-24
    prices:
      haiku-4-5:                          # a model of the catalog, by its name or its bare id
        - {profiles: [us, eu], input: 0.99, output: 4.95, cache_read: 0.099, batch_input: 0.495, batch_output: 2.475}
        - {profiles: [us, eu], over_tokens: 200000, input: 1.98, output: 7.43}
      deepseek.r1-v1:0:                   # another model, by its bare id, or by the ARN of an application profile
        - {profiles: [us], input: 1.35, output: 5.4}

Prices are US dollars per million tokens. A row has `profiles` (`on-demand` for a bare id or an ARN, else `us`, `eu`,
`jp`, `au`, `apac`, `us-gov`, `global`), `input` and `output`, and may have `cache_write_5m`, `cache_write_1h`,
`cache_read`, `batch_input`, `batch_output`, and `over_tokens` where it holds for longer prompts only. The rows of a
model take the place of all rows that AgentFlow has for it: what the file does not list has no known price.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from agentflow.core.definition.yaml_text import load_source
from agentflow.core.errors import DefinitionError, nearest
from agentflow.models.prices import Price, PriceFile, PriceList, ProfileKind


def read_price_file(path: Path, names: Mapping[str, str]) -> Mapping[str, PriceList]:
    """Return the price lists of a file by the catalog's name of the model, or by the id that the catalog does not know.

    Parameters
    ----------
    names : the catalog's names by bare id.

    Raises
    ------
    DefinitionError
        The file cannot be read, or is not written as above; `problems` has a sentence for each mistake.
    """
    try:
        data, _ = load_source(path)
        lists = PriceFile.model_validate(data).lists()
    except DefinitionError as error:
        raise _wrong(path, error.problems) from error
    except ValidationError as error:
        raise _wrong(path, [_sentence(problem) for problem in error.errors()]) from error
    problems = [problem for model in lists if (problem := _problem(model, names))]
    problems += [f"{model!r} is there twice, also as {names[model]!r}." for model in lists if names.get(model) in lists]
    if problems:
        raise _wrong(path, problems)
    return {names.get(model, model): prices for model, prices in lists.items()}


def _wrong(path: Path, problems: list[str] | tuple[str, ...]) -> DefinitionError:
    return DefinitionError(
        f"The prices in {path} cannot be used: {' '.join(problems)}",
        fix="Correct the file, or remove AGENTFLOW_PRICES.",
        problems=problems,
    )


def _problem(model: str, names: Mapping[str, str]) -> str | None:
    """Return what is wrong with the key of a model."""
    if model in names.values():
        return None
    if "." not in model and ":" not in model:
        return f"{model!r} is no model of the catalog{nearest(model, names.values())}, and no Bedrock id."
    profile, _, bare_id = model.partition(".")
    if profile in get_args(ProfileKind):
        return f"{model!r} has the prefix of a profile: write {bare_id!r}, and `profiles: [{profile}]` in its rows."
    return None


def _sentence(problem: ErrorDetails) -> str:
    """Turn one of pydantic's problems into a sentence that names model, row and field."""
    match problem["loc"]:
        case ("prices", str(model), int(row), *field):
            where = f"{model!r}, row {row + 1}"
        case ("prices", str(model)):
            where, field = repr(model), []
        case (*field,):
            where = "it"
    name = ".".join(str(part) for part in field)
    if problem["type"] == "missing":
        return f"{where} has no `{name}`."
    if problem["type"] == "extra_forbidden":
        return f"{where} has an unknown `{name}`{nearest(name, Price.model_fields)}."
    message = problem["msg"].removeprefix("Value error, ")
    value = f"{name}={problem['input']!r}: " if name else ""
    return f"{where}: {value}{message[0].lower()}{message[1:]}."
