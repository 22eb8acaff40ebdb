"""Items in memory: revisions, categories, growth."""

import numpy as np
import pytest

from recommender.catalogue import FIRST_CAPACITY, NOWHERE, Catalogue, CatalogueItem, ItemActivity
from recommender.features import ItemAggregates, encode_items
from tests.unit.recommender.fakes import NOW, TENANT, film, films


@pytest.fixture
def catalogue():
    catalogue = Catalogue(TENANT)
    for item in films(8):
        catalogue.put(CatalogueItem(item, NOW, 1))
    return catalogue


@pytest.mark.parametrize(("revision", "taken"), [(1, False), (0, False), (2, True)])
def test_only_a_newer_revision_changes_an_item(catalogue, revision, taken):
    assert catalogue.put(CatalogueItem(film(1, "Opera"), NOW, revision)) is taken
    assert (catalogue.get("film-1").facts.categories == ("Opera",)) is taken


def test_an_item_that_changes_its_category_leaves_the_old_one(catalogue):
    catalogue.put(CatalogueItem(film(1, "Opera"), NOW, 2))

    assert np.flatnonzero(catalogue.in_category("Comedy")).tolist() == [5]
    assert np.flatnonzero(catalogue.in_category("Opera")).tolist() == [1]
    assert not catalogue.in_category("none such").any()


def test_rows_are_encoded_as_the_models_take_them(catalogue):
    expected = encode_items([film(2), film(6)])

    encoded = catalogue.encoded(np.array([2, 6]))

    for name in ("ids", "categories", "years", "title_tokens"):
        np.testing.assert_array_equal(getattr(encoded, name), getattr(expected, name))


def test_an_unknown_item_in_the_history_has_no_categories(catalogue):
    categories = catalogue.history_categories(["film-1", "gone"])

    assert categories[0].any()
    assert not categories[1].any()
    assert catalogue.row("gone") == NOWHERE


def test_it_grows_past_its_first_capacity_and_loses_nothing():
    catalogue = Catalogue(TENANT)
    items = films(FIRST_CAPACITY + 3)
    for item in items:
        catalogue.put(CatalogueItem(item, NOW, 1))

    last = catalogue.encoded(np.array([0, FIRST_CAPACITY + 2]))
    np.testing.assert_array_equal(last.ids, encode_items([items[0], items[-1]]).ids)
    assert catalogue.active().all()
    assert len(catalogue.changed_since(FIRST_CAPACITY)) == 3


def test_activity_of_an_item_that_is_not_here_changes_nothing(catalogue):
    catalogue.learn([ItemActivity("gone", ItemAggregates(1, 4.0, 1, 0))], {"all": [("gone", 1.0), ("film-3", 1.0)]})

    assert catalogue.popular("all").rows.tolist() == [3]
    assert catalogue.without_events().all()
