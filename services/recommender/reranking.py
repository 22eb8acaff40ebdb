"""Re-ranking: from scored candidates to the list that is shown, and why each item stands where it does.

The steps, each of which leaves a note on what it moved:

1. `allowed_items`: what is retired, was just touched, is excluded by the request or of another category does not take
   part. The mask is made before recall, so that the ranker's 300 places go to items that may be shown.
2. Business rule: an item that many have rated poorly stands behind all others.
3. Maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998) with a cap a category: each place goes to the item
   with the best mix of its score and its distance from what stands above it.
4. Business rule: the best new item, if it fits the visitor as well as the median candidate, gets a place on the page.
5. One exploration place: with a small, logged probability it goes to an item drawn at random (`propensity`).

Chance is an input: the same candidates, policy and seed give the same list.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np

from recommender.catalogue import BoolArray, Catalogue
from recommender.features import PADDING, Float32Array, Int64Array
from recommender.ports import Visitor
from recommender.ranking import Ranked
from recommender.recall import Channel, ChannelHits

EXPLORATION_POOL = 50
BEHIND_ALL = 100.0
"""Taken off a relevance of 0..1: no distance from what stands above makes up for it."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What re-ranking weighs. An experiment's arm may replace any of it."""

    relevance: float = 0.8
    """MMR's lambda: 1 is the ranker's order, 0 is distance alone."""
    category_share: float = 0.6
    """The share of the list that may carry one and the same category."""
    pool: int = 100
    """The best candidates that take part; at least three times the list."""
    poor_rating: float = 2.5
    """Stars; an item with a mean below it, over `poor_rating_events` events or more, stands behind all others."""
    poor_rating_events: int = 20
    """How many must have rated an item before its mean counts."""
    new_item_place: int = 10
    """The best new item stands no lower than here. 0: no such rule."""
    exploration_place: int = 6
    """The place (1-based) that may go to an item drawn at random. 0: none."""
    exploration_probability: float = 0.1
    """How often it does."""


@dataclass(frozen=True, slots=True)
class Placed:
    """One place of the final list. `candidate` is the item's place in the candidates, that is, in recall order."""

    candidate: int
    propensity: float = 1.0
    exploration: bool = False
    notes: tuple[str, ...] = ()


def allowed_items(
    catalogue: Catalogue, visitor: Visitor, excluded: Collection[str] = (), category: str = ""
) -> BoolArray:
    """bool [items]: what may be shown to this visitor in answer to this request."""
    allowed = catalogue.active()
    allowed[catalogue.rows(visitor.seen)] = False
    allowed[catalogue.rows(excluded)] = False
    if category:
        allowed &= catalogue.in_category(category)
    return allowed


def rerank(
    ranked: Ranked, catalogue: Catalogue, policy: Policy, *, limit: int, seed: int, category: str = ""
) -> list[Placed]:
    """At most `limit` places, best first. `category`: the request's own, which no cap then applies to."""
    if not len(ranked.candidates):
        return []
    pool = _Pool.of(ranked, catalogue, policy, limit, category)
    places = diversify(pool, policy, limit)
    places = _with_new_item(places, pool, policy, limit)
    return _with_exploration(places, pool, policy, limit, seed)


