"""A real kernel, as the tests see it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from jupyter_client.manager import KernelManager


class Kernel:
    """A kernel, and what its cells print."""

    def __init__(self, manager: KernelManager) -> None:
        self.manager = manager
        self.client = manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    def run(
        self,
        code: str,
        *,
        interrupt_on: str | None = None,
        before_interrupt: Callable[[], object] = lambda: None,
        tracebacks: bool = False,
    ) -> str:
        """Run a cell and return its output, with an error's name or traceback. May interrupt it on a printed word."""
        output = ""
        for message in self.messages(code):
            content = message["content"]
            match message["msg_type"]:
                case "stream":
                    output += content["text"]
                    if interrupt_on and interrupt_on in output:
                        interrupt_on = None
                        before_interrupt()
                        self.manager.interrupt_kernel()
                case "execute_result":
                    output += content["data"]["text/plain"]
                case "error":
                    output += "\n".join(content["traceback"]) if tracebacks else content["ename"]
        return output

    def messages(self, code: str) -> Iterator[dict[str, Any]]:
        """Run a cell and return what it sends, until its end."""
        message_id = self.client.execute(code)
        while True:
            message: dict[str, Any] = self.client.get_iopub_msg(timeout=30)
            if message["parent_header"].get("msg_id") != message_id:
                continue
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                return
            yield message


@contextmanager
def running_kernel(**environment: str) -> Iterator[Kernel]:
    """Run a kernel until the end of the block."""
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(env={**os.environ, **environment})
    kernel = Kernel(manager)
    try:
        yield kernel
    finally:
        kernel.client.stop_channels()
        manager.shutdown_kernel(now=True)
