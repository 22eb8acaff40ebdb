"""BERT as numpy arrays: what both encoders are, whatever their files look like.

Jacob Devlin et al. 2019. BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding. NAACL.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float32Array = NDArray[np.float32]

LINEARS = ("query", "key", "value", "attention_output", "intermediate", "output")
"""The linear maps of a layer, in the order in which a text goes through them."""


@dataclass(frozen=True, slots=True, eq=False)
class Bert:
    """A BERT encoder's weights.

    `tensors`, all float32:
      `word` [vocabulary, hidden]; `position` [positions, hidden], the one token type's row added in;
      `embedding_norm.weight|bias` [hidden];
      for each layer N, `N.<linear>.weight` [out, in] and `N.<linear>.bias` [out] for each of LINEARS, and
      `N.attention_norm.weight|bias`, `N.output_norm.weight|bias` [hidden].
    """

    heads: int
    epsilon: float
    tensors: Mapping[str, Float32Array]

    @property
    def hidden(self) -> int:
        """The width of a token's vector, and of the embedding."""
        return int(self.tensors["word"].shape[1])

    @property
    def layers(self) -> int:
        """How many layers there are."""
        return sum(name.endswith(".query.weight") for name in self.tensors)

    def linears(self) -> Iterator[str]:
        """The names of all linear maps: "0.query", "0.key", ..."""
        for layer in range(self.layers):
            for linear in LINEARS:
                yield f"{layer}.{linear}"

    def parameters(self) -> int:
        """How many weights there are."""
        return sum(array.size for array in self.tensors.values())
