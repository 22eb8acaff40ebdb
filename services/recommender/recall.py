"""Recall: from the whole catalogue to a few hundred candidates, over four channels that know different things.

| channel | knows | works without |
|---|---|---|
| DSSM | the visitor's vector against every item's, by FAISS | behaviour of others |
| item-to-item | what visitors who liked the same items like | models |
| popular | what the visitor's segment likes most | any history |
| new items | items that nobody has touched, by their content's vector | any event about the item |

Merging: an item counts once; the three smaller channels have quotas; DSSM fills up the rest, or popular where there is
no vector. The recall order is reciprocal rank fusion (Cormack, Clarke and Buettcher, SIGIR 2009): the sum over channels
of 1 / (60 + rank); it is what the answer falls back to when there is no ranker.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from recommender.catalogue import NOTHING, NOWHERE, BoolArray, Catalogue, Ranking
from recommender.features import LIKED, Float32Array, Int64Array, dssm_user_inputs, encode_history
from recommender.index import Indexes, TowerIndex
from recommender.ports import ModelUnavailable, UserTower, Vectors, Visitor

FUSION_CONSTANT = 60.0
SOURCES = 10
"""The newest liked items that item-to-item starts from."""
RECENCY = 0.85
"""What a source weighs against the one after it (the next newer): a tenth of it is left at the tenth."""


class Channel(IntEnum):
    """Where a candidate comes from; the values are those of `casebook.recommender.v1.Channel`."""

    DSSM = 1
    ITEM_TO_ITEM = 2
    POPULAR = 3
    NEW_ITEM = 4


@dataclass(frozen=True, slots=True)
class Quotas:
    """How many candidates there may be in all, and from each of the smaller channels."""

    candidates: int = 300
    item_to_item: int = 80
    popular: int = 40
    new_items: int = 20


@dataclass(frozen=True, slots=True)
class ChannelHits:
    """What one channel found, best first; `because_of` (int64 [k]) is the row that led to each, for item-to-item."""

    channel: Channel
    found: Ranking
    because_of: Int64Array | None = None


@dataclass(frozen=True, slots=True)
class Query:
    """The visitor's vector and the index that it may be compared with; both None when there is no such pair."""

    vector: Float32Array | None = None
    index: TowerIndex | None = None
    user_tower: str = ""
    degraded: tuple[str, ...] = ()

    def similarities(self, rows: Int64Array) -> Float32Array:
        """The visitor's cosine with the items at `rows`: float32 [n]; 0 without a vector, or without the item's."""
        if self.vector is None or self.index is None:
            return np.zeros(len(rows), np.float32)
        return self.index.vectors_of(rows) @ self.vector


@dataclass(frozen=True, slots=True)
class Candidates:
    """The union of the channels in recall order: `rows` int64 [n], `scores` float32 [n] (the fused ones)."""

    rows: Int64Array
    scores: Float32Array
    hits: tuple[ChannelHits, ...]
    query: Query

    def __len__(self) -> int:
        return len(self.rows)

    def from_channel(self, channel: Channel) -> Int64Array:
        """The rows that a channel brought, whether or not others brought them too."""
        return np.concatenate([NOTHING.rows, *(hits.found.rows for hits in self.hits if hits.channel == channel)])


class Recall:
    """The four channels and their merge."""

    def __init__(self, tower: UserTower, indexes: Indexes) -> None:
        self._tower = tower
        self._indexes = indexes

    async def candidates(
        self, visitor: Visitor, catalogue: Catalogue, allowed: BoolArray, quotas: Quotas
    ) -> Candidates:
        """At most `quotas.candidates` of the rows that `allowed` (bool [items]) lets in. Never raises."""
        query = await self._query(visitor)
        # The catalogue may have grown while the tower was asked: what came since then is not in this answer.
        allowed = np.pad(allowed, (0, len(catalogue) - len(allowed)))
        hits = (
            by_vector(query, allowed, quotas.candidates),
            item_to_item(visitor, catalogue, allowed, quotas.item_to_item),
            popular(visitor, catalogue, allowed, quotas.candidates if query.vector is None else quotas.popular),
            new_items(query, catalogue, allowed, quotas.new_items),
        )
        rows, scores = merge(hits, quotas.candidates)
        return Candidates(rows, scores, hits, query)

    async def _query(self, visitor: Visitor) -> Query:
        """Asks the user tower; an answer of a version that has no index yet is asked again of one that has."""
        try:
            answer = await self._vector(visitor)
            index = self._indexes.get(visitor.tenant, answer.version)
            if index is not None:
                return Query(answer.values[0], index, answer.version)
            older = self._indexes.any_of(visitor.tenant)
            if older is None:
                return Query(degraded=(f"recall: there is no index of user tower {answer.version} yet",))
            why = f"recall: no index of user tower {answer.version} yet, asked version {older.version}"
            answer = await self._vector(visitor, older.version)
            return Query(answer.values[0], older, answer.version, (why,))
        except ModelUnavailable as error:
            # The vectors of the last index still tell the items apart in re-ranking.
            return Query(index=self._indexes.any_of(visitor.tenant), degraded=(f"recall without user tower: {error}",))

    async def _vector(self, visitor: Visitor, version: str = "") -> Vectors:
        history = encode_history([(each.item_id, each.rating) for each in visitor.history])
        return await self._tower.user_vector(dssm_user_inputs(history, visitor.profile), visitor.key, version)


