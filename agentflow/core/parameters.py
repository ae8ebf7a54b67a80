"""The parameters of Python functions that values are bound to by name: those of steps and of tools."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from agentflow.core.errors import DefinitionError


def named_parameters(function: Callable[..., Any]) -> Mapping[str, bool]:
    """Return the names of a function's parameters, each with whether it is required.

    Raises
    ------
    DefinitionError
        They cannot be read, or one of them has no name to bind to.
    """
    name = getattr(function, "__name__", repr(function))
    try:
        signature = inspect.signature(function)
    except ValueError as error:
        raise DefinitionError(
            f"The parameters of {name} cannot be read.", fix="Wrap it in a function with named parameters."
        ) from error
    parameters: dict[str, bool] = {}
    for parameter in signature.parameters.values():
        if parameter.kind in {parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}:
            raise DefinitionError(
                f"{name} takes {parameter}, which no name can be bound to.", fix="Give it named parameters only."
            )
        parameters[parameter.name] = parameter.default is parameter.empty
    return parameters
