"""Executes the notebooks in place, all or some: `python notebooks/execute.py [NAME...]`.

Outputs are committed: so a notebook can be read where nothing runs.
"""

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

NOTEBOOKS = Path(__file__).parent
CELL_SECONDS = 300


def execute(notebook: NotebookNode) -> None:
    """Runs every cell from the top, in a kernel of its own, and puts its outputs in. Raises CellExecutionError."""
    folder = {"metadata": {"path": str(NOTEBOOKS)}}
    quiet = ["--log-level=ERROR"]
    client = NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        kernel_name="python3",
        resources=folder,
        record_timing=False,
        extra_arguments=quiet,
    )
    client.execute()
    notebook.metadata["language_info"] = {"name": "python"}  # without the version of who ran it last


def main(names: list[str]) -> int:
    """Executes those that are named, else all."""
    for path in [NOTEBOOKS / f"{name}.ipynb" for name in names] or sorted(NOTEBOOKS.glob("*.ipynb")):
        notebook = nbformat.read(path, nbformat.NO_CONVERT)
        execute(notebook)
        nbformat.write(notebook, path)
        print(f"{path.name}: executed, {path.stat().st_size / 1000:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
