"""The catalog as a table, and the model for a task."""

from __future__ import annotations

import warnings
from typing import Any

import pandas as pd
import pytest

from agentflow import BedrockClient, ModelType, list_models, select_model
from agentflow.cli import main
from agentflow.models.catalog import load_catalog


def rows(region: str | None = None) -> dict[Any, Any]:
    return list_models(region).set_index("model").to_dict("index")


def test_every_model_is_a_row_with_what_is_known_of_it() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a list of models uses none of them, so none is warned of
        models = rows("eu-west-1")
    assert list(models) == list(load_catalog().models)
    haiku = models["haiku-4-5"]
    assert haiku["model_id"] == "eu.anthropic.claude-haiku-4-5-20251001-v1:0"
    assert haiku["aliases"] == "fast, haiku"
    assert (haiku["context_tokens"], haiku["max_output_tokens"]) == (200_000, 64_000)
    assert (haiku["input_per_million_usd"], haiku["output_per_million_usd"]) == (1.1, 5.5)
    assert (models["sonnet-4"]["end_of_life"], models["sonnet-4"]["successor"]) == ("2026-10-14", "sonnet-5")


def test_what_no_source_says_is_unknown() -> None:
    frame = list_models("us-east-1")
    assert frame["json_schema"].dtype == frame["count_tokens"].dtype == "boolean"
    models = rows("us-east-1")
    assert pd.isna(models["sonnet-5"]["json_schema"])
    assert models["sonnet-5-5"]["forced_tool"] is False


def test_a_model_that_cannot_be_called_from_a_region_has_no_id_there() -> None:
    assert rows("eu-west-1")["llama-3-1-8b"]["model_id"] == "meta.llama3-1-8b-instruct-v1:0"
    assert pd.isna(rows("us-gov-west-1")["opus-4"]["model_id"])


def test_the_region_is_that_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "ap-northeast-1")
    assert rows()["haiku-4-5"]["model_id"].startswith("jp.")


def test_the_command_prints_the_models(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--region", "us-east-1"]) == 0
    output = capsys.readouterr().out
    assert "us.anthropic.claude-sonnet-5" in output
    assert "<NA>" not in output


@pytest.mark.parametrize("task", ["Summarize this", "EXTRACT the names", "please classify"])
def test_a_simple_task_gets_the_fast_model(task: str) -> None:
    assert select_model(task) is ModelType(load_catalog().aliases["fast"])


def test_any_other_task_gets_the_capable_model_which_has_not_ended() -> None:
    chosen = select_model("Plan a migration")
    assert chosen is ModelType(load_catalog().aliases["capable"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        BedrockClient("us-east-1").check(chosen)
