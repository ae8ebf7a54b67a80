"""The package as a whole: what importing it loads, its public names, its command."""

import subprocess
import sys

import pytest

import agentflow
from agentflow.cli import main

HEAVY = {"boto3", "botocore", "pandas", "matplotlib", "IPython", "ipywidgets", "aiohttp", "xllamacpp", "pydantic"}


def _modules_after(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(' '.join(sys.modules))"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    return set(output.split())


def test_importing_agentflow_loads_nothing_heavy() -> None:
    assert not HEAVY & _modules_after("import agentflow")


def test_a_workflow_runs_without_aws_pandas_or_a_notebook() -> None:
    statement = "from agentflow import Workflow; w = Workflow('x'); w.add_step('a', lambda: 1); w.run()"
    assert _modules_after(statement) & HEAVY == {"pydantic"}


def test_every_public_name_can_be_imported() -> None:
    for name in agentflow.__all__:
        assert getattr(agentflow, name) is not None
    assert set(agentflow.__all__) <= set(dir(agentflow))
    with pytest.raises(AttributeError, match="has no attribute 'Workflw'"):
        agentflow.Workflw  # noqa: B018


def test_the_version_is_that_of_the_distribution() -> None:
    from importlib.metadata import version

    assert version("agentflow-bedrock") == agentflow.__version__


def test_the_command_says_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["local", "serve", "--model", "no-such.gguf"]) == 1
    assert "no-such.gguf" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["local"])
