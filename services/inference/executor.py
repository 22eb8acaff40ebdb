"""The port between the release router and whatever computes: ONNX Runtime in the process, or a server elsewhere."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from chassis.errors import CasebookError
from inference.repository import ModelFiles
from inference.tensors import Array, Signature


class ModelError(CasebookError):
    """A version that can't be loaded, or that failed at its work. The message says which, and why."""

    reason = "MODEL_FAILED"

    def __init__(self, model: str, version: str, why: str) -> None:
        super().__init__(f"model {model} version {version}: {why}", model=model, version=version)


class LoadedModel(Protocol):
    """One version, loaded and warmed."""

    signature: Signature
    platform: str
    """What `ModelMetadata` calls it, e.g. "onnxruntime_onnx"."""
    slots: int
    """Calls that it runs side by side. 1 for a model that runs on the event loop: it can't do otherwise."""
    batches: bool
    """Whether calls may be joined into one before they come here."""

    async def run(self, inputs: Mapping[str, Array], outputs: Sequence[str], deadline: float) -> list[Array]:
        """Computes the named outputs. `deadline` is in the seconds of `time.monotonic`.

        Raises InvalidField for values that the model can't take, ModelError where it fails otherwise.
        """
        ...

    async def close(self) -> None:
        """Lets go of its memory. Nothing runs any more."""
        ...


class Executor(Protocol):
    """Loads versions."""

    async def load(self, files: ModelFiles) -> LoadedModel:
        """Loads and warms one version. Raises ModelError, with the reason, when the files are of no use."""
        ...

    async def close(self) -> None:
        """Lets go of what all its models share."""
        ...
