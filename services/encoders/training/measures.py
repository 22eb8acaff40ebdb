"""Measures of encoders."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from encoders.bert import Float32Array

Int64Array = NDArray[np.int64]
QUERIES_AT_ONCE = 512


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


def _ranks(values: Float32Array) -> NDArray[np.float64]:
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[places]