@dataclass(slots=True)
class _Pool:
    """The candidates that take part, in the ranker's order, poorly rated ones last; arrays are [P, ...]."""

    ranked: Ranked
    catalogue: Catalogue
    places: Int64Array
    """Each one's place in the candidates."""
    relevance: Float32Array
    """The scores, scaled to 0..1 over the pool; below 0 for those that stand behind all others."""
    vectors: Float32Array
    """Unit vectors [P, 64] of the items, of categories where there are no tower's."""
    has_category: BoolArray
    """[P, categories]."""
    category_names: list[str]
    notes: dict[int, list[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, ranked: Ranked, catalogue: Catalogue, policy: Policy, limit: int, category: str) -> "_Pool":
        order = ranked.order()
        poor = _poorly_rated(ranked, catalogue, policy)[order]
        behind = np.concatenate([np.flatnonzero(~poor), np.flatnonzero(poor)])[: max(policy.pool, 3 * limit)]
        best = order[behind]
        rows = ranked.candidates.rows[best]
        scores = ranked.scores[best]
        low, high = scores.min(), scores.max()
        relevance = (scores - low) / max(high - low, 1e-9) - BEHIND_ALL * poor[behind]
        has_category, names = _categories(catalogue, rows, category)
        index = ranked.candidates.query.index
        vectors = index.vectors_of(rows) if index is not None else _unit(has_category.astype(np.float32))
        pool = cls(ranked, catalogue, best, relevance.astype(np.float32), vectors, has_category, names)
        for place in np.flatnonzero(poor):
            pool.note(int(order[place]), f"moved behind all others: rated below {policy.poor_rating:g} stars by many")
        return pool

    def note(self, place: int, text: str) -> None:
        self.notes.setdefault(place, []).append(text)

    def placed(self, member: int) -> Placed:
        place = int(self.places[member])
        return Placed(place, notes=tuple(self.notes.get(place, ())))

    def title(self, member: int) -> str:
        return self.catalogue.items[int(self.ranked.candidates.rows[self.places[member]])].facts.title


def diversify(pool: _Pool, policy: Policy, limit: int) -> list[Placed]:
    """Maximal marginal relevance with category caps, greedily: lambda * relevance - (1 - lambda) * similarity.

    Similarity is the cosine to the most similar item above. A capped item is taken only when nothing else is left.
    """
    members = len(pool.places)
    cap = max(1, math.ceil(policy.category_share * limit))
    similarity = np.clip(pool.vectors @ pool.vectors.T, 0.0, 1.0)
    closest = np.zeros(members, np.float32)
    closest_to = np.full(members, -1)
    counts = np.zeros(len(pool.category_names), np.int64)
    free = np.ones(members, np.bool_)
    chosen: list[int] = []
    for _ in range(min(limit, members)):
        value = policy.relevance * pool.relevance - (1.0 - policy.relevance) * closest
        value[~free] = -np.inf
        full = counts >= cap
        capped = free & pool.has_category[:, full].any(axis=1) if full.any() else ~free
        best = int(np.argmax(value))
        if capped[best] and not capped[free].all():
            category = pool.category_names[int(np.flatnonzero(pool.has_category[best] & full)[0])]
            if f"of category {category} " not in "".join(pool.notes.get(int(pool.places[best]), ())):
                pool.note(int(pool.places[best]), f"moved down by the cap: {cap} of category {category} stand above")
            value[capped] = -np.inf
            best = int(np.argmax(value))
        _note_move(pool, best, free, closest_to)
        chosen.append(best)
        free[best] = False
        counts += pool.has_category[best]
        nearer = similarity[best] > closest
        closest[nearer], closest_to[nearer] = similarity[best][nearer], best
    return [pool.placed(member) for member in chosen]


def _note_move(pool: _Pool, member: int, free: BoolArray, closest_to: Int64Array) -> None:
    """Says what diversity did: how many better-ranked items still wait, or what this one was too similar to."""
    passed = int(free[:member].sum())
    overtaken_by = int((~free[member + 1 :]).sum())
    place = int(pool.places[member])
    if passed:
        plural = "item waits" if passed == 1 else "items wait"
        pool.note(
            place, f"moved up by diversity: {passed} better ranked {plural} for being more alike to what is above"
        )
    elif overtaken_by and closest_to[member] >= 0:
        pool.note(place, f"moved down by diversity: close to {pool.title(int(closest_to[member]))!r} above")


def _with_new_item(places: list[Placed], pool: _Pool, policy: Policy, limit: int) -> list[Placed]:
    """Gives the best new item a place, unless one stands high enough already or none fits."""
    candidates = pool.ranked.candidates
    last = min(policy.new_item_place, limit)
    new = candidates.from_channel(Channel.NEW_ITEM)
    if not last or not len(new) or np.isin(candidates.rows[[each.candidate for each in places[:last]]], new).any():
        return places
    fit = dict(zip(new.tolist(), _scores_of(candidates.hits, Channel.NEW_ITEM), strict=True))
    towers = _scores_of(candidates.hits, Channel.DSSM)
    best = int(new[0])
    if not len(towers) or fit[best] < np.median(towers):
        return places
    place = int(np.flatnonzero(candidates.rows == best)[0])
    note = f"moved to place {last} by the rule for new items: nobody has seen it and its content fits"
    moved = [each for each in places if each.candidate != place]
    moved.insert(last - 1, Placed(place, notes=(note,)))
    return moved[:limit]


def _with_exploration(places: list[Placed], pool: _Pool, policy: Policy, limit: int, seed: int) -> list[Placed]:
    """Lets chance replace the item at one place, and writes down with what probability each stands there.

    Replaced, not moved down: so the places below are the same whatever chance says, and their propensity is 1.
    """
    slot = min(policy.exploration_place, limit) - 1
    drawable = _drawable(places, pool)
    if slot < 0 or slot >= len(places) or not len(drawable) or policy.exploration_probability <= 0:
        return places
    if any("rule for new items" in note for note in places[slot].notes):
        return places
    random = np.random.default_rng(seed)
    explored = list(places)
    if random.random() < policy.exploration_probability:
        drawn = int(random.choice(drawable))
        propensity = policy.exploration_probability / len(drawable)
        note = f"drawn at random out of {len(drawable)} for exploration, in place of a better ranked item"
        explored[slot] = Placed(drawn, propensity, exploration=True, notes=(note,))
    else:
        kept = places[slot]
        explored[slot] = Placed(kept.candidate, 1.0 - policy.exploration_probability, notes=kept.notes)
    return explored


def _drawable(places: list[Placed], pool: _Pool) -> Int64Array:
    """What exploration draws from: the new items that are not shown; without any, the next best of the pool."""
    candidates = pool.ranked.candidates
    shown = np.array([each.candidate for each in places])
    new = np.flatnonzero(np.isin(candidates.rows, candidates.from_channel(Channel.NEW_ITEM)))
    waiting = new[~np.isin(new, shown)]
    return waiting if len(waiting) else pool.places[~np.isin(pool.places, shown)][:EXPLORATION_POOL]


def _poorly_rated(ranked: Ranked, catalogue: Catalogue, policy: Policy) -> BoolArray:
    aggregates = catalogue.aggregates(ranked.candidates.rows)
    return np.array(
        [
            each.events >= policy.poor_rating_events and each.rating_sum < policy.poor_rating * each.events
            for each in aggregates
        ],
        np.bool_,
    )


def _categories(catalogue: Catalogue, rows: Int64Array, without: str) -> tuple[BoolArray, list[str]]:
    """bool [n, categories] over the categories that the rows have, and their names."""
    encoded = catalogue.encoded(rows).categories
    names: dict[int, str] = {}
    for row, fingerprints in zip(rows, encoded, strict=True):
        names.update(zip(fingerprints.tolist(), catalogue.items[row].facts.categories, strict=False))
    kept = [value for value, name in names.items() if value != PADDING and name != without]
    return (encoded[:, :, None] == np.array(kept, np.int64)).any(axis=1), [names[value] for value in kept]


def _scores_of(hits: tuple[ChannelHits, ...], channel: Channel) -> Float32Array:
    scores: Float32Array = np.concatenate([each.found.scores for each in hits if each.channel == channel])
    return scores


def _unit(rows: Float32Array) -> Float32Array:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: Float32Array = (rows / np.maximum(length, 1e-9)).astype(np.float32)
    return unit
