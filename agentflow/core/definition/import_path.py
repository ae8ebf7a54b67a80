"""Import paths, `module:name`: from an object to the path that leads back to it, and from a path to the object."""

from __future__ import annotations

import re
import sys
from importlib import import_module
from types import MethodType, ModuleType
from typing import Any

from agentflow.core.errors import DefinitionError, nearest

_PATH = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*:[^\W\d]\w*(?:\.[^\W\d]\w*)*")


def is_import_path(text: str) -> bool:
    """Return whether a text has the form `package.module:name` or `package.module:Class.name`."""
    return _PATH.fullmatch(text) is not None


def import_path_of(thing: Any) -> str | None:
    """Return the path that leads to this very object, also in another process; None where there is none.

    Functions and classes go by their own name; other objects by the name of a module's attribute that holds them.
    """
    module_name = getattr(thing, "__module__", None) or ""
    name = getattr(thing, "__qualname__", None)
    if isinstance(name, str):
        return f"{module_name}:{name}" if _leads_to(module_name, name, thing) else None
    places = (module_name, *sorted(sys.modules))
    return next((path for place in places if (path := _attribute_that_is(thing, place))), None)


def _leads_to(module_name: str, name: str, thing: Any) -> bool:
    if module_name == "__main__" or not is_import_path(f"{module_name}:{name}"):
        return False
    found: Any = sys.modules.get(module_name)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found is thing or (isinstance(thing, MethodType) and found == thing)  # a method is made anew when asked for


def _attribute_that_is(thing: Any, module_name: str) -> str | None:
    module = sys.modules.get(module_name)
    if not isinstance(module, ModuleType) or module_name == "__main__":
        return None
    names = (name for name, value in vars(module).copy().items() if value is thing)
    return next((path for name in names if is_import_path(path := f"{module_name}:{name}")), None)


def import_object(path: str) -> Any:
    """Return the object that a path leads to. Imports its module, which runs that module's code.

    Raises
    ------
    DefinitionError
        The text is no path, the module cannot be imported, or it has no such name.
    """
    if not is_import_path(path):
        raise DefinitionError(f"{path!r} is no import path.", fix="Write package.module:name.")
    module_name, _, name = path.partition(":")
    try:
        found: Any = import_module(module_name)
    except Exception as error:
        raise DefinitionError(
            f"{path!r}: the module {module_name!r} cannot be imported ({type(error).__name__}: {error}).",
            fix="Install it, or run from the folder that has it.",
        ) from error
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError as error:
            raise DefinitionError(
                f"{path!r}: there is no {part!r}{nearest(part, dir(found))}.", fix=f"Define it in {module_name!r}."
            ) from error
    return found
