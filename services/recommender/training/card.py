"""The model card: what a version is, what it was made from, how good it is, and what it may be used for."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import onnx

from recommender.data import Dataset
from recommender.training.evaluation import Measured
from recommender.training.export import Exported
from recommender.training.recipes import RankerRecipe, TowerRecipe
from recommender.training.served import CARD_FILE
from training import fitting
from training.fitting import Fitted
from training.revision import code_revision

LICENCE_OF_DATA = (
    "MovieLens: research and education with attribution; no commercial use without GroupLens' permission; "
    "the data itself may not be redistributed and is not part of this model"
)
CITATION = (
    "F. Maxwell Harper and Joseph A. Konstan. 2015. The MovieLens Datasets: History and Context. "
    "ACM Transactions on Interactive Intelligent Systems (TiiS) 5, 4, Article 19. https://doi.org/10.1145/2827872"
)
SPLIT = (
    "leave-one-out by time: a user's last interaction tests, the second last validates, earlier ones train; "
    "features as of each event, item statistics from training interactions only. As always with leave-one-out, "
    "other users' training interactions may be later than a test event"
)


def write(
    exported: Exported,
    name: str,
    version: int,
    dataset: Dataset,
    recipe: TowerRecipe | RankerRecipe,
    fitted: Fitted,
    measured: Sequence[Measured],
    notes: Sequence[str],
) -> None:
    """Writes `card.json` beside the version's `model.onnx`."""
    graph = onnx.load(exported.file).graph
    content = {
        "model": name,
        "version": version,
        "data": {
            "name": dataset.name,
            "sha256": dataset.sha256,
            "interactions": len(dataset.interactions),
            "users": len(dataset.users),
            "items": len(dataset.items),
            "undated_interactions": dataset.undated,
            "licence": LICENCE_OF_DATA,
            "citation": CITATION,
        },
        "split": SPLIT,
        "recipe": asdict(recipe),
        "fitted": asdict(fitted),
        "metrics": [_rounded(line) for line in measured],
        "onnx_max_absolute_difference": exported.difference,
        "inputs": {tensor.name: _signature(tensor) for tensor in graph.input},
        "outputs": {tensor.name: _signature(tensor) for tensor in graph.output},
        "code_revision": revision(),
        "libraries": {library: installed(library).partition("+")[0] for library in ("torch", "onnx", "numpy")},
        "notes": list(notes),
    }
    exported.file.with_name(CARD_FILE).write_text(json.dumps(content, indent=2) + "\n")


def revision() -> str:
    """The commit of the code that decides a training."""
    training = Path(__file__).parent
    return code_revision(training, training.parent / "features.py", training.parent / "data.py", Path(fitting.__file__))


def _signature(tensor: onnx.ValueInfoProto) -> Mapping[str, Any]:
    shape = [dim.dim_param or dim.dim_value for dim in tensor.type.tensor_type.shape.dim]
    return {"type": onnx.TensorProto.DataType.Name(tensor.type.tensor_type.elem_type).lower(), "shape": shape}


def _rounded(line: Measured) -> Mapping[str, Any]:
    return asdict(line) | {"values": {name: round(value, 4) for name, value in line.values.items()}}
