"""Credentials: who may see them, where they come from, and what happens when they have expired."""

from __future__ import annotations

import json
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from agentflow import BedrockClient
from agentflow.core.errors import ConfigurationError, CredentialsError
from agentflow.models import credentials
from agentflow.models.credentials import is_amazon, renewal
from agentflow.models.transport import Target, Transport

AMAZON = "https://bedrock-runtime.us-east-1.amazonaws.com"
ELSEWHERE = "https://gateway.example.com"
ANSWER = {
    "output": {"message": {"role": "assistant", "content": [{"text": "hello"}]}},
    "stopReason": "end_turn",
    "usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2},
    "metrics": {"latencyMs": 1},
}


@pytest.fixture(autouse=True)
def _no_warning_yet() -> None:
    credentials.warn_of_endpoint.cache_clear()


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An AWS configuration file to write into."""
    path = tmp_path / "aws-config"
    path.write_text("")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(path))
    return path


def write(config: Path, text: str) -> None:
    config.write_text(text)


def boto_client(url: str | None, profile: str | None = None) -> Any:
    return Transport(Target("us-east-1", url, profile, 1)).client()


def authorization(client: Any) -> str:
    """Return the header that botocore would send; nothing leaves this machine."""
    headers: dict[str, Any] = {}

    def catch(request: Any, **_: Any) -> None:
        headers.update(dict(request.headers.items()))
        raise InterruptedError

    client.meta.events.register("before-send.bedrock-runtime.Converse", catch)
    with pytest.raises(InterruptedError):
        client.converse(modelId="m", messages=[{"role": "user", "content": [{"text": "x"}]}])
    value = headers["Authorization"]
    return value.decode() if isinstance(value, bytes) else value


@pytest.mark.parametrize(
    ("url", "amazons"),
    [
        (AMAZON, True),
        ("https://vpce-1.bedrock-runtime.us-east-1.vpce.amazonaws.com", True),
        ("https://bedrock-mantle.us-east-1.api.aws", True),
        ("http://bedrock-runtime.us-east-1.amazonaws.com", False),
        ("https://amazonaws.com.evil.example", False),
        ("https://evilamazonaws.com", False),
        (ELSEWHERE, False),
    ],
)
def test_amazons_hosts_are_told_from_others(url: str, amazons: bool) -> None:
    assert is_amazon(url) is amazons


def test_every_partition_of_botocore_is_amazons() -> None:
    partitions = json.loads(files("botocore").joinpath("data/partitions.json").read_text())["partitions"]
    for outputs in (partition["outputs"] for partition in partitions):
        assert is_amazon(f"https://bedrock-runtime.r.{outputs['dnsSuffix']}")
        assert is_amazon(f"https://bedrock-runtime.r.{outputs['dualStackDnsSuffix']}")


@pytest.mark.parametrize("url", [None, AMAZON])
def test_a_bedrock_key_goes_to_amazon(url: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "planted-key")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    assert authorization(boto_client(url)) == "Bearer planted-key"


@pytest.mark.parametrize("url", [ELSEWHERE, "http://gateway.example.com", "http://bedrock.amazonaws.com"])
@pytest.mark.filterwarnings("ignore:Prompts go to")
def test_a_bedrock_key_goes_nowhere_else(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "planted-key")
    with pytest.raises(CredentialsError, match=r"sent to Amazon's hosts only, and http"):
        boto_client(url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    assert authorization(boto_client(url)).startswith("AWS4-HMAC-SHA256")


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_BEDROCK_RUNTIME"])
@pytest.mark.filterwarnings("ignore:Prompts go to")
def test_a_bedrock_key_goes_nowhere_else_by_a_variable_of_aws(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, ELSEWHERE)
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "planted-key")
    with pytest.raises(CredentialsError, match=r"sent to Amazon's hosts only"):
        boto_client(None)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    assert authorization(boto_client(None)).startswith("AWS4-HMAC-SHA256")


def test_only_a_foreign_endpoint_is_warned_of_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        boto_client(None)
        boto_client(AMAZON)
        boto_client("http://127.0.0.1:9")
    with pytest.warns(UserWarning, match=f"Prompts go to {ELSEWHERE}, which is neither Amazon's"):
        boto_client(ELSEWHERE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        boto_client(ELSEWHERE)


def test_the_keys_of_a_profile_and_of_its_process_are_found(config: Path) -> None:
    program = config.with_name("keys.py")
    program.write_text(
        "import json; print(json.dumps({'Version': 1, 'AccessKeyId': 'AKIAPROCESS', 'SecretAccessKey': 's'}))"
    )
    config.write_text(
        "[profile plain]\naws_access_key_id = AKIAPLAIN\naws_secret_access_key = s\n"
        f"[profile process]\ncredential_process = {sys.executable} {program}\n"
    )
    assert "Credential=AKIAPLAIN/" in authorization(boto_client(None, "plain"))
    assert "Credential=AKIAPROCESS/" in authorization(boto_client(None, "process"))


async def test_a_process_that_fails_is_named(config: Path) -> None:
    write(config, f"[profile broken]\ncredential_process = {sys.executable} -c 'raise SystemExit(3)'\n")
    with pytest.raises(
        CredentialsError, match=r"of the profile 'broken' gave.*credential_process of the profile by hand"
    ):
        await BedrockClient("us-east-2", profile_name="broken").invoke("haiku", "x")


async def test_partial_keys_say_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    with pytest.raises(CredentialsError, match="AWS_SECRET_ACCESS_KEY"):
        await BedrockClient("us-east-2", max_connections=3).invoke("haiku", "x")


async def test_an_sso_profile_without_a_login_says_how_to_log_in(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(config.parent))
    write(
        config,
        "[profile work]\nsso_start_url = https://example.awsapps.com/start\nsso_region = us-east-1\n"
        "sso_account_id = 111122223333\nsso_role_name = Reader\n",
    )
    with pytest.raises(CredentialsError, match="aws sso login --profile work"):
        await BedrockClient("us-east-2", profile_name="work").invoke("haiku", "x")


async def test_a_web_identity_without_its_token_file_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "no-token"))
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::111122223333:role/R")
    with pytest.raises(ConfigurationError, match=r"no-token.*AWS_WEB_IDENTITY_TOKEN_FILE"):
        await BedrockClient("us-east-2", max_connections=4).invoke("haiku", "x")


@pytest.mark.parametrize(
    ("method", "says"),
    [
        ("sso", "aws sso login --profile work"),
        ("shared-credentials-file", "aws configure --profile work"),
        ("bearer", "AWS_BEARER_TOKEN_BEDROCK"),
        ("env", "AWS_SESSION_TOKEN"),
        ("assume-role", "source_profile"),
        (None, "aws sso login --profile work"),
    ],
)
def test_expired_credentials_say_how_they_are_renewed(method: str | None, says: str) -> None:
    assert says in renewal(method, " --profile work")


class _Checks(BaseHTTPRequestHandler):
    """Answers whoever has the keys `AKIANEW`, and says to all others that theirs have expired."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        known = "Credential=AKIANEW/" in self.headers["Authorization"]
        body = json.dumps(ANSWER if known else {"message": "The security token included in the request is expired"})
        self.send_response(200 if known else 403)
        if not known:
            self.send_header("x-amzn-ErrorType", "ExpiredTokenException")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Keep silent."""


@contextmanager
def checking_server() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Checks)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


async def test_a_client_made_before_a_login_works_after_it(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The endpoint stands for a foreign one here, so that it gets the real keys."""
    monkeypatch.setattr("agentflow.models.transport.is_loopback", lambda _url: False)
    monkeypatch.setattr("agentflow.models.bedrock_client.is_loopback", lambda _url: False)
    profile = "[profile work]\naws_access_key_id = {}\naws_secret_access_key = s\naws_session_token = t\n"
    write(config, profile.format("AKIAOLD"))
    with checking_server() as url, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        client = BedrockClient("us-east-1", endpoint_url=url, profile_name="work")
        with pytest.raises(CredentialsError, match=r"have expired.*aws configure --profile work"):
            await client.invoke("haiku", "x")
        write(config, profile.format("AKIANEW"))
        assert (await client.invoke("haiku", "x")).text == "hello"


async def test_a_client_made_before_there_were_keys_works_after(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentflow.models.transport.is_loopback", lambda _url: False)
    monkeypatch.setattr("agentflow.models.bedrock_client.is_loopback", lambda _url: False)
    with checking_server() as url, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        client = BedrockClient("us-east-1", endpoint_url=url)
        with pytest.raises(CredentialsError, match="no AWS credentials"):
            await client.invoke("haiku", "x")
        write(config, "[default]\naws_access_key_id = AKIANEW\naws_secret_access_key = s\n")
        assert (await client.invoke("haiku", "x")).text == "hello"
