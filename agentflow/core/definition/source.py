"""The source of functions and classes as code that can be pasted: with all that they need of the module they are in."""

from __future__ import annotations

import ast
import builtins
import inspect
import linecache
import sys
import textwrap
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from agentflow.core.definition.import_path import import_path_of

_PLAIN = (str, int, float, bool, bytes, type(None))


class Sources:
    """Collects imports and definitions, in an order in which they run.

    Attributes
    ----------
    modules : statements that import modules.
    names : module -> the names that are imported from it.
    definitions : name -> source of a function, a class or a constant.
    problems : a sentence for each thing that cannot be written.
    """

    def __init__(self) -> None:
        self.modules: set[str] = set()
        self.names: dict[str, set[str]] = {}
        self.definitions: dict[str, str] = {}
        self.problems: list[str] = []
        self._names: dict[int, str] = {}

    @property
    def imports(self) -> list[str]:
        """The statements that import all that is used."""
        found = [f"from {module} import {', '.join(sorted(names))}" for module, names in sorted(self.names.items())]
        return [*sorted(self.modules), *found]

    def use(self, module: str, *names: str) -> None:
        """Import names from a module."""
        self.names.setdefault(module, set()).update(names)

    def name_of(self, thing: Any, what: str) -> str:
        """Return the expression that stands for a function or class in the code; what it needs is collected.

        Parameters
        ----------
        what : what the thing is, for the problem that it cannot be written.
        """
        if id(thing) in self._names:
            return self._names[id(thing)]
        if path := import_path_of(thing):
            name = self._imported(path)
        elif source := _lambda_of(thing):
            name = f"function_{sum(known.startswith('function_') for known in self.definitions) + 1}"
            self._names[id(thing)] = name
            self._collect_needs(thing, source)
            self._define(name, f"{name} = {source}\n", what)
        elif source := _source_of(thing):
            name = thing.__name__
            self._names[id(thing)] = name  # before what it needs, which may be the thing itself
            self._collect_needs(thing, source)
            self._define(name, source, what)
        else:
            name = self._stand_in(thing, what)
        self._names[id(thing)] = name
        return name

    def _imported(self, path: str) -> str:
        module, _, name = path.partition(":")
        package = module.partition(".")[0]
        first = name.partition(".")[0]
        if getattr(sys.modules.get(package), first, None) is getattr(sys.modules.get(module), first, self):
            module = package  # the door that its own documentation shows
        self.use(module, name.partition(".")[0])
        return name

    def _define(self, name: str, source: str, what: str) -> None:
        if self.definitions.setdefault(name, source) != source:
            self.problems.append(f"{what}: another {name} has the same name; rename one of them.")

    def _stand_in(self, thing: Any, what: str) -> str:
        """Write a function that says what is missing."""
        name = getattr(thing, "__name__", type(thing).__name__)
        name = name if name.isidentifier() else f"missing_{len(self.problems)}"
        told = f"{what}: its source is not to be had here"
        self.problems.append(f"{told}; put it in the place of {name}.")
        arguments = _parameters(thing)
        self.definitions[name] = f"def {name}({arguments}):\n    raise NotImplementedError({told!r})\n"
        return name

    def _collect_needs(self, thing: Any, source: str) -> None:
        """Collect the globals that a source names, as they are now."""
        functions = _functions_of(thing)
        holder: dict[str, Any] = functions[0].__globals__ if functions else _module_of(thing)
        names = {node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)}
        for function in functions:
            names |= _names_in(function.__code__)
        own = thing.__name__
        for name in sorted(names):
            if name != own and name in holder and not hasattr(builtins, name):
                self._need(name, holder[name], own)
        for function in functions:
            for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
                if name != "__class__":
                    self._need(name, cell.cell_contents, own)

    def _need(self, name: str, value: Any, user: str) -> None:
        if isinstance(value, ModuleType):
            self.modules.add(f"import {value.__name__}" + (f" as {name}" if name != value.__name__ else ""))
        elif isinstance(value, FunctionType | type) or (callable(value) and import_path_of(value)):
            found = self.name_of(value, f"{user} uses {name}, which")
            if found != name:
                self._define(name, f"{name} = {found}\n", f"{user} uses {name}, which")
        elif _is_plain(value):
            self._define(name, f"{name} = {value!r}\n", f"{user} uses {name}, which")
        elif path := import_path_of(value):
            self._imported(path)
        else:
            self.problems.append(f"{user} uses {name}, of type {type(value).__name__}, which has to be made here.")


