"""`make demo`: run the quickstart notebook offline, and print what its steps took and cost."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import nbformat
import papermill
from nbconvert import HTMLExporter

from agentflow.local.launch import local_endpoint_url

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "notebooks" / "quickstart.ipynb"
OUTPUT = ROOT / "runs" / "quickstart.ipynb"


def main() -> int:
    """Run the notebook with papermill; the exit code is 1 where a cell failed."""
    started = time.perf_counter()
    print("==> Starting the local Bedrock endpoint", flush=True)
    print(f"    {local_endpoint_url()}", flush=True)  # the kernel inherits the URL

    print(f"==> Running {NOTEBOOK.relative_to(ROOT)}", flush=True)
    OUTPUT.parent.mkdir(exist_ok=True)
    try:
        executed = papermill.execute_notebook(
            NOTEBOOK,
            OUTPUT,
            parameters={"backend": "local"},
            kernel_name="python3",
            cwd=NOTEBOOK.parent,
            progress_bar=sys.stderr.isatty(),
            extra_arguments=["--log-level=ERROR"],  # a kernel warns that TCP on this machine is not encrypted
        )
    except papermill.PapermillExecutionError as error:
        print(f"{error}\nThe notebook up to that cell: {OUTPUT}", file=sys.stderr)
        return 1
    page = OUTPUT.with_suffix(".html")
    html, _ = HTMLExporter().from_notebook_node(executed)  # type: ignore[no-untyped-call]
    page.write_text(html, encoding="utf-8")

    print(f"\n{_text_of(executed, tag='result')}\n")
    print(f"==> Done in {time.perf_counter() - started:.1f} s. Look at it:")
    for path in (OUTPUT, page):
        print(f"    {path.relative_to(ROOT)}")
    print("    make lab   opens the notebook in JupyterLab")
    return 0


def _text_of(notebook: nbformat.NotebookNode, *, tag: str) -> str:
    """Return the plain text that the cell with a tag has shown."""
    cell = next(cell for cell in notebook.cells if tag in cell.metadata.get("tags", ()))
    texts = [output.data["text/plain"] for output in cell.outputs if output.output_type == "execute_result"]
    return "\n".join(texts)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
