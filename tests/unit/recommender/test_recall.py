"""The channels one by one, and their merge."""

import numpy as np
import pytest

from recommender.catalogue import ItemActivity, Ranking
from recommender.features import VECTOR, Interaction, ItemAggregates
from recommender.index import TowerIndex
from recommender.ports import Visitor
from recommender.recall import Channel, ChannelHits, Query, item_to_item, merge, popular
from tests.unit.recommender.fakes import NOW, TENANT, catalogues_of, films


@pytest.fixture
def catalogue():
    """Four films: film-0 is a neighbour of film-1 and film-2; ten visitors each."""
    catalogue = catalogues_of(films(4)).of(TENANT)
    ten = ItemAggregates(10, 40.0, 10, 0)
    catalogue.learn(
        [
            ItemActivity("film-0", ten, (("film-1", 4.0), ("film-2", 8.0))),
            ItemActivity("film-1", ten, (("film-0", 4.0),)),
            ItemActivity("film-2", ten, (("film-0", 8.0), ("gone", 5.0))),
        ],
        {"all": [("film-3", 9.0), ("film-0", 3.0)], "25-34/F": [("film-1", 2.0), ("film-3", 1.0)]},
    )
    return catalogue


def everything(catalogue):
    return np.ones(len(catalogue), np.bool_)


def liked(*items: str) -> Visitor:
    return Visitor(TENANT, "ana", history=tuple(Interaction("ana", item, 4.0, "click", NOW) for item in items))


def test_neighbours_are_scored_by_shrunk_cosine(catalogue):
    neighbours = catalogue.neighbours(0)

    assert neighbours.rows.tolist() == [2, 1]
    np.testing.assert_allclose(neighbours.scores, [8 / 20, 4 / 20])


def test_item_to_item_adds_up_its_sources_and_names_the_strongest(catalogue):
    hits = item_to_item(liked("film-1", "film-2"), catalogue, everything(catalogue), 10)

    assert hits.found.rows.tolist() == [0]
    np.testing.assert_allclose(hits.found.scores, [0.2 + 0.4 * 0.85])
    assert hits.because_of.tolist() == [2]


def test_item_to_item_starts_from_what_was_liked(catalogue):
    disliked = Visitor(TENANT, "ana", history=(Interaction("ana", "film-2", 1.0, "dislike", NOW),))

    assert not len(item_to_item(disliked, catalogue, everything(catalogue), 10).found.rows)


def test_a_segments_list_is_filled_up_with_everyones(catalogue):
    hits = popular(Visitor(TENANT, "eve", segment="25-34/F"), catalogue, everything(catalogue), 10)

    assert hits.found.rows.tolist() == [1, 3, 0]


def test_what_is_not_allowed_is_in_no_channel(catalogue):
    allowed = np.array([False, True, True, False])

    assert not len(item_to_item(liked("film-1"), catalogue, allowed, 10).found.rows)
    assert popular(Visitor(TENANT), catalogue, allowed, 10).found.rows.tolist() == []


def hits(channel: Channel, *rows: int) -> ChannelHits:
    return ChannelHits(channel, Ranking(np.array(rows, np.int64), np.ones(len(rows), np.float32)))


def test_an_item_counts_once_and_stands_higher_when_two_channels_found_it():
    rows, scores = merge([hits(Channel.DSSM, 1, 2, 3), hits(Channel.POPULAR, 9, 3)], 10)

    assert rows.tolist() == [3, 1, 9, 2]
    assert scores[0] == pytest.approx(1 / 63 + 1 / 62)


def test_what_a_quota_brought_is_not_crowded_out_by_the_longest_channel():
    rows, _ = merge([hits(Channel.DSSM, *range(100)), hits(Channel.NEW_ITEM, 200, 201)], 10)

    assert len(rows) == 10
    assert {200, 201} <= set(rows.tolist())
    assert set(rows.tolist()) - {200, 201} == set(range(8))


def test_nothing_found_is_an_empty_list():
    assert merge([hits(Channel.DSSM), hits(Channel.POPULAR)], 10)[0].tolist() == []


def test_a_query_knows_its_cosine_with_every_candidate():
    index = TowerIndex(TENANT, "1")
    index.put(np.array([0, 2]), np.eye(2, VECTOR, dtype=np.float32))
    query = Query(np.full(VECTOR, 0.5, np.float32), index)

    assert query.similarities(np.array([2, 0, 1])).tolist() == [0.5, 0.5, 0.0]


@pytest.mark.parametrize("query", [Query(), Query(index=TowerIndex(TENANT, "1"))], ids=["nothing", "no vector"])
def test_without_the_user_tower_no_candidate_is_similar(query):
    assert query.similarities(np.array([2, 0, 1])).tolist() == [0.0, 0.0, 0.0]
