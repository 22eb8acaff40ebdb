"""The features: golden fingerprints, shapes, shrinkage, and that training sees what serving would have seen."""

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from recommender import features
from recommender.catalogue import Catalogue as ServingCatalogue
from recommender.catalogue import CatalogueItem, ItemActivity
from recommender.data import Dataset
from recommender.features import (
    CANDIDATE_STATISTICS,
    HISTORY_LENGTH,
    USER_STATISTICS,
    VECTOR,
    Interaction,
    ItemAggregates,
    ItemFacts,
    UserAggregates,
    UserProfile,
)
from recommender.index import TowerIndex
from recommender.live_state import Behaviour, LiveState
from recommender.ports import Visitor
from recommender.ranking import ranking_features
from recommender.recall import Candidates, Query
from recommender.training.examples import Catalogue, Part, replay
from recommender.training.ranking_examples import ranker_inputs

TOY_STORY = ItemFacts("1", "Toy Story", ("Animation", "Children's", "Comedy"), 1995)
START = datetime(1997, 9, 20, tzinfo=UTC)


def rated(item: str, stars: float, user: str = "u", hours: int = 0) -> Interaction:
    return Interaction(user, item, stars, "rate", START + timedelta(hours=hours))


# A model file holds these numbers: a change here makes every trained model deaf.
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", 8518482412311870710),
        ("Drama", -3780808780974187119),
        ("F", -5708784832999130069),
        ("", 0),
    ],
)
def test_fingerprints_never_change(text: str, expected: int) -> None:
    assert features.fingerprint(text) == expected


def test_fingerprints_of_many_values_differ_and_are_never_padding() -> None:
    values = {features.fingerprint(str(number)) for number in range(20_000)}
    assert len(values) == 20_000
    assert features.PADDING not in values


@pytest.mark.parametrize(
    ("years", "bucket"),
    [(-1, 0), (0, 0), (1, 1), (17, 1), (18, 2), (24, 2), (25, 3), (44, 4), (45, 5), (55, 6), (56, 7), (99, 7)],
)
def test_age_buckets(years: int, bucket: int) -> None:
    assert features.age_bucket(years) == bucket


@pytest.mark.parametrize(
    ("profile", "segment"),
    [
        (UserProfile("u", 30, "F"), "25-34/F"),
        (UserProfile("u", 30), "all"),
        (UserProfile("u", 0, "F"), "all"),
    ],
)
def test_segments(profile: UserProfile, segment: str) -> None:
    assert features.segment(profile) == segment


@pytest.mark.parametrize(
    ("action", "stars", "rating"), [("click", 0, 4), ("like", 0, 5), ("dislike", 0, 1), ("rate", 2.5, 2.5)]
)
def test_every_action_has_a_rating(action: str, stars: float, rating: float) -> None:
    assert features.rating_of(action, stars) == rating


