"""Examples for the ranker: an event, its negatives, and the statistics of all of them as they stood at that moment."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recommender import features
from recommender.data import Dataset
from recommender.features import (
    DISLIKED,
    LIKED,
    Float32Array,
    Int64Array,
    ItemAggregates,
    UserProfile,
)
from recommender.training.examples import Catalogue, Moment, Part, UserExamples, replay, stack

RECALLED = 200
"""Candidates that the ranker is given, in training's validation as in service."""
_NEVER_SEEN = ItemAggregates()

Vectors = tuple[Float32Array, Float32Array]
"""What the towers make of a part: user vectors [E, 64] of its moments, item vectors [items, 64] of the catalogue."""


@dataclass(frozen=True, slots=True, eq=False)
class RankingExamples:
    """E events with C candidates each.

    `inputs`: DIN's tensors with fingerprints, users [E, ...] and candidates [E, C, ...]; `labels` float32 [E, C].
    """

    inputs: dict[str, np.ndarray]
    labels: Float32Array


def ranker_inputs(
    moment: Moment,
    profile: UserProfile,
    candidates: Sequence[int] | Int64Array,
    similarities: Float32Array,
    dataset: Dataset,
    catalogue: Catalogue,
) -> dict[str, np.ndarray]:
    """DIN's inputs for one user and N candidates at these places of the catalogue, as of the moment.

    `similarities` float32 [N]: the towers' cosines of the user with the candidates.
    """
    encoded = catalogue.encoded.take(candidates)
    history = features.encode_history(moment.history)
    past = catalogue.encoded.take([catalogue.places[item] for item, _ in moment.history])
    statistics = features.candidate_statistics(
        [moment.items.get(dataset.items[place].item_id, _NEVER_SEEN) for place in candidates],
        encoded.categories,
        past.categories,
        history[1],
        similarities,
    )
    return features.din_inputs(history, profile, moment.user, encoded, statistics)


def calls(
    dataset: Dataset,
    catalogue: Catalogue,
    part: Part,
    candidates: Int64Array,
    vectors: Vectors,
    only: NDArray[np.bool_] | None = None,
) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """The ranker's call at each moment of a part: the moment's number, and DIN's inputs for its row of `candidates`.

    Args:
        dataset: replayed once.
        catalogue: of the data set.
        part: whose moments.
        candidates: int64 [E, C], places in the catalogue.
        vectors: of the part.
        only: bool [E], the moments wanted; all without.

    """
    profiles = {profile.user_id: profile for profile in dataset.users}
    users, items = vectors
    moments = (moment for moment in replay(dataset) if moment.part is part)
    for number, moment in enumerate(moments):
        if only is None or only[number]:
            profile = profiles[moment.interaction.user_id]
            similarities = items[candidates[number]] @ users[number]
            yield number, ranker_inputs(moment, profile, candidates[number], similarities, dataset, catalogue)


def training_examples(
    dataset: Dataset,
    catalogue: Catalogue,
    events: UserExamples,
    negatives: Int64Array,
    vectors: Vectors,
    count: int,
    seed: int,
) -> RankingExamples:
    """`count` liked and disliked events of the training part, each with its `negatives` int64 [E, n] (places).

    Three stars say neither and are left out (they stay in the history). A disliked event is a negative that the user
    did see; its group has no positive.
    """
    telling = (events.ratings >= LIKED) | (events.ratings <= DISLIKED)
    surplus = max(0, int(telling.sum()) - count)
    telling[np.random.default_rng(seed).choice(np.flatnonzero(telling), surplus, replace=False)] = False
    candidates = np.column_stack([events.targets, negatives])
    rows = [inputs for _, inputs in calls(dataset, catalogue, Part.TRAIN, candidates, vectors, only=telling)]
    labels = np.zeros((len(rows), candidates.shape[1]), np.float32)
    labels[:, 0] = events.ratings[telling] >= LIKED
    return RankingExamples(group(rows), labels)


def group(rows: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Calls of C candidates each as a batch of calls: users [E, ...], candidates [E, C, ...]."""
    candidates = {name for name in rows[0] if name.startswith("candidate_")}
    users = stack([{name: values for name, values in row.items() if name not in candidates} for row in rows])
    return users | {name: np.stack([row[name] for row in rows]) for name in candidates}


def uniform_negatives(events: UserExamples, own: Sequence[set[int]], items: int, count: int, seed: int) -> Int64Array:
    """For each event `count` items, uniform over the catalogue without the user's `own`: int64 [E, count], places."""
    random = np.random.default_rng(seed)
    drawn = random.integers(items, size=(len(events), count))
    for row, user in enumerate(events.users):
        for column in range(count):
            while int(drawn[row, column]) in own[user]:
                drawn[row, column] = random.integers(items)
    return drawn


def recalled_negatives(
    events: UserExamples,
    vectors: Vectors,
    own: Sequence[set[int]],
    count: int,
    seed: int,
) -> Int64Array:
    """For each event `count` of the 200 items that recall would offer, without the user's `own`: int64 [E, count].

    The ranker is asked about recalled items only, so it should learn on them: against uniform negatives alone it learns
    what recall knows already (sample selection bias).
    """
    user_vectors, item_vectors = vectors
    random = np.random.default_rng(seed)
    drawn = np.empty((len(events), count), np.int64)
    for row, user in enumerate(events.users):
        scores = item_vectors @ user_vectors[row]
        scores[list(own[user])] = -np.inf
        recalled = np.argpartition(-scores, RECALLED)[:RECALLED] if len(scores) > RECALLED else np.argsort(-scores)
        drawn[row] = random.choice(recalled, count, replace=len(recalled) < count)
    return drawn


def recall(vectors: Vectors, events: UserExamples, count: int) -> Int64Array:
    """The `count` best unseen items of each moment by cosine, best first: int64 [E, count] places, or fewer."""
    user_vectors, item_vectors = vectors
    count = min(count, len(item_vectors))
    best = np.empty((len(events), count), np.int64)
    for row in range(len(events)):
        scores = item_vectors @ user_vectors[row]
        scores[events.seen_before(row)] = -np.inf
        best[row] = np.argsort(-scores, kind="stable")[:count]
    return best
