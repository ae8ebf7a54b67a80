"""The published rules of CloudWatch's embedded metric format, as a check of a document."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

# StandardUnit of the CloudWatch API, without those per second.
UNITS = {
    "Seconds", "Microseconds", "Milliseconds", "Bytes", "Kilobytes", "Megabytes", "Gigabytes", "Terabytes", "Bits",
    "Kilobits", "Megabits", "Gigabits", "Terabits", "Percent", "Count", "None",
}  # fmt: skip


def parsed(line: str) -> dict[str, Any]:
    """Return the document of a log line: the line is it, with nothing before or after, and no NaN or Infinity."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    assert line.startswith("{")
    assert line.endswith("}")
    assert len(line.encode()) <= 1024 * 1024
    document: dict[str, Any] = json.loads(line, parse_constant=refuse)
    return document


def check(document: Mapping[str, Any]) -> None:
    """Fail where a document breaks a rule."""
    about = document["_aws"]
    assert set(about) == {"Timestamp", "CloudWatchMetrics"}
    assert isinstance(about["Timestamp"], int)
    assert 1_500_000_000_000 < about["Timestamp"] < 4_000_000_000_000  # milliseconds
    assert about["CloudWatchMetrics"]
    for directive in about["CloudWatchMetrics"]:
        check_directive(directive, document)


def check_directive(directive: Mapping[str, Any], document: Mapping[str, Any]) -> None:
    assert set(directive) == {"Namespace", "Dimensions", "Metrics"}
    namespace = directive["Namespace"]
    assert 1 <= len(namespace) <= 255
    assert not namespace.startswith((":", "AWS/"))
    assert directive["Dimensions"]
    for dimensions in directive["Dimensions"]:
        assert len(dimensions) <= 30
        for name in dimensions:
            assert 1 <= len(name) <= 250
            value = document[name]
            assert isinstance(value, str)
            assert 1 <= len(value) <= 1024
            assert value.isascii()
            assert value.isprintable()
            assert value.strip()
            assert not value.startswith(":")
    assert 1 <= len(directive["Metrics"]) <= 100
    names = [metric["Name"] for metric in directive["Metrics"]]
    assert len(set(names)) == len(names)
    for metric in directive["Metrics"]:
        assert set(metric) <= {"Name", "Unit", "StorageResolution"}
        assert 1 <= len(metric["Name"]) <= 255
        assert metric["Unit"] in UNITS
        assert metric.get("StorageResolution", 60) in {1, 60}
        check_value(document[metric["Name"]])


def check_value(value: Any) -> None:
    values = value if isinstance(value, list) else [value]
    assert 1 <= len(values) <= 100
    for number in values:
        assert isinstance(number, int | float)
        assert not isinstance(number, bool)
        assert abs(number) <= 2**360
