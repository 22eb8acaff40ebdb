"""Features: what the models see of users, items and behaviour. Training and serving both call this module.

numpy only: a serving image holds no torch, and the training pipeline feeds the same arrays to PyTorch.

Three rules keep training and serving equal:

- A categorical value travels as its 64-bit `fingerprint`; the vocabulary (fingerprint to embedding row) lives inside
  each model's ONNX graph, so a client needs none and two versions may have different ones.
- Everything is as of a moment: aggregates are immutable and advance only through `after(interaction)`, so the features
  of an event are built from the aggregates that stood before it.
- Statistics carry neither a unit of the data set nor a wall clock (log counts, shares, means): a model trained on
  ratings of 1997 serves today.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Self

import numpy as np
from numpy.typing import NDArray

Int64Array = NDArray[np.int64]
Float32Array = NDArray[np.float32]

HISTORY_LENGTH = 32
"""Entries of the live sequence that a model sees; the online store keeps a few more, for items that get excluded."""
MAX_CATEGORIES = 6
TITLE_TOKENS = 8
VECTOR = 64
"""Dimensions of a tower's vector."""
PADDING = 0
"""The fingerprint of nothing: an empty place, or a value that is not known."""

AGE_BANDS = ("under 18", "18-24", "25-34", "35-44", "45-49", "50-55", "56+")
"""MovieLens-1M's bands; a band's bucket is its index here plus 1."""
AGE_BAND_STARTS = (18, 25, 35, 45, 50, 56)
EVERYONE = "all"
"""The segment of a user whose age or gender is not known."""

RATING_OF_ACTION: Mapping[str, float] = {"click": 4.0, "like": 5.0, "dislike": 1.0}
"""What an action without stars says, in stars: MovieLens has ratings only, so live actions are put on its scale."""
LIKED = 4.0
"""From this rating on an interaction counts as liked."""
DISLIKED = 2.0
"""Up to this rating an interaction counts as disliked."""
NEUTRAL = 3.0

USER_STATISTICS = ("log_events", "mean_rating", "like_share", "dislike_share")
CANDIDATE_STATISTICS = (
    "log_events",
    "mean_rating",
    "like_share",
    "dislike_share",
    "category_match",
    "category_preference",
    "tower_similarity",
)
TOWER_SIMILARITY = CANDIDATE_STATISTICS.index("tower_similarity")
"""The column of the towers' cosine. It is the last one: DIN's network takes those before it."""

_PRIOR_EVENTS = 5.0
_PRIOR_RATING = 3.5
"""The mean rating of MovieLens, in stars."""
_TOKEN = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Interaction:
    """One thing that a user did with an item; `rating` is in stars, 1 to 5, whatever the action (`rating_of`)."""

    user_id: str
    item_id: str
    rating: float
    action: str
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class ItemFacts:
    """What is known of an item before anyone has seen it. `year` 0: unknown."""

    item_id: str
    title: str
    categories: tuple[str, ...] = ()
    year: int = 0


@dataclass(frozen=True, slots=True)
class UserProfile:
    """What a user has told. `age` in years, 0: unknown; `gender` and `occupation` empty: unknown."""

    user_id: str
    age: int = 0
    gender: str = ""
    occupation: str = ""


@dataclass(frozen=True, slots=True)
class EncodedItems:
    """N items as the models take them, all int64: ids [N,1], categories [N,6], years [N,1], title tokens [N,8]."""

    ids: Int64Array
    categories: Int64Array
    years: Int64Array
    title_tokens: Int64Array

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: Sequence[int] | NDArray[np.integer]) -> "EncodedItems":
        """The items at `rows`, in that order."""
        index = np.asarray(rows, dtype=np.int64)
        return EncodedItems(self.ids[index], self.categories[index], self.years[index], self.title_tokens[index])


@dataclass(frozen=True, slots=True)
class Aggregates:
    """Running counts over interactions: additive, so that an online store may keep them as counters.

    The fields are the whole state; `Aggregates(**fields)` restores it.
    """

    events: int = 0
    rating_sum: float = 0.0
    likes: int = 0
    dislikes: int = 0

    def after(self, interaction: Interaction) -> Self:
        """These aggregates once `interaction` has happened too."""
        return replace(
            self,
            events=self.events + 1,
            rating_sum=self.rating_sum + interaction.rating,
            likes=self.likes + (interaction.rating >= LIKED),
            dislikes=self.dislikes + (interaction.rating <= DISLIKED),
        )


