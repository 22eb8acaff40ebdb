"""Ranking: one call of the DIN (Zhou et al., KDD 2018) scores every candidate against the visitor's live sequence."""

from dataclasses import dataclass

import numpy as np

from recommender.catalogue import Catalogue
from recommender.features import (
    CANDIDATE_STATISTICS,
    HISTORY_LENGTH,
    USER_STATISTICS,
    Float32Array,
    Int64Array,
    candidate_statistics,
    din_inputs,
    encode_history,
)
from recommender.ports import ModelUnavailable, Ranker, Tensors, Visitor
from recommender.recall import Candidates

FEATURE_NAMES = (
    *(f"user_{name}" for name in USER_STATISTICS),
    *(f"candidate_{name}" for name in CANDIDATE_STATISTICS),
)
"""The columns of `RankingFeatures.values`."""


@dataclass(frozen=True, slots=True)
class RankingFeatures:
    """What the ranker is given: its tensors, and the dense ones among them by name, float32 [n, features]."""

    tensors: Tensors
    values: Float32Array


@dataclass(frozen=True, slots=True)
class Ranked:
    """The candidates with the scores that order them, both in recall order: float32 [n].

    `version` is the ranker's; it is empty when the scores are recall's own.
    """

    candidates: Candidates
    scores: Float32Array
    features: RankingFeatures
    version: str = ""
    degraded: tuple[str, ...] = ()

    def order(self) -> Int64Array:
        """Places in `candidates`, best first; ties stay in recall order."""
        return np.argsort(-self.scores, kind="stable")


def ranking_features(visitor: Visitor, catalogue: Catalogue, candidates: Candidates) -> RankingFeatures:
    """Gathers the candidates' rows and this visitor's sequence into the ranker's tensors."""
    recent = visitor.history[:HISTORY_LENGTH]
    history = encode_history([(each.item_id, each.rating) for each in recent])
    encoded = catalogue.encoded(candidates.rows)
    statistics = candidate_statistics(
        catalogue.aggregates(candidates.rows),
        encoded.categories,
        catalogue.history_categories([each.item_id for each in recent]),
        history[1],
        candidates.query.similarities(candidates.rows),
    )
    tensors = din_inputs(history, visitor.profile, visitor.aggregates, encoded, statistics)
    user = np.broadcast_to(tensors["user_statistics"], (len(candidates), len(USER_STATISTICS)))
    return RankingFeatures(tensors, np.hstack([user, statistics]))


class Ranking:
    """The ranker, and what happens without it."""

    def __init__(self, ranker: Ranker) -> None:
        self._ranker = ranker

    async def rank(self, visitor: Visitor, candidates: Candidates, features: RankingFeatures) -> Ranked:
        """Scores all candidates in one call; without an answer in time recall's order stands. Never raises."""
        if not len(candidates):
            return Ranked(candidates, candidates.scores, features)
        try:
            answer = await self._ranker.scores(features.tensors, visitor.key)
        except ModelUnavailable as error:
            return Ranked(candidates, candidates.scores, features, degraded=(f"recall order without ranker: {error}",))
        return Ranked(candidates, answer.values, features, answer.version)
