"""Examples: the data set replayed in order of time, so that every example sees what was known then, not later."""

from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from recommender import features
from recommender.data import Dataset
from recommender.features import (
    HISTORY_LENGTH,
    EncodedItems,
    Float32Array,
    Int64Array,
    Interaction,
    ItemAggregates,
    UserAggregates,
    UserProfile,
)


class Part(StrEnum):
    """Leave-one-out by time: a user's last interaction tests, the second last validates, all earlier ones train."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class Moment:
    """An interaction and what was known just before it.

    `history` is newest first. `items` is live: read it before the next moment is drawn. Held-out interactions enter
    their own user's history (the test moment knows the validation one) but never the items' aggregates.
    """

    interaction: Interaction
    part: Part
    history: tuple[tuple[str, float], ...]
    user: UserAggregates
    items: Mapping[str, ItemAggregates]


def replay(dataset: Dataset) -> Iterator[Moment]:
    """Every interaction of the data set as a moment, in order of time. Users with fewer than three only train."""
    remaining = Counter(each.user_id for each in dataset.interactions)
    held_out = {user for user, count in remaining.items() if count >= 3}
    histories: dict[str, deque[tuple[str, float]]] = defaultdict(lambda: deque(maxlen=HISTORY_LENGTH))
    users: dict[str, UserAggregates] = defaultdict(UserAggregates)
    items: dict[str, ItemAggregates] = defaultdict(ItemAggregates)
    for each in dataset.interactions:
        remaining[each.user_id] -= 1
        part = Part.TRAIN
        if each.user_id in held_out and remaining[each.user_id] < 2:
            part = Part.VALIDATION if remaining[each.user_id] else Part.TEST
        history = histories[each.user_id]
        yield Moment(each, part, tuple(history), users[each.user_id], items)
        history.appendleft((each.item_id, each.rating))
        users[each.user_id] = users[each.user_id].after(each)
        if part is Part.TRAIN:
            items[each.item_id] = items[each.item_id].after(each)


@dataclass(frozen=True, slots=True, eq=False)
class Catalogue:
    """The data set's items, encoded, with the place of each."""

    encoded: EncodedItems
    places: Mapping[str, int]

    @staticmethod
    def of(dataset: Dataset) -> "Catalogue":
        """All items of the data set, in its order."""
        return Catalogue(
            features.encode_items(dataset.items), {item.item_id: place for place, item in enumerate(dataset.items)}
        )

    def __len__(self) -> int:
        return len(self.places)


@dataclass(frozen=True, slots=True, eq=False)
class UserExamples:
    """E moments as the user tower takes them.

    `inputs`: the tensors of `dssm_user` [E, ...] with fingerprints; `targets` int64 [E], places in the catalogue;
    `ratings` float32 [E], stars; `users` int64 [E], places in `Dataset.users`; `seen[e]`: places of what the user had
    interacted with before (shared by the moments of a user: `seen_counts[e]` of them count).
    """

    inputs: dict[str, np.ndarray]
    targets: Int64Array
    ratings: Float32Array
    users: Int64Array
    seen: list[list[int]]
    seen_counts: Int64Array

    def __len__(self) -> int:
        return len(self.targets)

    def seen_before(self, example: int) -> list[int]:
        """Places of the items that the user of `example` had interacted with before."""
        return self.seen[self.users[example]][: self.seen_counts[example]]


def user_examples(dataset: Dataset, catalogue: Catalogue, part: Part) -> UserExamples:
    """The moments of one part of the split, made with the feature code that serves."""
    profiles = {profile.user_id: (place, profile) for place, profile in enumerate(dataset.users)}
    seen: list[list[int]] = [[] for _ in dataset.users]
    inputs, targets, ratings, users, seen_counts = [], [], [], [], []
    for moment in replay(dataset):
        place, profile = profiles[moment.interaction.user_id]
        target = catalogue.places[moment.interaction.item_id]
        if moment.part is part:
            inputs.append(user_inputs(moment, profile))
            targets.append(target)
            ratings.append(moment.interaction.rating)
            users.append(place)
            seen_counts.append(len(seen[place]))
        seen[place].append(target)
    return UserExamples(
        inputs=stack(inputs),
        targets=np.array(targets, np.int64),
        ratings=np.array(ratings, np.float32),
        users=np.array(users, np.int64),
        seen=seen,
        seen_counts=np.array(seen_counts, np.int64),
    )


def user_inputs(moment: Moment, profile: UserProfile) -> dict[str, np.ndarray]:
    """The user tower's inputs as of the moment."""
    return features.dssm_user_inputs(features.encode_history(moment.history), profile)


def stack(rows: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Inputs of one example each [1, ...] as those of all [E, ...]."""
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]} if rows else {}


def popularity(dataset: Dataset, catalogue: Catalogue) -> Int64Array:
    """Training interactions of each item of the catalogue: int64 [items]."""
    counts = np.zeros(len(catalogue), np.int64)
    for moment in replay(dataset):
        if moment.part is Part.TRAIN:
            counts[catalogue.places[moment.interaction.item_id]] += 1
    return counts