def by_vector(query: Query, allowed: BoolArray, count: int) -> ChannelHits:
    """The items nearest to the visitor, by the two towers."""
    if query.vector is None or query.index is None:
        return ChannelHits(Channel.DSSM, NOTHING)
    return ChannelHits(Channel.DSSM, query.index.search(query.vector, count, allowed))


def item_to_item(visitor: Visitor, catalogue: Catalogue, allowed: BoolArray, count: int) -> ChannelHits:
    """The neighbours of what the visitor liked last; a newer source weighs more, several sources add up."""
    liked = [catalogue.row(each.item_id) for each in visitor.history if each.rating >= LIKED]
    sources = [row for row in liked if row != NOWHERE][:SOURCES]
    lists = [catalogue.neighbours(row) for row in sources]
    if not sum(len(each.rows) for each in lists):
        return ChannelHits(Channel.ITEM_TO_ITEM, NOTHING)
    rows = np.concatenate([each.rows for each in lists])
    weighted = np.concatenate([each.scores * RECENCY**age for age, each in enumerate(lists)])
    source = np.repeat(sources, [len(each.rows) for each in lists])
    strongest_first = np.argsort(-weighted, kind="stable")
    targets, first, place = np.unique(rows[strongest_first], return_index=True, return_inverse=True)
    scores = np.bincount(place, weighted[strongest_first]).astype(np.float32)
    because_of = source[strongest_first][first]
    best = np.argsort(-scores, kind="stable")
    best = best[allowed[targets[best]]][:count]
    return ChannelHits(Channel.ITEM_TO_ITEM, Ranking(targets[best], scores[best]), because_of[best])


def popular(visitor: Visitor, catalogue: Catalogue, allowed: BoolArray, count: int) -> ChannelHits:
    """What the visitor's segment likes most, filled up with what everyone does."""
    lists = catalogue.popular_or_everyones(visitor.segment)
    rows = np.concatenate([each.rows for each in lists])
    scores = np.concatenate([each.scores for each in lists])
    _, first = np.unique(rows, return_index=True)
    kept = np.sort(first)
    kept = kept[allowed[rows[kept]]][:count]
    return ChannelHits(Channel.POPULAR, Ranking(rows[kept], scores[kept]))


def new_items(query: Query, catalogue: Catalogue, allowed: BoolArray, count: int) -> ChannelHits:
    """Items without a single event, nearest to the visitor by the content that their vector is made of."""
    if query.vector is None or query.index is None:
        return ChannelHits(Channel.NEW_ITEM, NOTHING)
    found = query.index.similar(query.vector, np.flatnonzero(allowed & catalogue.without_events()))
    return ChannelHits(Channel.NEW_ITEM, Ranking(found.rows[:count], found.scores[:count]))


def merge(hits: Sequence[ChannelHits], count: int) -> tuple[Int64Array, Float32Array]:
    """Rows int64 [n] in recall order, n at most `count`, with their fused scores float32 [n].

    What a channel with a quota brought stays, so that no channel is crowded out by the longest one; of the longest
    (DSSM, or popular where it stands in) the best are taken that there is room for.
    """
    longest = max(hits, key=lambda each: len(each.found.rows))
    quota_rows = np.concatenate([NOTHING.rows, *(each.found.rows for each in hits if each is not longest)])
    filling = longest.found.rows[~np.isin(longest.found.rows, quota_rows)]
    room = max(0, count - len(np.unique(quota_rows)))
    kept = np.concatenate([quota_rows, filling[:room]])

    found = np.concatenate([each.found.rows for each in hits])
    ranks = np.concatenate([np.arange(1, 1 + len(each.found.rows)) for each in hits])
    rows, place = np.unique(found, return_inverse=True)
    fused = np.bincount(place, 1.0 / (FUSION_CONSTANT + ranks), len(rows))
    mine = np.isin(rows, kept)
    rows, fused = rows[mine], fused[mine]
    order = np.argsort(-fused, kind="stable")[:count]
    return rows[order], fused[order].astype(np.float32)
