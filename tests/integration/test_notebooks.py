"""The notebooks execute from the top, without PyTorch, and what is committed of them is what they say."""

import copy
import json
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat import NotebookNode

from notebooks.execute import NOTEBOOKS, execute

LARGEST = 400_000
TOLERANCES = {"recall_at_1": 0.03, "auroc_reranked": 0.02, "ece_calibrated": 0.03, "coverage_at_10_percent": 0.1}
"""How far a figure may lie from the committed one: 8-bit arithmetic differs a little between processors."""
PROBE = "import sys; print('torch' in sys.modules)"


def committed(path: Path) -> NotebookNode:
    return nbformat.read(path, nbformat.NO_CONVERT)


@pytest.fixture(scope="module")
def vectors(encoders: Path) -> None:
    """What the notebook keeps from one run to the next: encoders, converted, and the vectors of all its texts."""
    if not list((NOTEBOOKS.parent / "build" / "notebooks" / "vectors").glob("*.vectors")):
        notebook = committed(NOTEBOOKS / "support.ipynb")
        [last] = [place for place, cell in enumerate(notebook.cells) if is_tagged(cell, "encodes")]
        del notebook.cells[last + 1 :]
        execute(notebook)


@pytest.mark.usefixtures("vectors")
def test_support_executes_without_torch_and_says_what_is_committed() -> None:
    before = committed(NOTEBOOKS / "support.ipynb")
    now = copy.deepcopy(before)
    now.cells.append(nbformat.v4.new_code_cell(PROBE))

    execute(now)

    assert now.cells[-1].outputs[0].text == "False\n"
    expected, found = flat(figures(before)), flat(figures(now))
    assert expected.keys() == found.keys()
    moved = {each: (expected[each], found[each]) for each in found if differs(each[0], expected[each], found[each])}
    assert not moved, f"make notebook, and read whether what it says still holds: {moved}"
    for language, recall in figures(now)["recall_at_1"].items():
        assert recall["reranked"] >= recall["words"], f"{language}: both searches together are worse than words alone"


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_what_is_committed_ran_from_the_top_in_one_go_and_is_small(path: Path) -> None:
    cells = [each for each in committed(path).cells if each.cell_type == "code"]

    assert [each.execution_count for each in cells] == list(range(1, len(cells) + 1))
    outputs = [output for each in cells for output in each.outputs]
    assert not [each for each in outputs if each.output_type == "error" or each.get("name") == "stderr"]
    assert path.stat().st_size < LARGEST


def figures(notebook: NotebookNode) -> dict[str, Any]:
    """What the cell that is tagged `figures` prints."""
    [cell] = [each for each in notebook.cells if is_tagged(each, "figures")]
    return json.loads(cell.outputs[0].text)


def is_tagged(cell: NotebookNode, tag: str) -> bool:
    return tag in cell.metadata.get("tags", ())


def flat(value: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], float]:
    """The numbers of nested dictionaries by their paths."""
    if not isinstance(value, dict):
        return {path: value}
    return {place: number for name, each in value.items() for place, number in flat(each, (*path, name)).items()}


def differs(figure: str, expected: float, found: float) -> bool:
    return abs(expected - found) > TOLERANCES[figure]
