"""The exported models as the model server runs them: the pipeline recalls, and measures, with what will serve."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime

from recommender.features import Float32Array

USER_TOWER, ITEM_TOWER, RANKER = "dssm_user", "dssm_item", "din"
MODEL_FILE, CARD_FILE = "model.onnx", "card.json"
BATCH = 1024


class ServedModel:
    """One version of a model in a repository of Triton's layout (`<model>/<version>/model.onnx`)."""

    def __init__(self, repository: Path, name: str, version: int) -> None:
        self.name, self.version = name, version
        self.folder = repository / name / str(version)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 2
        self._session = onnxruntime.InferenceSession(
            str(self.folder / MODEL_FILE), options, providers=["CPUExecutionProvider"]
        )
        self._inputs = [tensor.name for tensor in self._session.get_inputs()]

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> Float32Array:
        """The model's output for the inputs that it has; others are ignored."""
        (output,) = self._session.run(None, {name: inputs[name] for name in self._inputs})
        result: Float32Array = output
        return result

    def in_batches(self, inputs: Mapping[str, np.ndarray]) -> Float32Array:
        """As a call, for inputs whose first dimension is the batch, 1,024 at a time."""
        count = len(next(iter(inputs.values())))
        parts = [
            self({name: values[start : start + BATCH] for name, values in inputs.items()})
            for start in range(0, count, BATCH)
        ]
        return np.concatenate(parts)


def versions(repository: Path, name: str) -> list[int]:
    """The versions of a model in a repository, oldest first."""
    folders = (repository / name).glob(f"*/{MODEL_FILE}")
    return sorted(int(file.parent.name) for file in folders if file.parent.name.isdecimal())


def card(repository: Path, name: str, version: int) -> dict[str, object]:
    """The model card of a version."""
    content: dict[str, object] = json.loads((repository / name / str(version) / CARD_FILE).read_text())
    return content