@dataclass(frozen=True, slots=True)
class UserAggregates(Aggregates):
    """What a user has done so far."""

    def statistics(self) -> Float32Array:
        """float32 [1, U], in the order of `USER_STATISTICS`."""
        return _statistics([self])


@dataclass(frozen=True, slots=True)
class ItemAggregates(Aggregates):
    """What has been done with an item so far. Its popularity is `events`."""


def rating_of(action: str, stars: float = 0.0) -> float:
    """The rating, in stars, that an action stands for; `stars` counts for the action `rate` only.

    Raises:
        ValueError: for an action that says nothing about preference (an impression), or stars outside 1 to 5.

    """
    if action == "rate":
        if not 1.0 <= stars <= 5.0:
            raise ValueError(f"rating must be 1 to 5 stars, received {stars:g}")
        return float(stars)
    if action not in RATING_OF_ACTION:
        raise ValueError(f"action must be one of rate, {', '.join(RATING_OF_ACTION)}; received {action!r}")
    return RATING_OF_ACTION[action]


def fingerprint(text: str) -> int:
    """A signed 64-bit fingerprint (BLAKE2b) of a categorical value; never 0, which means padding or unknown.

    Empty text is the unknown value: 0. Among a million values any two collide with a probability of 3e-8.
    """
    if not text:
        return PADDING
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True) or 1


def age_bucket(years: int) -> int:
    """1 to 7, the place in `AGE_BANDS`; 0 for an unknown age (0 or less)."""
    if years <= 0:
        return 0
    return 1 + sum(years >= start for start in AGE_BAND_STARTS)


def segment(profile: UserProfile) -> str:
    """The group whose popular items a user without history gets: `25-34/F`, or `all` when age or gender is unknown."""
    bucket = age_bucket(profile.age)
    if not bucket or not profile.gender:
        return EVERYONE
    return f"{AGE_BANDS[bucket - 1]}/{profile.gender}"


def encode_items(items: Sequence[ItemFacts]) -> EncodedItems:
    """Fingerprints of N items; the first six categories and the first eight title tokens count."""
    count = len(items)
    encoded = EncodedItems(
        ids=np.zeros((count, 1), np.int64),
        categories=np.zeros((count, MAX_CATEGORIES), np.int64),
        years=np.zeros((count, 1), np.int64),
        title_tokens=np.zeros((count, TITLE_TOKENS), np.int64),
    )
    for row, item in enumerate(items):
        categories = [fingerprint(category) for category in item.categories[:MAX_CATEGORIES]]
        tokens = [fingerprint(token) for token in _TOKEN.findall(item.title.casefold())[:TITLE_TOKENS]]
        encoded.ids[row, 0] = fingerprint(item.item_id)
        encoded.categories[row, : len(categories)] = categories
        encoded.years[row, 0] = item.year
        encoded.title_tokens[row, : len(tokens)] = tokens
    return encoded


def encode_history(entries: Sequence[tuple[str, float]]) -> tuple[Int64Array, Float32Array]:
    """The live sequence, newest first, as (item id, rating): int64 [1,32] fingerprints and float32 [1,32] stars.

    Entries after the 32nd are left out; places after the last entry hold 0.
    """
    kept = entries[:HISTORY_LENGTH]
    items = np.zeros((1, HISTORY_LENGTH), np.int64)
    ratings = np.zeros((1, HISTORY_LENGTH), np.float32)
    items[0, : len(kept)] = [fingerprint(item_id) for item_id, _ in kept]
    ratings[0, : len(kept)] = [rating for _, rating in kept]
    return items, ratings


