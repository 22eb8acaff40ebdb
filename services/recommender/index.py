"""The FAISS indexes: one for each tenant and version of the item tower that may be asked for.

A user's vector may only be compared with item vectors of the same training: so an index carries its tower's version,
and an answer of the user tower is looked up in the index of the version that answered, stable or canary.
"""

import asyncio
import logging
import time

import faiss
import numpy as np

from recommender.catalogue import NOTHING, BoolArray, Catalogue, Catalogues, Ranking
from recommender.features import VECTOR, Float32Array, Int64Array, dssm_item_inputs
from recommender.ports import ItemTower, ModelUnavailable

BATCH = 512
"""Items sent to the item tower in one call: 512 rows of 16 int64 are 64 KiB."""

_log = logging.getLogger(__name__)


class TowerIndex:
    """One tenant's item vectors by one version of the item tower. FAISS ids are catalogue rows.

    Exact search (inner product of unit vectors), 300 of them: 0.06 ms among MovieLens-100K's 1,682 items, 0.25 ms among
    20,000, 5 ms among 200,000; from there on an HNSW index, or Milvus, behind this class is the better choice.
    """

    def __init__(self, tenant: str, version: str) -> None:
        self.tenant = tenant
        self.version = version
        self._built_at = time.monotonic()
        self.change = 0
        """The last change of the catalogue that is in here."""
        self.vectors: Float32Array = np.zeros((0, VECTOR), np.float32)
        self.present: BoolArray = np.zeros(0, np.bool_)
        self._faiss = faiss.IndexIDMap2(faiss.IndexFlatIP(VECTOR))

    def __len__(self) -> int:
        return int(self._faiss.ntotal)

    @property
    def age_seconds(self) -> float:
        """Since the index was built."""
        return time.monotonic() - self._built_at

    def put(self, rows: Int64Array, vectors: Float32Array) -> None:
        """Adds the vectors of `rows`, in place of older ones."""
        if not len(rows):
            return
        self._reach(int(rows.max()) + 1)
        replaced = rows[self.present[rows]]
        if len(replaced):
            self._faiss.remove_ids(replaced)  # type: ignore[arg-type]  # faiss wraps it for numpy
        self._faiss.add_with_ids(np.ascontiguousarray(vectors), rows)
        self.vectors[rows] = vectors
        self.present[rows] = True

    def search(self, vector: Float32Array, count: int, allowed: BoolArray) -> Ranking:
        """The `count` allowed rows nearest to `vector` (float32 [64]), best first, with their cosines."""
        bits = np.packbits(allowed, bitorder="little")
        only = faiss.SearchParameters(sel=faiss.IDSelectorBitmap(bits))  # type: ignore[call-arg, arg-type]
        scores, rows = self._faiss.search(vector[None, :], count, params=only)
        found = rows[0] >= 0
        return Ranking(rows[0][found], scores[0][found])

    def similar(self, vector: Float32Array, rows: Int64Array) -> Ranking:
        """The given rows that are in the index, nearest to `vector` first."""
        if not len(rows):
            return NOTHING
        self._reach(int(rows.max()) + 1)
        rows = rows[self.present[rows]]
        scores = self.vectors[rows] @ vector
        order = np.argsort(-scores, kind="stable")
        return Ranking(rows[order], scores[order])

    def vectors_of(self, rows: Int64Array) -> Float32Array:
        """float32 [n, 64]; zeros for a row that is not in the index."""
        if len(rows):
            self._reach(int(rows.max()) + 1)
        return self.vectors[rows]

    def _reach(self, rows: int) -> None:
        missing = rows - len(self.present)
        if missing > 0:
            more = max(missing, len(self.present))
            self.vectors = np.concatenate([self.vectors, np.zeros((more, VECTOR), np.float32)])
            self.present = np.concatenate([self.present, np.zeros(more, np.bool_)])


