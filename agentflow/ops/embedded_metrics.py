"""Metrics as documents in CloudWatch's embedded metric format: log lines that CloudWatch makes metrics of.

The rules are those of the Embedded Metric Format Specification (Amazon CloudWatch User Guide): targets are members of
the root, a value is a number or at most 100 of them, and nothing stands before or after the document.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain, islice, repeat
from typing import Any

from agentflow.ops.metrics import METRICS, NAMESPACE, Dimension, Samples, dimension_value

MOST_VALUES = 100  # of a metric in one document


def documents(samples: Samples, at_ms: int) -> Iterator[Mapping[str, Any]]:
    """Return the documents of some samples; each metric of a dimension is published without it, too.

    Parameters
    ----------
    at_ms : the time of the samples, in milliseconds since 1970.
    """
    for dimension, metrics in samples.items():
        left = {
            name: chain.from_iterable(repeat(value, count) for value, count in counted.items())
            for name, counted in metrics.items()
        }
        while values := {name: some for name, each in left.items() if (some := list(islice(each, MOST_VALUES)))}:
            yield _document(dimension, values, at_ms)


def _document(dimension: Dimension, values: Mapping[str, list[float]], at_ms: int) -> Mapping[str, Any]:
    name, value = dimension or ("", "")
    directive = {
        "Namespace": NAMESPACE,
        "Dimensions": [[], [name]] if dimension else [[]],
        "Metrics": [{"Name": metric, "Unit": METRICS[metric][0]} for metric in values],
    }
    return {
        "_aws": {"Timestamp": at_ms, "CloudWatchMetrics": [directive]},
        **({name: dimension_value(value)} if dimension else {}),
        **{metric: some[0] if len(some) == 1 else some for metric, some in values.items()},
    }