def _is_plain(value: Any) -> bool:
    if type(value) in {list, tuple, set}:
        return bool(value or type(value) is not set) and all(map(_is_plain, value))
    if type(value) is dict:
        return all(map(_is_plain, value)) and all(map(_is_plain, value.values()))
    return type(value) in _PLAIN and value == value and repr(value) not in {"inf", "-inf"}  # noqa: PLR0124 - not nan


def _source_of(thing: Any) -> str:
    """Return the text of a `def` or a class at the top of a module or a cell; empty where it is not to be had."""
    name = getattr(thing, "__name__", "")
    try:
        text = textwrap.dedent(inspect.getsource(thing))
    except (OSError, TypeError, SyntaxError):
        text = _class_in_a_cell(thing) if isinstance(thing, type) else ""
    try:
        parsed = ast.parse(text).body
    except SyntaxError:
        return ""
    is_own = len(parsed) == 1 and getattr(parsed[0], "name", None) == name
    return (
        text.rstrip() + "\n"
        if is_own and isinstance(parsed[0], ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        else ""
    )


def _lambda_of(thing: Any) -> str:
    """Return the expression of a lambda; empty where it is none, or its source is not to be had."""
    code = getattr(thing, "__code__", None)
    if not isinstance(thing, FunctionType) or code is None or code.co_name != "<lambda>" or thing.__closure__:
        return ""
    try:
        tree = ast.parse("".join(linecache.getlines(code.co_filename, thing.__globals__)))
    except SyntaxError:
        return ""
    found = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Lambda) and _is_of(node, code)}
    return found.pop() if len(found) == 1 else ""


def _is_of(node: ast.Lambda, code: CodeType) -> bool:
    if node.lineno != code.co_firstlineno:
        return False
    made = compile(ast.Expression(node), code.co_filename, "eval")
    inner = next(part for part in made.co_consts if isinstance(part, CodeType))
    return (inner.co_code, inner.co_varnames, inner.co_names) == (code.co_code, code.co_varnames, code.co_names)


def _class_in_a_cell(kind: type) -> str:
    """Return the newest class of that name in the cells of this process, which Python itself does not find."""
    for filename, entry in reversed(list(linecache.cache.items())):
        if len(entry) < 4 or entry[1] is not None or Path(filename).exists():
            continue  # a file, and no cell
        text = "".join(entry[2])
        try:
            nodes = ast.parse(text).body
        except SyntaxError:
            continue
        for node in reversed(nodes):
            if isinstance(node, ast.ClassDef) and node.name == kind.__name__:
                first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
                return "".join(text.splitlines(keepends=True)[first - 1 : node.end_lineno])
    return ""


def _functions_of(thing: Any) -> list[FunctionType]:
    if isinstance(thing, FunctionType):
        return [thing]
    return (
        [value for value in vars(thing).values() if isinstance(value, FunctionType)] if isinstance(thing, type) else []
    )


def _module_of(thing: Any) -> dict[str, Any]:
    module = inspect.getmodule(thing)
    return vars(module) if module else {}


def _names_in(code: CodeType) -> set[str]:
    inner = [_names_in(part) for part in code.co_consts if isinstance(part, CodeType)]
    return set(code.co_names).union(*inner)


def _parameters(thing: Any) -> str:
    try:
        return ", ".join(inspect.signature(thing).parameters)
    except (TypeError, ValueError):
        return "*values"
