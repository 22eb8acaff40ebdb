"""Measures of recall and ranking, and the floors that a model has to beat."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from recommender.features import Float32Array, Int64Array
from recommender.training.examples import UserExamples

NEIGHBOURS = 100
"""Neighbours kept for each item of the item-kNN floor."""


def rank_of_target(scores: Float32Array, target: int, excluded: Sequence[int] = ()) -> int:
    """The 1-based place of `target` among all items by falling score, without those `excluded`.

    Ties count half against the target, so that a constant score does not look good.
    """
    considered = np.ones(len(scores), bool)
    considered[list(excluded)] = False
    considered[target] = False
    rivals = scores[considered]
    return 1 + int((rivals > scores[target]).sum()) + int((rivals == scores[target]).sum() + 1) // 2


def ranks_of_targets(scores: Float32Array, moments: UserExamples) -> Int64Array:
    """The rank of each moment's target in its row of `scores` [E, items], without what the user had seen: int64 [E]."""
    ranks = [
        rank_of_target(row, int(target), moments.seen_before(number))
        for number, (row, target) in enumerate(zip(scores, moments.targets, strict=True))
    ]
    return np.array(ranks, np.int64)


def ranks_among(scores: Float32Array, found: NDArray[np.bool_]) -> Int64Array:
    """The rank of the target, which `found` bool [E, N] marks, by `scores` [E, N]: int64 [E]; 0 in a row without."""
    ranks = np.zeros(len(scores), np.int64)
    for row in np.flatnonzero(found.any(axis=1)):
        ranks[row] = rank_of_target(scores[row], int(found[row].argmax()))
    return ranks


def hit_rate(ranks: Int64Array, at: int) -> float:
    """Share of targets within the first `at` places: recall@k where each case has one target. A rank of 0 is a miss."""
    return float(((ranks > 0) & (ranks <= at)).mean()) if len(ranks) else 0.0


def ndcg(ranks: Int64Array, at: int) -> float:
    """Mean of 1 / log2(1 + rank) of targets within the first `at` places, 0 of others (one target: the ideal is 1)."""
    if not len(ranks):
        return 0.0
    found = (ranks > 0) & (ranks <= at)
    return float(np.where(found, 1 / np.log2(1 + np.maximum(ranks, 1)), 0).mean())


def auc(scores: Float32Array, labels: Int64Array) -> float:
    """Probability that a positive scores above a negative (ties half), by ranks; 0.5 without both."""
    positives = int((labels == 1).sum())
    negatives = len(labels) - positives
    if not positives or not negatives:
        return 0.5
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    upper = np.cumsum(counts)
    mean_rank = (upper - counts + 1 + upper) / 2
    return float((mean_rank[inverse][labels == 1].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def grouped_auc(groups: Sequence[tuple[Float32Array, Int64Array]]) -> float:
    """GAUC (Zhou et al. 2018, equation 7): the AUC of each user, weighted by the user's impressions.

    Users whose impressions all have one label say nothing about order and are left out.
    """
    telling = [(scores, labels) for scores, labels in groups if 0 < labels.sum() < len(labels)]
    if not telling:
        return 0.5
    weights = [len(labels) for _, labels in telling]
    return float(np.average([auc(scores, labels) for scores, labels in telling], weights=weights))


def item_neighbours(histories: Sequence[Sequence[int]], items: int) -> Float32Array:
    """Cosine similarity of items by who interacted with them: float32 [items, items], the nearest 100 of each row.

    Deshpande and Karypis, Item-Based Top-N Recommendation Algorithms, ACM TOIS 22(1), 2004. Dense: for catalogues of up
    to some ten thousand items.
    """
    interacted = np.zeros((len(histories), items), np.float32)
    for row, history in enumerate(histories):
        interacted[row, list(history)] = 1
    together = interacted.T @ interacted
    norms = np.sqrt(np.maximum(together.diagonal(), 1))
    similarity = together / norms[:, None] / norms[None, :]
    np.fill_diagonal(similarity, 0)
    if items > NEIGHBOURS:
        floor = np.partition(similarity, items - NEIGHBOURS, axis=1)[:, items - NEIGHBOURS, None]
        similarity[similarity < floor] = 0
    kept: Float32Array = similarity.astype(np.float32)
    return kept
