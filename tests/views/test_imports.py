"""Which view loads what."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("view", ["text", "html"])
def test_text_and_card_load_neither_pandas_nor_matplotlib(view: str) -> None:
    code = (
        f"import agentflow.views.{view}, sys;"
        "assert not {'pandas', 'matplotlib', 'numpy', 'IPython', 'boto3'} & sys.modules.keys()"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
