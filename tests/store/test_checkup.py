"""What a health check reads of the journal: how requests ended, tokens, and a file that cannot be used."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agentflow import AgentConfig, BedrockClient, SimpleAgent, Workflow, WorkflowConfig
from agentflow.core.errors import JournalError
from agentflow.store.checkup import journal_state, newest_requests, tokens_since
from agentflow.store.journal import journal
from tests.endpoint import HAIKU, Endpoint

FOLDER = Path(".agentflow")


def ask(scripted: Endpoint, *, cache: bool = False) -> str:
    """Run a workflow of one prompt within another one, and return the id of the run."""
    inner, outer = Workflow("inner"), Workflow(WorkflowConfig(name="outer", cache=cache))
    client = BedrockClient("us-east-1", endpoint_url=scripted.url)
    inner.add_step("ask", SimpleAgent(AgentConfig(name="ask"), client, prompt_template="Hello"))
    outer.add_step("nested", inner)
    run_id = outer.run().run_id
    assert journal().flush(10)
    return run_id


def test_requests_come_with_how_they_ended_the_newest_first(scripted: Endpoint) -> None:
    since = datetime.now(UTC)
    scripted.faults({"fault": "unavailable", "first": 1})
    run_id = ask(scripted)
    found = newest_requests(FOLDER, since)
    assert [request.error_code for request in found] == [None, "ServiceUnavailableException"]
    assert {(request.run_id, request.model_id, request.region) for request in found} == {(run_id, HAIKU, "us-east-1")}
    assert since < found[1].ended_at < found[0].ended_at < datetime.now(UTC)
    assert newest_requests(FOLDER, datetime.now(UTC) + timedelta(minutes=1)) == []


def test_answers_that_were_given_again_are_no_requests(scripted: Endpoint) -> None:
    since = datetime.now(UTC)
    ask(scripted, cache=True)
    ask(scripted, cache=True)
    assert len(newest_requests(FOLDER, since)) == 1
    tokens = scripted.stats()["billed"]
    assert tokens_since(FOLDER, since) == {HAIKU: (tokens["input_tokens"], tokens["output_tokens"])}


def test_nothing_is_made_where_nothing_is() -> None:
    assert journal_state(FOLDER) is None
    assert newest_requests(FOLDER, datetime.now(UTC)) == []
    assert tokens_since(FOLDER, datetime.now(UTC)) == {}
    assert not FOLDER.exists()


def test_a_state_has_the_runs_and_the_size(scripted: Endpoint) -> None:
    ask(scripted)
    state = journal_state(FOLDER)
    assert state is not None
    assert (state.runs, state.path) == (1, FOLDER.resolve() / "agentflow.db")
    assert state.size_bytes == state.path.stat().st_size


@pytest.mark.parametrize(
    ("statement", "words"),
    [("PRAGMA user_version = 999", "newer AgentFlow"), ("CREATE TABLE theirs (id)", "another program")],
)
def test_a_file_of_somebody_else_is_refused(statement: str, words: str) -> None:
    FOLDER.mkdir()
    with sqlite3.connect(FOLDER / "agentflow.db") as connection:
        connection.execute("CREATE TABLE one (id)" if "PRAGMA" in statement else statement)
        if "PRAGMA" in statement:
            connection.execute(statement)
    with pytest.raises(JournalError, match=words):
        journal_state(FOLDER)


def test_a_damaged_file_is_found(scripted: Endpoint) -> None:
    ask(scripted)
    journal().close()
    path = FOLDER / "agentflow.db"
    data = bytearray(path.read_bytes())
    data[4096 * 2 : 4096 * 8] = b"\xff" * (4096 * 6)
    path.write_bytes(data)
    with pytest.raises(JournalError, match="is damaged"):
        journal_state(FOLDER)
