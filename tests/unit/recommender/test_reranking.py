"""What re-ranking moves, why, and with what probability."""

from dataclasses import replace

import numpy as np
import pytest

from recommender.catalogue import CatalogueItem, ItemActivity, Ranking
from recommender.features import ItemAggregates
from recommender.index import TowerIndex
from recommender.ports import Visitor
from recommender.ranking import Ranked, RankingFeatures
from recommender.recall import Candidates, Channel, ChannelHits, Query
from recommender.reranking import Policy, allowed_items, rerank
from tests.unit.recommender.fakes import NOW, TENANT, catalogues_of, film, films

PLAIN = Policy(relevance=1.0, category_share=1.0, new_item_place=0, exploration_probability=0.0)
"""Leaves the ranker's order as it is; each test turns on what it is about."""
COUNT = 40


@pytest.fixture
def catalogue():
    return catalogues_of(films(COUNT)).of(TENANT)


def ranked(catalogue, scores=None, new=(), vectors=None) -> Ranked:
    """The whole catalogue as candidates, best first unless `scores` says otherwise."""
    rows = np.arange(len(catalogue))
    scores = np.linspace(0.9, 0.1, len(catalogue), dtype=np.float32) if scores is None else scores
    index = TowerIndex(TENANT, "1")
    if vectors is not None:
        index.put(rows, vectors)
    hits = (
        ChannelHits(Channel.DSSM, Ranking(rows, np.full(len(rows), 0.5, np.float32))),
        ChannelHits(Channel.NEW_ITEM, Ranking(np.array(new, np.int64), np.full(len(new), 0.6, np.float32))),
    )
    candidates = Candidates(rows, scores, hits, Query(index=index if vectors is not None else None))
    return Ranked(candidates, scores, RankingFeatures({}, np.zeros((len(rows), 10), np.float32)), "1")


def places(placed) -> list[int]:
    return [each.candidate for each in placed]


def test_without_rules_the_rankers_order_stands(catalogue):
    assert places(rerank(ranked(catalogue), catalogue, PLAIN, limit=10, seed=1)) == list(range(10))


def test_seen_excluded_retired_and_other_categories_take_no_part(catalogue):
    catalogue.put(CatalogueItem(film(3), NOW, 2, retired=True))
    visitor = Visitor(TENANT, "ana", seen=frozenset({"film-7", "not in the catalogue"}))

    allowed = allowed_items(catalogue, visitor, excluded=["film-11"], category="Horror")

    assert np.flatnonzero(allowed).tolist() == list(range(15, COUNT, 4))


def test_no_category_fills_more_than_its_share(catalogue):
    scores = np.where(np.arange(COUNT) % 4 == 0, 0.9, 0.1).astype(np.float32)

    placed = rerank(ranked(catalogue, scores), catalogue, replace(PLAIN, category_share=0.3), limit=10, seed=1)

    categories = [catalogue.items[each.candidate].facts.categories[0] for each in placed]
    assert categories.count("Drama") == 3
    assert len(placed) == 10


def test_a_cap_gives_way_when_nothing_else_is_left(catalogue):
    capped = rerank(ranked(catalogue), catalogue, replace(PLAIN, category_share=0.01), limit=COUNT, seed=1)

    assert sorted(places(capped)) == list(range(COUNT))


def test_the_category_that_was_asked_for_has_no_cap():
    catalogue = catalogues_of([film(number, "Drama") for number in range(20)]).of(TENANT)
    policy = replace(PLAIN, category_share=0.1)

    placed = rerank(ranked(catalogue), catalogue, policy, limit=10, seed=1, category="Drama")

    assert places(placed) == list(range(10))
    assert not any(each.notes for each in placed)


def test_alike_items_are_spread_and_the_notes_say_so(catalogue):
    alike = np.zeros((COUNT, 64), np.float32)
    alike[:5, 0] = 1.0
    alike[np.arange(5, COUNT), np.arange(5, COUNT)] = 1.0

    placed = rerank(ranked(catalogue, vectors=alike), catalogue, replace(PLAIN, relevance=0.5), limit=10, seed=1)

    assert places(placed)[:2] == [0, 5]
    assert placed[1].notes == (
        "moved up by diversity: 4 better ranked items wait for being more alike to what is above",
    )


def test_without_vectors_items_of_the_same_category_count_as_alike(catalogue):
    placed = rerank(ranked(catalogue), catalogue, replace(PLAIN, relevance=0.5), limit=4, seed=1)

    assert len({catalogue.items[each.candidate].facts.categories for each in placed}) == 4


def test_what_many_rated_poorly_stands_behind_all_others(catalogue):
    catalogue.learn([ItemActivity("film-0", ItemAggregates(30, 45.0, 0, 25))], {})

    placed = rerank(ranked(catalogue), catalogue, PLAIN, limit=COUNT, seed=1)

    assert places(placed)[0] == 1
    assert places(placed)[-1] == 0
    assert placed[-1].notes == ("moved behind all others: rated below 2.5 stars by many",)


def test_the_best_new_item_gets_a_place_on_the_page(catalogue):
    policy = replace(PLAIN, new_item_place=5)

    placed = rerank(ranked(catalogue, new=[35, 36]), catalogue, policy, limit=10, seed=1)

    assert places(placed) == [0, 1, 2, 3, 35, 4, 5, 6, 7, 8]
    assert "rule for new items" in placed[4].notes[0]


def test_a_new_item_that_stands_high_enough_already_is_left_alone(catalogue):
    placed = rerank(ranked(catalogue, new=[2, 36]), catalogue, replace(PLAIN, new_item_place=5), limit=10, seed=1)

    assert places(placed) == list(range(10))


class TestExploration:
    policy = replace(PLAIN, exploration_probability=0.25, exploration_place=3)

    def answers(self, catalogue, **candidates):
        return [
            rerank(ranked(catalogue, **candidates), catalogue, self.policy, limit=10, seed=seed) for seed in range(400)
        ]

    def test_it_takes_its_place_as_often_as_it_says(self, catalogue):
        explored = [answer[2].exploration for answer in self.answers(catalogue)]

        # 400 draws at 0.25: a standard deviation is 0.022.
        assert 0.17 < np.mean(explored) < 0.33

    def test_the_other_places_are_the_same_whatever_chance_says(self, catalogue):
        answers = self.answers(catalogue)

        for placed in answers:
            assert places(placed)[:2] + places(placed)[3:] == [0, 1, 3, 4, 5, 6, 7, 8, 9]
            assert [each.propensity for each in placed if each is not placed[2]] == [1.0] * 9

    def test_the_logged_propensities_are_those_of_what_happens(self, catalogue):
        answers = self.answers(catalogue, new=[20, 21, 22, 23])
        kept = [placed[2] for placed in answers if not placed[2].exploration]
        drawn = [placed[2] for placed in answers if placed[2].exploration]

        assert {each.propensity for each in kept} == {0.75}
        assert {each.propensity for each in drawn} == {0.25 / 4}
        assert {each.candidate for each in drawn} == {20, 21, 22, 23}

    def test_the_same_seed_gives_the_same_list(self, catalogue):
        again = [rerank(ranked(catalogue), catalogue, self.policy, limit=10, seed=7) for _ in range(2)]

        assert again[0] == again[1]
