"""Measures of encoders."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from encoders.bert import Float32Array

Int64Array = NDArray[np.int64]
FloatArray = NDArray[np.float32] | NDArray[np.float64]
BoolArray = NDArray[np.bool_]
QUERIES_AT_ONCE = 512
OUT_OF_SCOPE_WEIGHT = 5.0
"""Of a validation query out of scope beside one in scope, when the threshold is chosen: there are 100 beside 3,000."""


def group_scores(queries: Float32Array, index: Float32Array, groups: Int64Array, nearest: int = 1) -> Float32Array:
    """The score of each group for each query: the mean over its `nearest` best entries: float32 [queries, groups].

    Args:
        queries: float32 [queries, dimensions], of length 1.
        index: float32 [entries, dimensions], of length 1.
        groups: int64 [entries], numbered from 0.
        nearest: entries that count.

    """
    order = np.argsort(groups, kind="stable")
    starts = np.searchsorted(groups[order], np.arange(groups.max() + 1))
    parts = []
    for start in range(0, len(queries), QUERIES_AT_ONCE):
        cosines = queries[start : start + QUERIES_AT_ONCE] @ index[order].T
        if nearest == 1:
            parts.append(np.maximum.reduceat(cosines, starts, axis=1))
        else:
            own = np.split(cosines, starts[1:], axis=1)
            parts.append(np.stack([np.sort(each, axis=1)[:, -nearest:].mean(axis=1) for each in own], axis=1))
    return np.concatenate(parts)


def recall_at(scores: Float32Array, targets: Int64Array, count: int) -> float:
    """The share of queries whose own group is among the `count` best; a tie counts half of it."""
    own = scores[np.arange(len(targets)), targets][:, None]
    better, equal = (scores > own).sum(axis=1), (scores == own).sum(axis=1) - 1
    return float(np.clip((count - better) / (1 + equal), 0, 1).mean())


def auroc(inside: Float32Array, outside: Float32Array) -> float:
    """The probability that one inside scores above one outside, ties for half."""
    ranks = _ranks(np.concatenate([inside, outside]))[: len(inside)]
    return float((ranks.sum() - len(inside) * (len(inside) + 1) / 2) / (len(inside) * len(outside)))


def spearman(scores: Float32Array, labels: Sequence[bool]) -> float:
    """Spearman's rank correlation, ties ranked by their mean."""
    return float(np.corrcoef(_ranks(scores), _ranks(np.array(labels, np.float32)))[0, 1])


def unit(vectors: Float32Array) -> Float32Array:
    """The same directions, of length 1."""
    result: Float32Array = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return result


def pair_correlations(one: Float32Array, other: Float32Array, same: Sequence[bool]) -> dict[str, float]:
    """Spearman's correlation of pairs' cosines with the labels: raw, and by vectors less the mean of all of them.

    Args:
        one: float32 [pairs, dimensions], of length 1.
        other: the same.
        same: of each pair, whether both ask the same.

    """
    mean = np.concatenate([one, other]).mean(axis=0)
    centred = unit(one - mean) * unit(other - mean)
    return {
        "Spearman": spearman((one * other).sum(axis=1), same),
        "Spearman, mean-centred": spearman(centred.sum(axis=1), same),
    }


def best_threshold(scores: FloatArray, right: BoolArray, outside: FloatArray) -> float:
    """The score from which to answer with the most right: one answered rightly, or, for `OUT_OF_SCOPE_WEIGHT`, one out
    of scope that is not answered. Of equally good ones the greatest; at most the greatest score.

    Args:
        scores: [in scope], of the best answer.
        right: bool [in scope], whether that is the right one.
        outside: [out of scope], of the best answer.

    """
    every = np.concatenate([scores, outside])
    gain = np.concatenate([right.astype(np.float64), np.full(len(outside), -OUT_OF_SCOPE_WEIGHT)])
    candidates, place = np.unique(-every, return_inverse=True)
    return -float(candidates[int(np.cumsum(np.bincount(place, gain)).argmax())])


def _ranks(values: Float32Array) -> NDArray[np.float64]:
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[places]
