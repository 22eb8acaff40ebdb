"""A tenant's items in process memory, one row an item, encoded once: a request gathers numpy rows and nothing else.

What an item *is* comes from the table and then the topic `catalogue.items.v1` (events.py); what *happens* to it, its
aggregates, its neighbours and the popular lists, comes from the online store, a few changed items at a time.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from recommender.features import (
    EVERYONE,
    MAX_CATEGORIES,
    TITLE_TOKENS,
    EncodedItems,
    Float32Array,
    Int64Array,
    ItemAggregates,
    ItemFacts,
    encode_items,
)
from recommender.ports import OnlineStoreUnavailable

BoolArray = NDArray[np.bool_]

FIRST_CAPACITY = 1024
NEIGHBOUR_SHRINKAGE = 10.0
"""Imagined events added to a pair's expected count: two items that share one visitor are no neighbours yet."""
NOWHERE = -1
"""The row of an item that this catalogue does not have."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CatalogueItem:
    """An item as it stands in the table and on the topic."""

    facts: ItemFacts
    created_at: datetime
    revision: int
    retired: bool = False


@dataclass(frozen=True, slots=True)
class ItemActivity:
    """What visitors did with an item; `neighbours` are (item id, visitors who liked both), most first."""

    item_id: str
    aggregates: ItemAggregates
    neighbours: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Ranking:
    """Rows, best first, with their scores: int64 [k] and float32 [k]."""

    rows: Int64Array
    scores: Float32Array


NOTHING = Ranking(np.zeros(0, np.int64), np.zeros(0, np.float32))


class Catalogue:
    """One tenant's items. Written and read on the event loop alone, so a request sees one state.

    A row is never given to another item: a retired item keeps its row and is no longer `active`.
    """

    def __init__(self, tenant: str) -> None:
        self.tenant = tenant
        self.items: list[CatalogueItem] = []
        self.change = 0
        """Grows with every change of an item; an index knows by it what it has missed."""
        self._row_of: dict[str, int] = {}
        self._rows_of_category: dict[str, set[int]] = {}
        self._aggregates: list[ItemAggregates] = []
        self._neighbours: dict[int, Ranking] = {}
        self._neighbour_counts: dict[int, tuple[tuple[str, float], ...]] = {}
        self._popular: dict[str, Ranking] = {}
        self._encoded = _empty(FIRST_CAPACITY)
        self._active: BoolArray = np.zeros(FIRST_CAPACITY, np.bool_)
        self._events: Int64Array = np.zeros(FIRST_CAPACITY, np.int64)
        self._changed_at: Int64Array = np.zeros(FIRST_CAPACITY, np.int64)

    def __len__(self) -> int:
        return len(self.items)

    def put(self, item: CatalogueItem) -> bool:
        """Takes an item in its newer state; False where a newer one (or this one) is here already."""
        row = self._row_of.get(item.facts.item_id)
        if row is None:
            row = self._append(item)
        elif item.revision <= self.items[row].revision:
            return False
        else:
            for category in self.items[row].facts.categories:
                self._rows_of_category[category].discard(row)
            self.items[row] = item
        for category in item.facts.categories:
            self._rows_of_category.setdefault(category, set()).add(row)
        encoded = encode_items([item.facts])
        for column, value in zip(_columns(self._encoded), _columns(encoded), strict=True):
            column[row] = value[0]
        self._active[row] = not item.retired
        self.change += 1
        self._changed_at[row] = self.change
        return True

    def row(self, item_id: str) -> int:
        """The item's row, or `NOWHERE`."""
        return self._row_of.get(item_id, NOWHERE)

    def rows(self, item_ids: Iterable[str]) -> Int64Array:
        """The rows of those items that are here: int64 [at most n]."""
        found = (self._row_of.get(item_id, NOWHERE) for item_id in item_ids)
        return np.fromiter((row for row in found if row != NOWHERE), np.int64)

    def get(self, item_id: str) -> CatalogueItem | None:
        """The item, retired or not; None where there is none."""
        row = self._row_of.get(item_id)
        return None if row is None else self.items[row]

    def changed_since(self, change: int) -> Int64Array:
        """The rows that changed after `change`."""
        return np.flatnonzero(self._changed_at[: len(self)] > change)

    def encoded(self, rows: Int64Array) -> EncodedItems:
        """The items at `rows` as the models take them."""
        return self._encoded.take(rows)

    def history_categories(self, item_ids: Sequence[str]) -> Int64Array:
        """int64 [n, 6]: the encoded categories of the items, zeros for one that is not here."""
        rows = np.fromiter((self._row_of.get(item_id, NOWHERE) for item_id in item_ids), np.int64, len(item_ids))
        categories = self._encoded.categories[rows]
        categories[rows == NOWHERE] = 0
        return categories

    def aggregates(self, rows: Int64Array) -> list[ItemAggregates]:
        """What has been done with the items at `rows`."""
        return [self._aggregates[row] for row in rows]

    def active(self) -> BoolArray:
        """bool [items]: a fresh mask of the items that may be recalled."""
        return self._active[: len(self)].copy()

    def without_events(self) -> BoolArray:
        """bool [items]: nobody has done anything with these items yet."""
        return np.equal(self._events[: len(self)], 0)

    def in_category(self, category: str) -> BoolArray:
        """bool [items]: which items have the category."""
        mask = np.zeros(len(self), np.bool_)
        mask[list(self._rows_of_category.get(category, ()))] = True
        return mask

    def popular(self, segment: str) -> Ranking:
        """What the segment likes most, most first."""
        return self._popular.get(segment, NOTHING)

    def neighbours(self, row: int) -> Ranking:
        """The items that the same visitors like, best first; scores from 0 to 1.

        The score is the cosine of the two items' visitor sets, shrunk: shared / (sqrt(events a * events b) + 10).
        """
        kept = self._neighbours.get(row)
        if kept is None:
            kept = self._neighbours[row] = self._scored_neighbours(row)
        return kept

    def learn(self, activities: Iterable[ItemActivity], popular: Mapping[str, Sequence[tuple[str, float]]]) -> None:
        """Takes in what happened to some items, and the popular lists that it led to."""
        for activity in activities:
            row = self._row_of.get(activity.item_id)
            if row is None:  # an event about an item that the catalogue does not have (yet)
                continue
            self._aggregates[row] = activity.aggregates
            self._events[row] = activity.aggregates.events
            self._neighbour_counts[row] = activity.neighbours
            self._neighbours.pop(row, None)
        for segment, entries in popular.items():
            self._popular[segment] = self._ranking(entries)

    def popular_or_everyones(self, segment: str) -> list[Ranking]:
        """The segment's list, then everyone's, which fills up what a small segment lacks."""
        segments = [segment] if segment == EVERYONE else [segment, EVERYONE]
        return [self.popular(each) for each in segments]

    def _append(self, item: CatalogueItem) -> int:
        row = len(self.items)
        if row == len(self._active):
            self._grow()
        self.items.append(item)
        self._aggregates.append(ItemAggregates())
        self._row_of[item.facts.item_id] = row
        return row

    def _grow(self) -> None:
        more = len(self._active)
        self._encoded = EncodedItems(
            *(
                np.concatenate([old, new])
                for old, new in zip(_columns(self._encoded), _columns(_empty(more)), strict=True)
            )
        )
        self._active = np.concatenate([self._active, np.zeros(more, np.bool_)])
        self._events = np.concatenate([self._events, np.zeros(more, np.int64)])
        self._changed_at = np.concatenate([self._changed_at, np.zeros(more, np.int64)])

    def _ranking(self, entries: Sequence[tuple[str, float]]) -> Ranking:
        found = [(self._row_of[item_id], score) for item_id, score in entries if item_id in self._row_of]
        rows = np.array([row for row, _ in found], np.int64)
        return Ranking(rows, np.array([score for _, score in found], np.float32))

    def _scored_neighbours(self, row: int) -> Ranking:
        shared = self._ranking(self._neighbour_counts.get(row, ()))
        expected = np.sqrt(self._events[row] * self._events[shared.rows]) + NEIGHBOUR_SHRINKAGE
        scores = (shared.scores / expected).astype(np.float32)
        order = np.argsort(-scores, kind="stable")
        return Ranking(shared.rows[order], scores[order])


