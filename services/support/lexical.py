"""Search by words: BM25 (Robertson et al., TREC-3 1994; Lucene's variant) over phrasings.

Postings are those of `bm25s` (Lù 2024), built and kept its way, with two differences that segments ask for. What a
posting holds is the term's frequency part alone: the inverse document frequency is multiplied in when a question is
asked, from the counts of all segments together, so that an article weighs the same in a segment of its own as it would
in one index of all. And the length that a phrasing is compared with is given, not taken from the segment. As in Lucene,
a phrasing that no longer answers counts in both until its segment is merged.
"""

import logging
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import bm25s
import numpy as np
from numpy.typing import NDArray

from support.knowledge import Language
from support.language import tokens
from support.ports import Float32Array

Int32Array = NDArray[np.int32]
Int64Array = NDArray[np.int64]

logging.getLogger("bm25s").setLevel(logging.WARNING)  # it sets itself to DEBUG

SATURATION = 1.5
"""BM25's k1."""
LENGTH = 0.75
"""BM25's b."""


@dataclass(frozen=True, slots=True)
class Tokenised:
    """The tokens of n texts. The names of the fields are those that `bm25s` asks for."""

    ids: "TokenLists"
    vocab: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class TokenLists:
    """Text i has the tokens `flat[starts[i] : starts[i + 1]]`: int32 [tokens], int64 [n + 1]."""

    flat: Int32Array
    starts: Int64Array

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def lengths(self) -> Int64Array:
        """Tokens of each text: int64 [n]."""
        return np.diff(self.starts)


def tokenised(texts: Sequence[str], language: Language) -> Tokenised:
    """The tokens of normalised texts, numbered in the order in which they first come."""
    vocabulary: dict[str, int] = {}
    flat: list[int] = []
    starts = [0]
    for text in texts:
        flat.extend(vocabulary.setdefault(token, len(vocabulary)) for token in tokens(text, language))
        starts.append(len(flat))
    return Tokenised(TokenLists(np.array(flat, np.int32), np.array(starts, np.int64)), vocabulary)


def joined(parts: Sequence[tuple[Tokenised, NDArray[np.bool_]]]) -> Tokenised:
    """Of several the texts that their masks (bool [n]) keep, in order; tokens that no text has are dropped."""
    vocabulary: dict[str, int] = {}
    flats, lengths = [], []
    for part, kept in parts:
        of_kept = part.ids.flat[np.repeat(kept, part.ids.lengths)]
        used = np.zeros(len(part.vocab), np.bool_)
        used[of_kept] = True
        renumbered = np.zeros(len(part.vocab), np.int32)
        for token, number in part.vocab.items():
            if used[number]:
                renumbered[number] = vocabulary.setdefault(token, len(vocabulary))
        flats.append(renumbered[of_kept])
        lengths.append(part.ids.lengths[kept])
    starts = np.concatenate([[0], np.cumsum(np.concatenate(lengths))])
    return Tokenised(TokenLists(np.concatenate(flats), starts.astype(np.int64)), vocabulary)


class Postings(bm25s.BM25):
    """One segment's index: `scores` and `vocab_dict` as in `bm25s`, but without the inverse document frequencies."""

    def __init__(self, texts: Tokenised, average_length: float) -> None:
        """`average_length` is the tokens that a phrasing of the whole language has in the mean."""
        super().__init__(k1=SATURATION, b=LENGTH, method="lucene")
        self.texts = texts
        self.average_length = average_length
        if len(texts.ids.flat):
            self.index(texts, create_empty_token=False, show_progress=False)
        else:
            self.scores = self.build_index_from_ids([], texts.ids)
            self.vocab_dict: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self.texts.ids)

    def build_index_from_ids(
        self,
        unique_token_ids: Sequence[int],
        corpus_token_ids: TokenLists,
        show_progress: bool = False,  # the base's signature
        leave_progress: bool = False,
    ) -> dict[str, Any]:
        """The postings by one sort: 1.5 s for 500,000 phrasings of 12 tokens, where the base's loop takes 23 s."""
        texts, lengths = len(corpus_token_ids), corpus_token_ids.lengths
        owner = np.repeat(np.arange(texts), lengths)
        pairs, frequency = np.unique(corpus_token_ids.flat.astype(np.int64) * texts + owner, return_counts=True)
        token, text = np.divmod(pairs, max(texts, 1))
        norm = self.k1 * (1.0 - self.b + self.b * lengths[text] / max(self.average_length, 1e-9))
        return {
            "data": (frequency / (norm + frequency)).astype(np.float32),
            "indices": text.astype(np.int32),
            "indptr": np.searchsorted(token, np.arange(len(unique_token_ids) + 1)),
            "num_docs": texts,
        }

    def postings(self, token: str) -> tuple[Int32Array, Float32Array]:
        """The texts that have the token, and the frequency part of the score of each."""
        number = self.vocab_dict.get(token)
        if number is None:
            return _NO_TEXTS, _NO_SCORES
        start, end = self.scores["indptr"][number : number + 2]
        return self.scores["indices"][start:end], self.scores["data"][start:end]


_NO_TEXTS = np.zeros(0, np.int32)
_NO_SCORES = np.zeros(0, np.float32)


@dataclass(frozen=True, slots=True)
class LexicalScores:
    """A question against every phrasing: float32 [phrasings] for each segment."""

    by_segment: tuple[Float32Array, ...]
    attainable: float
    """What a phrasing would have at most: the inverse document frequencies of all tokens of the question, those that no
    phrasing has included."""


def score(segments: Sequence[Postings], question_tokens: Sequence[str]) -> LexicalScores:
    """BM25 of every phrasing of all segments. Only postings of the question's tokens are read."""
    phrasings = sum(len(each) for each in segments)
    totals = [np.zeros(len(each), np.float32) for each in segments]
    attainable = 0.0
    for token, times in Counter(question_tokens).items():
        found = [each.postings(token) for each in segments]
        holders = sum(len(texts) for texts, _ in found)
        weight = times * math.log(1.0 + (phrasings - holders + 0.5) / (holders + 0.5))
        attainable += weight
        for total, (texts, parts) in zip(totals, found, strict=True):
            if len(texts):
                total[texts] += np.float32(weight) * parts  # a text stands once among a token's postings
    return LexicalScores(tuple(totals), attainable)
