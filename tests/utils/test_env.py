"""Settings: their order, where they came from, and what a `.env` file may hold."""

from pathlib import Path

import pytest

from agentflow.utils import env
from agentflow.utils.env import SettingError, setting


def test_the_environment_wins_over_the_file_and_the_file_over_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (setting("AGENTFLOW_TIMEOUT").value, setting("AGENTFLOW_TIMEOUT").source) == ("300", "default")
    (tmp_path / ".env").write_text("AGENTFLOW_TIMEOUT=60\n")
    assert (setting("AGENTFLOW_TIMEOUT").value, setting("AGENTFLOW_TIMEOUT").source) == ("60", ".env")
    monkeypatch.setenv("AGENTFLOW_TIMEOUT", "20")
    assert (setting("AGENTFLOW_TIMEOUT").value, setting("AGENTFLOW_TIMEOUT").source) == ("20", "environment")
    monkeypatch.setenv("AGENTFLOW_TIMEOUT", "")
    assert setting("AGENTFLOW_TIMEOUT").source == ".env"


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("BEDROCK_ENDPOINT_URL=  # Optional: custom endpoint", None),
        ("BEDROCK_ENDPOINT_URL=", None),
        ("BEDROCK_ENDPOINT_URL=local  # the small model", "local"),
        ("export BEDROCK_ENDPOINT_URL='http://127.0.0.1:8723'", "http://127.0.0.1:8723"),
        ("BEDROCK_ENDPOINT_URL=$HOME", "$HOME"),
    ],
)
def test_a_line_of_the_file(tmp_path: Path, line: str, value: str | None) -> None:
    (tmp_path / ".env").write_text(f"{line}\nUNKNOWN_NAME=1\n")
    assert setting("BEDROCK_ENDPOINT_URL").value == value


def test_a_comment_in_the_environment_is_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEDROCK_ENDPOINT_URL", "  # Optional: custom endpoint")
    assert setting("BEDROCK_ENDPOINT_URL").value is None


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes("AWS_REGION=\xfc".encode("latin-1"))
    with pytest.raises(SettingError, match="not UTF-8"):
        setting("AWS_REGION")


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("AWS_REGION=eu-west-1\n")
    assert setting("AWS_REGION").value == "eu-west-1"
    file.write_text("AWS_REGION=eu-central-1\n")
    assert setting("AWS_REGION").value == "eu-central-1"


@pytest.mark.parametrize("value", ["abc", "-1", "nan", "inf"])
def test_a_wrong_number_names_the_variable_and_its_source(tmp_path: Path, value: str) -> None:
    (tmp_path / ".env").write_text(f"AGENTFLOW_TIMEOUT={value}\n")
    with pytest.raises(SettingError, match=rf"AGENTFLOW_TIMEOUT={value} \(from \.env\).*default 300"):
        setting("AGENTFLOW_TIMEOUT").number(at_least=0)


def test_the_example_file_names_every_variable_for_people() -> None:
    """config/example.env is the runbook's file with a line for each variable that a person sets."""
    text = (Path(__file__).parents[2] / "config" / "example.env").read_text()
    for name in env.VARIABLES:
        assert name in text or name in {"AWS_DEFAULT_REGION", "AGENTFLOW_LOCAL_URL"}, name
