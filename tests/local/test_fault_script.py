"""Fault scripts as data: the documented example, what is wrong with a wrong one, and the luck that a seed gives."""

from __future__ import annotations

import re
import statistics
import textwrap
from pathlib import Path
from random import Random
from typing import Any, get_args

import pytest
from pydantic import TypeAdapter

from agentflow.local import fault_script
from agentflow.local.errors import STATUS_BY_CODE, LocalEndpointError
from agentflow.local.fault_script import Delay, NamedError, read_fault_script, seconds
from agentflow.local.refusals import REFUSALS
from tests.endpoint import Endpoint


def documented_example() -> str:
    text = (fault_script.__doc__ or "").partition("A complete example::\n\n")[2]
    return textwrap.dedent(re.match(r"((?:    .*)?\n)+", text)[0])  # type: ignore[index]


def test_the_documented_example_is_a_script_with_every_kind_of_fault(tmp_path: Path) -> None:
    path = tmp_path / "faults.yaml"
    path.write_text(documented_example())
    script = read_fault_script(path)
    assert script.seed == 7
    assert script.quotas["us.anthropic.claude-haiku-*"].requests_per_minute == 100
    kinds = {kind for name in get_args(fault_script.Fault)[0].__args__ for kind in kinds_of(name)}
    used = {rule.fault for rule in script.faults}
    assert kinds - used <= set(REFUSALS)


def kinds_of(model: Any) -> tuple[str, ...]:
    kinds: tuple[str, ...] = get_args(model.model_fields["fault"].annotation)
    return kinds


def test_every_named_error_has_a_code_with_a_status() -> None:
    assert set(kinds_of(NamedError)) == set(REFUSALS)
    assert {code for code, _ in REFUSALS.values()} <= STATUS_BY_CODE.keys()


@pytest.mark.parametrize(
    ("rule", "wording"),
    [
        ({"fault": "gremlin"}, "rule 2 (gremlin), field fault: Input tag 'gremlin'"),
        ({"every": 2}, "rule 2, field fault: Unable to extract tag"),
        ({"fault": "latency"}, "rule 2 (latency), field delay_ms: Field required"),
        ({"fault": "latency", "delay_ms": -1}, "rule 2 (latency), field delay_ms: Input should be greater than"),
        ({"fault": "latency", "delay_ms": {"normal": [1, 2]}}, "rule 2 (latency), field delay_ms: "),
        ({"fault": "unavailable", "probability": 2}, "rule 2 (unavailable), field probability: Input should be less"),
        ({"fault": "unavailable", "every": 0}, "rule 2 (unavailable), field every: Input should be greater than"),
        ({"fault": "unavailable", "prompt": "("}, "rule 2 (unavailable), field prompt: no regular expression"),
        ({"fault": "unavailable", "colour": "red"}, "rule 2 (unavailable), field colour: Extra inputs are not"),
        ({"fault": "unavailable", "operation": "converse"}, "rule 2 (unavailable), field operation: Input should be"),
        ({"fault": "unavailable", "from_seconds": 9, "until_seconds": 9},
         "rule 2 (unavailable): until_seconds must be later than from_seconds"),
        ({"fault": "region_down", "from_seconds": 9, "until_seconds": 9},
         "rule 2 (region_down): until_seconds must be later than from_seconds"),
        ({"fault": "error", "code": "Odd", "message": "m"}, "rule 2 (error): status is needed: Odd has none"),
        ({"fault": "stream_error", "code": "Odd"}, "rule 2 (stream_error), field code: Input should be"),
        ("unavailable", "rule 2"),
    ],
)  # fmt: skip
def test_a_wrong_rule_is_named_with_its_field(scripted: Endpoint, rule: Any, wording: str) -> None:
    with pytest.raises(ValueError, match=re.escape(wording)):
        scripted.faults({"fault": "unavailable"}, rule)
    assert scripted.say("still as it was")


@pytest.mark.parametrize(
    ("text", "wording"),
    [
        ("faults: [{fault: latency}]", "cannot be used: rule 1 (latency), field delay_ms: Field required"),
        ("rules: []", "cannot be used: field rules: Extra inputs are not permitted"),
        ("quotas: {a: {tpm: 5}}", "cannot be used: field quotas.a.tpm: Extra inputs"),
        ("faults: 5", "cannot be used: field faults: "),
        ("- a", "cannot be used: "),
        ("a: [", "cannot be read: "),
        ("!!python/object:os.system {}", "cannot be read: "),
    ],
)
def test_a_wrong_file_is_a_clear_error(tmp_path: Path, text: str, wording: str) -> None:
    path = tmp_path / "faults.yaml"
    path.write_text(text)
    with pytest.raises(LocalEndpointError, match=re.escape(f"The fault script {path} {wording}")):
        read_fault_script(path)


def test_a_missing_file_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(LocalEndpointError, match="No such file"):
        read_fault_script(tmp_path / "no.yaml")


@pytest.mark.parametrize(
    ("delay", "median", "least", "most"),
    [
        (250, 0.25, 0.25, 0.25),
        ({"uniform": [100, 300]}, 0.2, 0.1, 0.3),
        ({"lognormal": [200, 0.5]}, 0.2, 0.0, 5.0),
        ({"lognormal": [3_600_000, 5]}, 3600, 0.0, 3600),
    ],
)
def test_delays_follow_their_distribution(delay: Any, median: float, least: float, most: float) -> None:
    parsed = TypeAdapter[Any](Delay).validate_python(delay)
    drawn = [seconds(parsed, Random(seed)) for seed in range(1000)]
    assert statistics.median(drawn) == pytest.approx(median, rel=0.1)
    assert least <= min(drawn) <= max(drawn) <= most
