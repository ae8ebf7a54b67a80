"""What a notebook that runs at night leaves behind, and what must not stand in it.

`record` leaves a value in the notebook's outputs, `completed` the mark that it came to its end, and `recorded` reads
both from the file later. `secret` resolves a parameter such as ``secret:API_KEY`` in the kernel: the notebook that
papermill writes has the name only.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from agentflow.core.errors import InputError
from agentflow.utils.env import environment_value

MIME_TYPE = "application/vnd.agentflow.record+json"
COMPLETED = "completed_at"
_PREFIX = "secret:"


def record(name: str, value: Any) -> None:
    """Leave a value in the outputs of the notebook that runs this, where `recorded` finds it; shown as a line.

    Outside of a notebook the line is printed.

    Parameters
    ----------
    value : what JSON can hold.

    Raises
    ------
    InputError
        JSON cannot hold it.
    """
    try:
        kept = json.loads(json.dumps({"name": name, "value": value}, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise InputError(
            f"The value of {name!r} cannot be recorded: {error}.", fix="Give text, numbers, lists or dictionaries."
        ) from error
    line = f"{name} = {json.dumps(kept['value'], ensure_ascii=False)}"
    ipython = sys.modules.get("IPython")
    if ipython is not None and ipython.get_ipython() is not None:
        ipython.display.display({MIME_TYPE: kept, "text/plain": line}, raw=True)
    else:
        sys.stdout.write(line + "\n")


def completed() -> None:
    """Mark the notebook that runs this as finished: its last cell. One that only stopped does not have the mark."""
    record(COMPLETED, datetime.now(UTC).isoformat(timespec="seconds"))


def recorded(notebook: Path | str) -> dict[str, Any]:
    """Return what was recorded in a notebook file, by name; a name recorded twice has its last value.

    `completed_at` is there where the notebook came to its end.

    Raises
    ------
    InputError
        The file is no notebook, or is not there.
    """
    path = Path(notebook)
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        outputs = [output for cell in cells for output in cell.get("outputs", ())]
        records = [output["data"][MIME_TYPE] for output in outputs if MIME_TYPE in output.get("data", {})]
        return {record["name"]: record["value"] for record in records}
    except FileNotFoundError as error:
        raise InputError(f"There is no notebook {str(path)!r}.", fix="Check the path.") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{str(path)!r} is no notebook.", fix="Give an .ipynb file that was run.") from error


def secret(parameter: str) -> SecretStr:
    """Return the secret that a parameter names: ``secret:API_KEY`` is the environment variable `API_KEY`.

    A `SecretStr` shows as stars and is never stored; `.get_secret_value()` gives the text.

    Raises
    ------
    InputError
        The parameter names no variable, or one that is not set.
    """
    name = parameter.removeprefix(_PREFIX) if isinstance(parameter, str) else ""
    if not isinstance(parameter, str) or not parameter.startswith(_PREFIX) or not name:
        raise InputError("A secret is given by its name only.", fix="Give 'secret:NAME_OF_AN_ENVIRONMENT_VARIABLE'.")
    value = environment_value(name)
    if not value:
        raise InputError(f"The environment variable {name!r} is not set.", fix="Set it where the kernel runs.")
    return SecretStr(value)
