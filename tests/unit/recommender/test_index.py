"""Indexes: each of one tower version, whole before it answers, never behind the catalogue for long."""

import asyncio

import numpy as np
import pytest

from recommender.catalogue import CatalogueItem
from recommender.index import TowerIndex
from recommender.ports import ModelUnavailable
from tests.unit.recommender.fakes import NOW, TENANT, Cinema, film, films


def unit_vectors(count: int, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((count, 64)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_search_finds_the_nearest_allowed_rows():
    vectors = unit_vectors(2000)
    index = TowerIndex(TENANT, "1")
    index.put(np.arange(2000), vectors)
    allowed = np.random.default_rng(1).random(2000) < 0.5

    found = index.search(vectors[7], 20, allowed)

    cosines = np.where(allowed, vectors @ vectors[7], -2.0)
    assert found.rows.tolist() == np.argsort(-cosines)[:20].tolist()
    np.testing.assert_allclose(found.scores, np.sort(cosines)[::-1][:20], rtol=1e-5)


def test_a_row_that_is_put_again_is_replaced():
    index = TowerIndex(TENANT, "1")
    old, new = unit_vectors(2)
    index.put(np.array([5]), old[None])
    index.put(np.array([5]), new[None])

    assert len(index) == 1
    np.testing.assert_allclose(index.search(new, 1, np.ones(6, np.bool_)).scores, [1.0], rtol=1e-5)
    np.testing.assert_array_equal(index.vectors_of(np.array([5, 900])), [new, np.zeros(64)])


async def test_every_version_gets_its_index_and_loses_it_with_its_tower():
    cinema = Cinema(films(30))
    cinema.models.loaded = ["1", "2"]
    await cinema.keeper.refresh()
    assert {index.version for index in cinema.indexes.all()} == {"1", "2"}

    cinema.models.loaded = ["1"]
    await cinema.keeper.refresh()
    assert {index.version for index in cinema.indexes.all()} == {"1"}


async def test_the_last_index_stays_when_its_tower_is_gone():
    cinema = await Cinema(films(30)).open()
    cinema.models.loaded = []
    await cinema.keeper.refresh()

    assert len(cinema.indexes.all()) == 1


async def test_an_index_answers_only_when_it_is_whole():
    cinema = Cinema(films(30))
    building = asyncio.create_task(cinema.keeper.refresh())
    while not building.done():
        assert all(len(index) == 30 for index in cinema.indexes.all())
        await asyncio.sleep(0)

    assert len(cinema.indexes.get(TENANT, "1")) == 30


async def test_an_item_that_comes_while_an_index_is_built_is_in_it_after_the_next_look():
    cinema = Cinema(films(30))
    building = asyncio.create_task(cinema.keeper.refresh())
    await asyncio.sleep(0)
    cinema.catalogues.put(TENANT, CatalogueItem(film(99), NOW, 1))
    await building
    await cinema.keeper.catch_up(TENANT)

    assert len(cinema.indexes.get(TENANT, "1")) == 31


async def test_what_the_tower_missed_while_it_was_away_is_made_up_for():
    cinema = await Cinema(films(30)).open()
    cinema.models.fail.add("dssm_item")
    cinema.catalogues.put(TENANT, CatalogueItem(film(99), NOW, 1))
    with pytest.raises(ModelUnavailable):
        await cinema.keeper.catch_up(TENANT)

    cinema.models.fail.clear()
    await cinema.keeper.refresh()

    assert cinema.indexes.get(TENANT, "1").present[cinema.catalogue.row("film-99")]


async def test_only_what_changed_is_sent_to_the_tower_again():
    cinema = await Cinema(films(30)).open()
    calls = len(cinema.models.calls)
    await cinema.keeper.catch_up(TENANT)

    assert len(cinema.models.calls) == calls


async def test_a_tenants_first_item_makes_its_index():
    cinema = await Cinema(films(3)).open()
    cinema.catalogues.put("other", CatalogueItem(film(1), NOW, 1))
    await cinema.keeper.catch_up("other")

    assert len(cinema.indexes.get("other", "1")) == 1