@pytest.mark.parametrize(
    ("action", "stars", "message"),
    [
        ("rate", 0, "1 to 5 stars, received 0"),
        ("rate", 5.5, "received 5.5"),
        ("impression", 0, "received 'impression'"),
    ],
)
def test_what_says_nothing_about_preference_has_none(action: str, stars: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        features.rating_of(action, stars)


def test_items_are_encoded_into_fixed_places() -> None:
    long = ItemFacts("2", "one two three four five six seven eight nine", tuple("ABCDEFGH"), 2000)
    encoded = features.encode_items([TOY_STORY, long])
    shapes = [encoded.ids.shape, encoded.categories.shape, encoded.years.shape, encoded.title_tokens.shape]
    assert shapes == [(2, 1), (2, 6), (2, 1), (2, 8)]
    assert {array.dtype for array in (encoded.ids, encoded.categories, encoded.years, encoded.title_tokens)} == {
        np.dtype(np.int64)
    }
    assert encoded.categories[0].tolist() == [*map(features.fingerprint, TOY_STORY.categories), 0, 0, 0]
    assert encoded.title_tokens[0, :3].tolist() == [features.fingerprint("toy"), features.fingerprint("story"), 0]
    assert encoded.title_tokens[1, 7] == features.fingerprint("eight")
    assert encoded.take([1]).ids.tolist() == encoded.ids[1:].tolist()


def test_no_items_are_encoded_into_no_rows() -> None:
    assert features.encode_items([]).categories.shape == (0, 6)


def test_history_keeps_the_newest_and_pads_the_rest() -> None:
    items, ratings = features.encode_history([(str(number), 4.0) for number in range(HISTORY_LENGTH + 5)])
    assert (items.shape, items.dtype, ratings.dtype) == ((1, HISTORY_LENGTH), np.int64, np.float32)
    assert items[0, 0] == features.fingerprint("0")
    short, stars = features.encode_history([("7", 2.0)])
    assert (short != 0).sum() == 1
    assert stars[0, :2].tolist() == [2.0, 0.0]


def test_aggregates_count_and_do_not_change_what_was() -> None:
    before = UserAggregates()
    after = before.after(rated("1", 5)).after(rated("2", 2)).after(rated("3", 3))
    assert before == UserAggregates()
    assert after == UserAggregates(events=3, rating_sum=10.0, likes=1, dislikes=1)


def test_user_statistics_are_shrunk_and_without_unit() -> None:
    empty = UserAggregates().statistics()
    assert (empty.shape, empty.dtype) == ((1, len(USER_STATISTICS)), np.float32)
    np.testing.assert_allclose(empty, [[0, 3.5, 0, 0]])
    one = UserAggregates().after(rated("1", 5)).statistics()
    np.testing.assert_allclose(one, [[np.log(2), (5 + 17.5) / 6, 1 / 6, 0]], rtol=1e-6)


def test_candidate_statistics_relate_items_to_the_history() -> None:
    items = features.encode_items(
        [ItemFacts("1", "", ("War", "Drama")), ItemFacts("2", "", ("Comedy",)), ItemFacts("3", "")]
    )
    past = features.encode_items([ItemFacts("8", "", ("War",)), ItemFacts("9", "", ("War", "Comedy"))])
    _, ratings = features.encode_history([("8", 5.0), ("9", 1.0)])
    similarities = np.array([0.1, -0.2, 0.3], np.float32)
    statistics = features.candidate_statistics(
        [ItemAggregates()] * 3, items.categories, past.categories, ratings, similarities
    )
    assert (statistics.shape, statistics.dtype) == ((3, len(CANDIDATE_STATISTICS)), np.float32)
    # War stands in all of the history, Drama in none; liked once, disliked once.
    np.testing.assert_allclose(statistics[0, 4:6], [0.5, 0.0])
    np.testing.assert_allclose(statistics[1, 4:6], [0.5, -1.0])
    np.testing.assert_allclose(statistics[2, 4:6], [0.0, 0.0])
    np.testing.assert_array_equal(statistics[:, 6], similarities)


def test_padding_and_items_that_are_not_known_change_nothing() -> None:
    items = features.encode_items([ItemFacts("1", "", ("War",))])
    past = features.encode_items([ItemFacts("8", "", ("War",))]).categories
    _, ratings = features.encode_history([("8", 5.0)])
    padded = np.vstack([past, np.zeros((HISTORY_LENGTH - 1, 6), np.int64)])
    aggregates = [ItemAggregates()]
    similarities = np.zeros(1, np.float32)
    expected = features.candidate_statistics(aggregates, items.categories, past, ratings, similarities)
    np.testing.assert_array_equal(
        features.candidate_statistics(aggregates, items.categories, padded, ratings, similarities), expected
    )
    none = np.zeros((1, 32), np.float32)
    nothing = features.candidate_statistics(aggregates, items.categories, past[:0], none, similarities)
    np.testing.assert_array_equal(nothing[0, 4:], [0, 0, 0])


def test_the_vector_of_a_profile_alone_says_nothing_of_an_item() -> None:
    items = features.encode_items([ItemFacts("1", "", ("War",))])
    _, ratings = features.encode_history([])
    past = np.zeros((0, 6), np.int64)
    statistics = features.candidate_statistics(
        [ItemAggregates()], items.categories, past, ratings, np.array([0.4], np.float32)
    )
    assert statistics[0, 6] == 0


def test_din_takes_one_user_and_many_candidates() -> None:
    candidates = features.encode_items([TOY_STORY] * 5)
    history = features.encode_history([("1", 4.0)])
    statistics = features.candidate_statistics(
        [ItemAggregates()] * 5, candidates.categories, candidates.categories[:1], history[1], np.zeros(5, np.float32)
    )
    inputs = features.din_inputs(history, UserProfile("u", 30, "F", "writer"), UserAggregates(), candidates, statistics)
    assert {name: (values.shape, str(values.dtype)) for name, values in inputs.items()} == {
        "history_items": ((1, 32), "int64"),
        "history_ratings": ((1, 32), "float32"),
        "user_age_bucket": ((1, 1), "int64"),
        "user_gender": ((1, 1), "int64"),
        "user_occupation": ((1, 1), "int64"),
        "user_statistics": ((1, len(USER_STATISTICS)), "float32"),
        "candidate_items": ((5, 1), "int64"),
        "candidate_categories": ((5, 6), "int64"),
        "candidate_year": ((5, 1), "int64"),
        "candidate_statistics": ((5, len(CANDIDATE_STATISTICS)), "float32"),
    }


def small_dataset() -> Dataset:
    """Three users whose last two events, which are held out, come after everyone's others."""
    genres = (("War",), ("Comedy",), ("War", "Drama"), ("Drama",))
    items = tuple(ItemFacts(f"i{number}", f"Film {number}", genres[number % 4], 1990) for number in range(12))
    profiles = tuple(UserProfile(f"u{number}", 20 + 10 * number, "F", "writer") for number in range(3))
    random = np.random.default_rng(1)
    events = [
        rated(f"i{item}", float(random.integers(1, 6)), f"u{user}", hours=10 * place + user)
        for user in range(3)
        for place, item in enumerate(random.choice(12, 8, replace=False))
    ]
    return Dataset("small", tuple(sorted(events, key=lambda each: each.occurred_at)), items, profiles, "")


def test_the_last_two_of_each_user_are_held_out() -> None:
    parts = [moment.part for moment in replay(small_dataset())]
    assert parts == [Part.TRAIN] * 18 + [Part.VALIDATION] * 3 + [Part.TEST] * 3


def test_a_moment_does_not_know_what_came_later() -> None:
    """Point in time: whatever happens after a moment, its features are the same."""
    dataset = small_dataset()
    catalogue = Catalogue.of(dataset)
    profiles = {profile.user_id: profile for profile in dataset.users}
    altered = [replace(each, rating=6 - each.rating) for each in dataset.interactions[10:]]
    other = replace(dataset, interactions=(*dataset.interactions[:10], *altered))
    similarities = np.zeros(3, np.float32)
    for moment, same in itertools.islice(zip(replay(dataset), replay(other), strict=True), 11):
        profile = profiles[moment.interaction.user_id]
        ours = ranker_inputs(moment, profile, [0, 1, 2], similarities, dataset, catalogue)
        theirs = ranker_inputs(same, profile, [0, 1, 2], similarities, other, catalogue)
        for name, values in ours.items():
            np.testing.assert_array_equal(values, theirs[name], err_msg=name)


def test_held_out_events_never_count_for_items() -> None:
    counted = sum(aggregates.events for aggregates in list(replay(small_dataset()))[-1].items.values())
    assert counted == 18


def test_training_sees_exactly_what_serving_sees() -> None:
    """The same events through the serving path (live state, catalogue, ranking) and through training's replay."""
    dataset = small_dataset()
    encoded = Catalogue.of(dataset)
    profiles = {profile.user_id: profile for profile in dataset.users}
    live, serving = LiveState(), ServingCatalogue("tenant")
    for item in dataset.items:
        serving.put(CatalogueItem(item, START, 1))
    random = np.random.default_rng(2)
    item_vectors, user_vector = random.normal(size=(12, VECTOR)), random.normal(size=VECTOR)
    index = TowerIndex("tenant", "1")
    index.put(np.arange(12), item_vectors.astype(np.float32))
    query = Query(user_vector.astype(np.float32), index)
    candidates = Candidates(np.arange(12), np.zeros(12, np.float32), (), query)
    similarities = item_vectors.astype(np.float32) @ user_vector.astype(np.float32)
    compared = 0
    for moment in replay(dataset):
        interaction = moment.interaction
        subject = live.subjects[f"user:{interaction.user_id}"]
        visitor = Visitor(
            "tenant",
            interaction.user_id,
            profile=profiles[interaction.user_id],
            aggregates=subject.aggregates,
            history=tuple(subject.live),
        )
        if moment.part is Part.TRAIN:
            trained = ranker_inputs(moment, visitor.profile, range(12), similarities, dataset, encoded)
            served = ranking_features(visitor, serving, candidates).tensors
            assert set(trained) == set(served)
            for name, values in trained.items():
                np.testing.assert_array_equal(values, served[name], err_msg=name)
            compared += 1
        live.apply(Behaviour(str(compared), f"user:{interaction.user_id}", interaction))
        serving.learn([ItemActivity(interaction.item_id, live.items[interaction.item_id])], {})
    assert compared == 18
