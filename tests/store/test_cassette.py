"""Answers recorded in a file, replayed anywhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agentflow import AgentConfig, BedrockClient, SimpleAgent, Workflow, WorkflowConfig, WorkflowError
from agentflow.core.errors import CassetteError
from tests.endpoint import Endpoint


def ask(url: str, cache: str, prompt: str = "Classify: {text}", text: str = "late parcel", **config: Any) -> Any:
    workflow = Workflow(WorkflowConfig(name="recorded", cache=cache, journal=False))
    agent = SimpleAgent(AgentConfig(name="s", **config), BedrockClient(endpoint_url=url), prompt_template=prompt)
    workflow.add_step("s", agent)
    return workflow.run(text=text)


NOWHERE = "http://127.0.0.1:9"  # nothing listens there


def test_what_was_recorded_is_replayed_where_there_is_no_endpoint(scripted: Endpoint, tmp_path: Path) -> None:
    file = str(tmp_path / "answers.jsonl")
    scripted.follow(text="parcels")
    recorded = ask(scripted.url, file)
    for cache in (file, f"replay:{file}"):
        replayed = ask(NOWHERE, cache)
        assert replayed.outputs == recorded.outputs
        assert replayed.rows["s"].cached
        assert replayed.rows["s"].saved_usd == recorded.bedrock_usd


def test_a_request_that_was_not_recorded_is_an_error_with_the_difference(scripted: Endpoint, tmp_path: Path) -> None:
    file = str(tmp_path / "answers.jsonl")
    for text in ("late parcel", "something else entirely"):
        ask(scripted.url, file, text=text)
    before = scripted.stats()["requests"]
    with pytest.raises(WorkflowError) as caught:
        ask(scripted.url, f"replay:{file}", text="lost parcel")
    assert scripted.stats()["requests"] == before
    assert "-Classify: late parcel\n+Classify: lost parcel" in str(caught.value)
    assert f"Record it with cache={file!r}." in str(caught.value)


def test_a_changed_parameter_is_a_difference_too(scripted: Endpoint, tmp_path: Path) -> None:
    file = str(tmp_path / "answers.jsonl")
    ask(scripted.url, file, max_tokens=10)
    with pytest.raises(WorkflowError, match=r"-max_tokens: 10\n\+max_tokens: 20"):
        ask(scripted.url, f"replay:{file}", max_tokens=20)


def test_the_file_is_lines_of_json_that_a_person_can_read(scripted: Endpoint, tmp_path: Path) -> None:
    file = tmp_path / "answers.jsonl"
    ask(scripted.url, str(file))
    first, line = [json.loads(text) for text in file.read_text().splitlines()]
    assert first == {"agentflow_cassette": 1}
    assert line["request"]["prompt"] == "Classify: late parcel"
    assert line["model"] == "local · scripted"


def test_a_line_that_was_not_written_whole_does_not_count(scripted: Endpoint, tmp_path: Path) -> None:
    file = tmp_path / "answers.jsonl"
    for text in ("a", "b"):
        ask(scripted.url, str(file), text=text)
    file.write_text(file.read_text()[:-20])
    before = scripted.stats()["requests"]
    for _ in range(2):
        assert ask(scripted.url, str(file), text="a").rows["s"].cached
        ask(scripted.url, str(file), text="b")
    assert scripted.stats()["requests"] == before + 1


def test_a_file_that_another_process_has_changed_is_read_again(scripted: Endpoint, tmp_path: Path) -> None:
    file, copy = tmp_path / "answers.jsonl", tmp_path / "copy.jsonl"
    ask(scripted.url, str(file), text="a")
    ask(scripted.url, str(copy), text="b")
    with file.open("a") as stream:
        stream.write(copy.read_text().splitlines()[1] + "\n")
    assert ask(NOWHERE, str(file), text="b").rows["s"].cached
    file.unlink()
    assert not ask(scripted.url, str(file), text="b").rows["s"].cached


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"agentflow_cassette": 2}\n', "schema version 2; this AgentFlow reads 1"),
        ("not json\n", "is no cassette"),
        ('{"something": "else"}\n', "is no cassette"),
        ('{"agentflow_cassette": 1}\n{"key": "k"}\n', "a line has no key or no reply"),
    ],
)
def test_a_file_that_is_no_cassette_is_refused(scripted: Endpoint, tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "answers.jsonl"
    file.write_text(content)
    before = scripted.stats()["requests"]
    with pytest.raises(CassetteError, match=message):
        ask(scripted.url, str(file))
    assert scripted.stats()["requests"] == before


def test_a_cassette_that_is_not_there_cannot_be_replayed(tmp_path: Path) -> None:
    with pytest.raises(CassetteError, match="There is no cassette"):
        ask(NOWHERE, f"replay:{tmp_path / 'none.jsonl'}")
    with pytest.raises(CassetteError, match="There is no folder"):
        ask(NOWHERE, str(tmp_path / "no" / "folder.jsonl"))
    with pytest.raises(CassetteError, match="is a folder"):
        ask(NOWHERE, str(tmp_path))


def test_where_the_file_cannot_be_written_the_answer_is_used_and_the_run_says_so(
    scripted: Endpoint, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    workflow = Workflow(WorkflowConfig(name="recorded", cache=str(folder / "answers.jsonl"), journal=False))
    workflow.add_step("remove", folder.rmdir)
    agent = SimpleAgent(AgentConfig(name="s"), BedrockClient(endpoint_url=scripted.url), prompt_template="?")
    workflow.add_step("s", agent, depends_on="remove")
    result = workflow.run()
    assert result.outputs["s"] == "?"
    assert "cannot be written" in result.warnings[0]
