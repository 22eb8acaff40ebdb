"""From text to an encoder's inputs. What a client of the model server needs, and nothing of how it is called."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from encoders.wheels import EncoderError

Int64Array = NDArray[np.int64]

CHARACTERS_PER_TOKEN = 32
"""A text is cut to so many characters for each token that the encoder takes, before it is tokenised: a text of 10 MB
costs no more than a page. Tokens have 1 to 5 characters; only words longer than any language's reach the limit."""


@dataclass(frozen=True, slots=True, eq=False)
class Tokens:
    """Texts as an encoder takes them, padded to the longest: both int64 [texts, seq]; the mask is 1 for a token."""

    input_ids: Int64Array
    attention_mask: Int64Array

    def inputs(self) -> dict[str, Int64Array]:
        """By the names of the model's inputs."""
        return {"input_ids": self.input_ids, "attention_mask": self.attention_mask}


class Tokeniser:
    """The tokeniser of one version of an encoder: from the folder that `python -m encoders build` wrote."""

    def __init__(self, folder: Path) -> None:
        """Raises EncoderError where the folder holds no encoder."""
        try:
            text = json.loads((folder / "card.json").read_text())["text"]
            self.prefix = str(text["prefix"])
            self.max_tokens = int(text["max_tokens"])
            self._padding_id = int(text["padding_id"])
            self._tokenizer = Tokenizer.from_str((folder / "tokenizer.json").read_text())
        except (OSError, ValueError, KeyError) as error:
            raise EncoderError(
                f"{folder} holds no encoder ({error}): python -m encoders build {folder.parent.parent}"
            ) from error

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The token numbers of each text, prefix and special tokens with them, at most `max_tokens`."""
        limit = self.max_tokens * CHARACTERS_PER_TOKEN
        cut = [self.prefix + text[:limit] for text in texts]
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(cut)]

    def __call__(self, texts: Sequence[str], multiple_of: int = 1) -> Tokens:
        """All texts as one batch, in order; `multiple_of` rounds its length up, so that calls have few lengths."""
        return self._padded(self.ids(texts), multiple_of)

    def batches(
        self, texts: Sequence[str], rows: int = 32, multiple_of: int = 1
    ) -> Iterator[tuple[Int64Array, Tokens]]:
        """Batches of at most `rows` texts of like length, so that little is padded: the texts' places and tokens."""
        ids = self.ids(texts)
        order = np.argsort([len(each) for each in ids], kind="stable")
        for start in range(0, len(order), rows):
            places = order[start : start + rows]
            yield places, self._padded([ids[place] for place in places], multiple_of)

    def _padded(self, ids: list[list[int]], multiple_of: int) -> Tokens:
        longest = max(map(len, ids), default=0)
        shape = len(ids), min(-(-longest // multiple_of) * multiple_of, self.max_tokens)
        tokens = Tokens(np.full(shape, self._padding_id, np.int64), np.zeros(shape, np.int64))
        for row, each in enumerate(ids):
            tokens.input_ids[row, : len(each)] = each
            tokens.attention_mask[row, : len(each)] = 1
        return tokens