class Indexes:
    """The indexes that may answer now. An index enters when it is whole, in one assignment, and leaves the same way."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], TowerIndex] = {}

    def get(self, tenant: str, version: str) -> TowerIndex | None:
        """The tenant's index of this tower version."""
        return self._kept.get((tenant, version))

    def any_of(self, tenant: str) -> TowerIndex | None:
        """The tenant's index that was put in last; None without one."""
        return next((index for index in reversed(self._kept.values()) if index.tenant == tenant), None)

    def all(self) -> list[TowerIndex]:
        """Every index."""
        return list(self._kept.values())

    def put(self, index: TowerIndex) -> None:
        """Lets `index` answer from now on, in place of the one of its tenant and version."""
        self._kept[index.tenant, index.version] = index

    def drop(self, index: TowerIndex) -> None:
        """Takes an index out."""
        self._kept.pop((index.tenant, index.version), None)


class IndexKeeper:
    """Builds an index for each tower version that may answer, keeps it up to the catalogue, drops what no one asks for.

    An index that has just been made differs from one that missed an item only in how many rows it has to catch up
    with, so building, adding a new item and healing after an outage of the item tower are the same code.
    """

    def __init__(self, catalogues: Catalogues, tower: ItemTower, indexes: Indexes, poll_seconds: float) -> None:
        self._catalogues = catalogues
        self._tower = tower
        self._indexes = indexes
        self._poll_seconds = poll_seconds
        self._wake = asyncio.Event()
        self._working = asyncio.Lock()

    def wake(self) -> None:
        """Something has changed: look now, not at the next poll."""
        self._wake.set()

    async def run(self) -> None:
        """Keeps the indexes until cancelled."""
        while True:
            self._wake.clear()
            try:
                await self.refresh()
            except ModelUnavailable as error:
                _log.warning("the indexes are not refreshed now: %s", error)
            try:
                await asyncio.wait_for(self._wake.wait(), self._poll_seconds)
            except TimeoutError:
                continue

    async def refresh(self) -> None:
        """Makes the indexes what the tower's versions and the catalogues ask for. Raises ModelUnavailable."""
        versions = await self._tower.tower_versions()
        async with self._working:
            for catalogue in self._catalogues.all():
                for version in versions:
                    index = self._indexes.get(catalogue.tenant, version)
                    if index is None:
                        await self._build(catalogue, version)
                    else:
                        await self._catch_up(index, catalogue)
            for index in self._indexes.all():
                # Without a successor an index stays, whatever happens to its tower: its vectors still tell items apart.
                successors = [self._indexes.get(index.tenant, version) for version in versions]
                if index.version not in versions and any(successors):
                    self._indexes.drop(index)

    async def catch_up(self, tenant: str) -> None:
        """Brings the tenant's indexes up to its catalogue: what was just put in can be recalled when this returns.

        Raises ModelUnavailable; `run` tries again.
        """
        if self._indexes.any_of(tenant) is None:
            await self.refresh()
        async with self._working:
            for index in self._indexes.all():
                if index.tenant == tenant:
                    await self._catch_up(index, self._catalogues.of(tenant))

    async def _build(self, catalogue: Catalogue, version: str) -> None:
        started = time.perf_counter()
        index = TowerIndex(catalogue.tenant, version)
        await self._catch_up(index, catalogue)
        self._indexes.put(index)
        seconds = round(time.perf_counter() - started, 3)
        _log.info("index of tower %s for tenant %s: %d items in %s s", version, index.tenant, len(index), seconds)

    async def _catch_up(self, index: TowerIndex, catalogue: Catalogue) -> None:
        until = catalogue.change
        rows = catalogue.changed_since(index.change)
        for start in range(0, len(rows), BATCH):
            batch = rows[start : start + BATCH]
            vectors = await self._tower.item_vectors(dssm_item_inputs(catalogue.encoded(batch)), index.version)
            index.put(batch, vectors.values)
        index.change = until
