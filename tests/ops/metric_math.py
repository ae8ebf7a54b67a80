"""An evaluator of CloudWatch's metric math, for the expressions that our alarms have.

It is ours: neither moto nor any library evaluates them. It knows IF, FILL, + - * /, comparisons, and that a division by
zero has no value; anything else is an error. That CloudWatch reads them the same way is not shown here.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
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
_STATISTICS: Mapping[str, Callable[[Sequence[float]], float]] = {
    "Sum": sum,
    "Average": fmean,
    "Maximum": max,
    "SampleCount": len,
}


def evaluate(expression: str, values: Mapping[str, Value]) -> Value:
    """Return what an expression is in a period, None where it has no value there."""
    return _value(ast.parse(expression, mode="eval").body, values)


def statistic(samples: Sequence[float], name: str) -> Value:
    """Return a statistic of the samples of a period, None where there are none: CloudWatch has no data then."""
    if not samples:
        return None
    return _STATISTICS[name](samples)


def goes_off(alarm: Mapping[str, Any], period: Mapping[str, Sequence[float]]) -> bool:
    """Return whether an alarm goes off where all its periods are like this one: samples by the names of metrics."""
    if "Metrics" in alarm:
        *parts, shown = alarm["Metrics"]
        assert [metric["ReturnData"] for metric in (*parts, shown)] == [False] * len(parts) + [True]
        values = {
            metric["Id"]: statistic(period.get(part["Metric"]["MetricName"], ()), part["Stat"])
            for metric in parts
            for part in (metric["MetricStat"],)
        }
        value = evaluate(shown["Expression"], values)
    else:
        value = statistic(period.get(alarm["MetricName"], ()), alarm["Statistic"])
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