def candidate_statistics(
    aggregates: Sequence[ItemAggregates],
    categories: Int64Array,
    history_categories: Int64Array,
    history_ratings: Float32Array,
    similarities: Float32Array,
) -> Float32Array:
    """What the ranker is told about each of N candidates for this user: float32 [N, M], as in `CANDIDATE_STATISTICS`.

    `category_match` is the mean, over a candidate's categories, of the share of the history that has the category;
    `category_preference` is the mean of (stars - 3) / 2 over the history entries that share a category: -1 to 1, 0 when
    none does.

    Args:
        aggregates: of the N candidates, as of now.
        categories: int64 [N, 6], the candidates' encoded categories.
        history_categories: int64 [H, 6], H at most 32: those of the history's items, newest first, a row of zeros for
            an item that is not known. Rows past the last entry may be there or not.
        history_ratings: float32 [1, 32] as `encode_history` returns it; 0 marks padding.
        similarities: float32 [N], the cosines of the two towers' vectors, zeros where the user tower did not answer:
            `tower_similarity`, but 0 without a history. A vector made of a profile alone knows less than popularity.

    """
    ratings = history_ratings.reshape(-1)[: len(history_categories)]
    entries = ratings > 0
    match, preference = _category_affinity(categories, history_categories[entries], ratings[entries])
    known = similarities if entries.any() else np.zeros_like(similarities)
    return np.column_stack([_statistics(aggregates), match, preference, known]).astype(np.float32)


def _statistics(aggregates: Sequence[Aggregates]) -> Float32Array:
    """Log count, mean rating and the shares of likes and dislikes of N users or items: float32 [N, 4].

    Mean and shares are shrunk by five imagined events (empirical Bayes): an item with one five-star rating is not the
    best item.
    """
    counts = np.array([(a.events, a.rating_sum, a.likes, a.dislikes) for a in aggregates], np.float64).reshape(-1, 4)
    events, rating_sum, likes, dislikes = counts.T
    shrunk = events + _PRIOR_EVENTS
    mean_rating = (rating_sum + _PRIOR_EVENTS * _PRIOR_RATING) / shrunk
    return np.column_stack([np.log1p(events), mean_rating, likes / shrunk, dislikes / shrunk]).astype(np.float32)


def _category_affinity(
    categories: Int64Array, past: Int64Array, ratings: Float32Array
) -> tuple[Float32Array, Float32Array]:
    """`category_match` and `category_preference`, each float32 [N], over H entries without padding."""
    if not len(past):
        nothing = np.zeros(len(categories), np.float32)
        return nothing, nothing
    # A history has few categories (K), so a dense [N,K] x [K,H] product beats comparing N x 6 with H x 6 values.
    known = np.unique(past[past != PADDING])
    candidate_has = (categories[:, :, None] == known).any(axis=1).astype(np.float32)
    history_has = (past[:, :, None] == known).any(axis=1).astype(np.float32)
    share_of_history = history_has.mean(axis=0)
    count = np.maximum((categories != PADDING).sum(axis=1), 1)
    shared = (candidate_has @ history_has.T) > 0
    opinion = shared @ ((ratings - NEUTRAL) / 2)
    return candidate_has @ share_of_history / count, opinion / np.maximum(shared.sum(axis=1), 1)


def dssm_user_inputs(history: tuple[Int64Array, Float32Array], profile: UserProfile) -> dict[str, np.ndarray]:
    """The user tower's inputs for one user (B = 1): the tensors of `dssm_user`, by name."""
    items, ratings = history
    return {"history_items": items, "history_ratings": ratings, **_profile_inputs(profile)}


def dssm_item_inputs(items: EncodedItems) -> dict[str, np.ndarray]:
    """The item tower's inputs for N items: the tensors of `dssm_item`, by name."""
    return {
        "item_id": items.ids,
        "item_categories": items.categories,
        "item_year": items.years,
        "item_title_tokens": items.title_tokens,
    }


def din_inputs(
    history: tuple[Int64Array, Float32Array],
    profile: UserProfile,
    user: UserAggregates,
    candidates: EncodedItems,
    statistics: Float32Array,
) -> dict[str, np.ndarray]:
    """The ranker's inputs for one user and N candidates with their `candidate_statistics`: `din`'s tensors, by name."""
    return {
        **dssm_user_inputs(history, profile),
        "user_statistics": user.statistics(),
        "candidate_items": candidates.ids,
        "candidate_categories": candidates.categories,
        "candidate_year": candidates.years,
        "candidate_statistics": statistics,
    }


def _profile_inputs(profile: UserProfile) -> dict[str, np.ndarray]:
    return {
        "user_age_bucket": np.array([[age_bucket(profile.age)]], np.int64),
        "user_gender": np.array([[fingerprint(profile.gender)]], np.int64),
        "user_occupation": np.array([[fingerprint(profile.occupation)]], np.int64),
    }