class Catalogues:
    """Every tenant's catalogue. A tenant begins with its first item."""

    def __init__(self) -> None:
        self._by_tenant: dict[str, Catalogue] = {}

    def of(self, tenant: str) -> Catalogue:
        """The tenant's catalogue, an empty one where it has none."""
        return self._by_tenant.get(tenant) or Catalogue(tenant)

    def put(self, tenant: str, item: CatalogueItem) -> bool:
        """Takes an item in its newer state; says whether it changed anything."""
        return self._by_tenant.setdefault(tenant, Catalogue(tenant)).put(item)

    def all(self) -> list[Catalogue]:
        """The catalogues that have items."""
        return list(self._by_tenant.values())


def _columns(encoded: EncodedItems) -> tuple[Int64Array, Int64Array, Int64Array, Int64Array]:
    return encoded.ids, encoded.categories, encoded.years, encoded.title_tokens


def _empty(rows: int) -> EncodedItems:
    return EncodedItems(
        np.zeros((rows, 1), np.int64),
        np.zeros((rows, MAX_CATEGORIES), np.int64),
        np.zeros((rows, 1), np.int64),
        np.zeros((rows, TITLE_TOKENS), np.int64),
    )


@dataclass(frozen=True, slots=True)
class Activity:
    """What happened to items after a moment; `until` is the moment to go on from."""

    items: tuple[ItemActivity, ...]
    popular: Mapping[str, Sequence[tuple[str, float]]]
    until: float


class ActivitySource(Protocol):
    """Where behaviour is counted; Redis in life (online_features.py)."""

    async def activity(self, tenant: str, since: float) -> Activity:
        """What happened to the tenant's items after `since` (0: ever). Raises OnlineStoreUnavailable."""


class ActivityFollower:
    """Brings aggregates, neighbours and popular lists up to what visitors do, reading only what has changed."""

    def __init__(self, catalogues: Catalogues, source: ActivitySource, every_seconds: float) -> None:
        self._catalogues = catalogues
        self._source = source
        self._every_seconds = every_seconds
        self._until: dict[str, float] = {}

    async def run(self) -> None:
        """Follows until cancelled. While the source does not answer, what is known stays."""
        while True:
            try:
                await self.refresh()
            except OnlineStoreUnavailable as error:
                _log.warning("items' aggregates are not refreshed now: %s", error)
            await asyncio.sleep(self._every_seconds)

    async def refresh(self) -> None:
        """Reads what has changed since the last time. Raises OnlineStoreUnavailable."""
        for catalogue in self._catalogues.all():
            activity = await self._source.activity(catalogue.tenant, self._until.get(catalogue.tenant, 0.0))
            catalogue.learn(activity.items, activity.popular)
            self._until[catalogue.tenant] = activity.until
