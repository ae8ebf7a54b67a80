"""An evaluator of CloudWatch's metric math, for the expressions that our alarms have.

It is ours: neither moto nor any library evaluates them. It knows IF, FILL, + - * /, comparisons, and that a division by
zero has no value; anything else is an error. That CloudWatch reads them the same way is not shown here.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

Value = float | None  # None: no data

_OPERATORS: Mapping[type[ast.AST], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.GtE: operator.ge,
    ast.Gt: operator.gt,
    ast.Lt: operator.lt,
}
_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "GreaterThanThreshold": operator.gt,
    "LessThanThreshold": operator.lt,
}


def evaluate(expression: str, values: Mapping[str, Value]) -> Value:
    """Return what an expression is in a period, None where it has no value there."""
    return _value(ast.parse(expression, mode="eval").body, values)


def goes_off(alarm: Mapping[str, Any], period: Mapping[str, Value]) -> bool:
    """Return whether an alarm goes off where all its periods are like this one: what metrics are, by their names."""
    if "Metrics" in alarm:
        *sums, shown = alarm["Metrics"]
        assert [metric["ReturnData"] for metric in (*sums, shown)] == [False] * len(sums) + [True]
        value = evaluate(
            shown["Expression"],
            {metric["Id"]: period.get(metric["MetricStat"]["Metric"]["MetricName"]) for metric in sums},
        )
    else:
        value = period.get(alarm["MetricName"])
    if value is None:
        return bool(alarm["TreatMissingData"] == "breaching")
    return _COMPARISONS[alarm["ComparisonOperator"]](value, alarm["Threshold"])


def _value(node: ast.expr, values: Mapping[str, Value]) -> Value:
    match node:
        case ast.Constant(value=int() | float() as number):
            return number
        case ast.Name(id=name):
            return values[name]
        case ast.Call(func=ast.Name(id="FILL"), args=[ast.Name() as metric, filling]):
            found = _value(metric, values)
            return _value(filling, values) if found is None else found
        case ast.Call(func=ast.Name(id="IF"), args=[condition, then, otherwise]):
            return _value(then if _value(condition, values) else otherwise, values)
        case ast.BinOp(left=left, op=sign, right=right) | ast.Compare(left=left, ops=[sign], comparators=[right]):
            first, second = _value(left, values), _value(right, values)
            if first is None or second is None or (isinstance(sign, ast.Div) and second == 0):
                return None
            return _OPERATORS[type(sign)](first, second)
    raise AssertionError(f"{ast.unparse(node)} is no metric math that is known here")
