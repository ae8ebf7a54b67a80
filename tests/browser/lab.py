"""A real JupyterLab in a real browser, as the tests see it."""

from __future__ import annotations

import json
import os
import re
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

CHROMIUM_FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
SETTINGS: Mapping[str, Any] = {
    "@jupyterlab/apputils-extension/notification.jupyterlab-settings": {
        "fetchNews": "false",
        "checkForUpdates": False,
        "doNotDisturbMode": True,
    },
    # All cells stay in the page, also those scrolled out of view.
    "@jupyterlab/notebook-extension/tracker.jupyterlab-settings": {"windowingMode": "none"},
    "@jupyterlab/docmanager-extension/plugin.jupyterlab-settings": {"autosave": False},
}
_IDLE = """() => {
  const session = window.jupyterapp?.shell?.currentWidget?.sessionContext;
  return session?.session?.kernel?.connectionStatus === "connected" && session.kernelDisplayStatus === "idle";
}"""


@contextmanager
def running_lab(root: Path) -> Iterator[str]:
    """Serve a folder with JupyterLab until the end of the block; gives the address of its page."""
    state = root / ".jupyter"
    for name, value in SETTINGS.items():
        target = state / "settings" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(value), encoding="utf-8")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    token = secrets.token_hex(8)
    folders = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
    }
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={port}", "--ServerApp.port_retries=0", f"--IdentityProvider.token={token}",
        f"--ServerApp.root_dir={root}", "--LabApp.expose_app_in_browser=True",
    ]  # fmt: skip
    with (root / "lab.log").open("w") as log:
        environment = os.environ | {name: str(state / folder) for name, folder in folders.items()}
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            _wait_for(f"http://127.0.0.1:{port}/api/status?token={token}", server, root / "lab.log")
            yield f"http://127.0.0.1:{port}/lab?token={token}&reset"
        finally:
            server.terminate()  # it shuts its kernels down first
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()


def _wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if server.poll() is not None:
            raise RuntimeError(f"JupyterLab has ended:\n{log.read_text()[-2000:]}")
        with suppress(OSError):
            urllib.request.urlopen(url, timeout=1).close()
            return
        time.sleep(0.1)
    raise TimeoutError(f"JupyterLab did not answer:\n{log.read_text()[-2000:]}")


def write_notebook(path: Path, cells: Sequence[str]) -> None:
    notebook = nbformat.v4.new_notebook()  # type: ignore[no-untyped-call]
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook.cells = [nbformat.v4.new_code_cell(source.strip()) for source in cells]  # type: ignore[no-untyped-call]
    nbformat.write(notebook, path)  # type: ignore[no-untyped-call]


class Lab:
    """The one page of JupyterLab that all tests share; each opens notebooks of its own in it."""

    def __init__(self, page: Page, url: str, root: Path) -> None:
        self.page = page
        self.root = root
        page.on("dialog", lambda dialog: dialog.accept())
        page.goto(url)
        page.wait_for_function("() => window.jupyterapp?.commands.hasCommand('docmanager:open')", timeout=60_000)
        page.evaluate("() => window.jupyterapp.restored.then(() => null)")
        page.wait_for_selector("#jupyterlab-splash", state="detached")
        self.call("application:toggle-left-area")  # the list of files takes half of a narrow window

    def call(self, command: str, **arguments: Any) -> None:
        """Run one of JupyterLab's commands, and wait for its end."""
        self.page.evaluate(
            "([name, values]) => window.jupyterapp.commands.execute(name, values).then(() => null)",
            [command, arguments],
        )

    def begin(self, command: str) -> None:
        """Begin one of JupyterLab's commands."""
        self.page.evaluate("name => { void window.jupyterapp.commands.execute(name); }", command)

    def new(self, name: str, cells: Sequence[str]) -> Notebook:
        """Write a notebook and open it."""
        write_notebook(self.root / name, cells)
        return self.open(name)

    def open(self, name: str, *, kernel: bool = True) -> Notebook:
        """Open a notebook; without a kernel it is only looked at."""
        preference = {} if kernel else {"shouldStart": False, "canStart": True, "autoStartDefault": False}
        self.call("docmanager:open", path=name, factory="Notebook", kernelPreference=preference)
        notebook = Notebook(self, name)
        notebook.cell(0).wait_for()
        if kernel:
            self.page.wait_for_function(_IDLE, timeout=60_000)
        return notebook

    def theme(self, name: str) -> None:
        """Change to ``JupyterLab Light`` or ``JupyterLab Dark``."""
        is_light = str(name.endswith("Light")).lower()
        self.call("apputils:change-theme", theme=name)
        self.page.wait_for_function("light => document.body.dataset.jpThemeLight === light", arg=is_light)
        self.page.wait_for_selector("#jupyterlab-splash", state="detached")


class Notebook:
    """The notebook in front."""

    def __init__(self, lab: Lab, name: str) -> None:
        self.lab = lab
        self.page = lab.page
        self.path = lab.root / name
        self.is_open = True
        self._panel = lab.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")

    def cell(self, index: int) -> Locator:
        return self._panel.locator(".jp-Notebook .jp-Cell").nth(index)

    def output(self, index: int) -> Locator:
        return self.cell(index).locator(".jp-Cell-outputArea")

    def run(self, index: int) -> None:
        """Begin to run a cell."""
        self.cell(index).locator(".jp-InputArea-editor").click()
        self.page.keyboard.press("Control+Enter")

    def done(self, index: int, timeout: float = 30) -> float:
        """Wait until a cell that was never run before has ended; return the seconds."""
        began = time.monotonic()
        while not self.cell(index).locator(".jp-InputPrompt").first.inner_text().strip("[]: ").isdigit():
            if time.monotonic() - began > timeout:
                raise TimeoutError(f"cell {index} goes on: {self.output(index).inner_text()}")
            self.page.wait_for_timeout(20)
        return time.monotonic() - began

    def shows(self, index: int, text: str | re.Pattern[str], timeout: float = 30) -> None:
        """Wait until a cell shows a text."""
        self.cell(index).locator(".jp-Cell-outputArea", has_text=text).wait_for(timeout=timeout * 1000)

    @property
    def text(self) -> str:
        """All that it shows."""
        return self._panel.inner_text()

    def interrupt(self) -> None:
        self._panel.locator('.jp-NotebookPanel-toolbar [data-command="notebook:interrupt-kernel"]').click()

    def save(self) -> Mapping[str, Any]:
        """Save the notebook, and return what is in its file."""
        self.lab.call("docmanager:save")
        saved: Mapping[str, Any] = json.loads(self.path.read_text(encoding="utf-8"))
        return saved

    def close(self) -> None:
        """Close the notebook and end its kernel."""
        self.save()  # else JupyterLab asks
        self.page.evaluate(
            "() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown().then(() => null, () => null)"
        )
        self.lab.call("application:close")
        self.is_open = False
