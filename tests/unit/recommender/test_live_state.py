"""What one event does to the live sequence and the counters."""

from datetime import UTC, datetime, timedelta

import pytest

from recommender.features import Interaction, ItemAggregates, UserAggregates
from recommender.live_state import LIVE_LENGTH, PAIR_WINDOW, SEEN_LENGTH, Behaviour, LiveState, with_newer

START = datetime(2026, 1, 5, tzinfo=UTC)


def click(item: str, second: int = 0, rating: float = 4.0) -> Interaction:
    return Interaction("ana", item, rating, "click", START + timedelta(seconds=second))


def applied(*interactions: Interaction) -> LiveState:
    state = LiveState({"user:ana": "25-34/F"})
    for number, interaction in enumerate(interactions):
        state.apply(Behaviour(f"e{number}", "user:ana", interaction))
    return state


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([click("a", 1), click("b", 2)], ["b", "a"]),
        ([click("b", 2), click("a", 1)], ["b", "a"]),
        ([click("a", 1), click("b", 2), click("a", 3)], ["a", "b"]),
        ([click("a", 3), click("b", 2), click("a", 1)], ["a", "b"]),
        ([click("a", 1), click("b", 1)], ["b", "a"]),
    ],
    ids=["in order", "late", "again", "again and late", "same time"],
)
def test_the_sequence_is_in_order_of_time_and_has_each_item_once(events, expected):
    assert [each.item_id for each in applied(*events).subjects["user:ana"].live] == expected


def test_the_sequence_is_bounded_to_the_newest():
    live = []
    for second in range(LIVE_LENGTH + 5):
        live = with_newer(live, click(f"i{second}", second))

    assert len(live) == LIVE_LENGTH
    assert live[0].item_id == f"i{LIVE_LENGTH + 4}"
    assert with_newer(live, click("late", -1)) == live


def test_a_repeated_event_has_no_second_effect():
    state = LiveState()

    assert state.apply(Behaviour("e1", "user:ana", click("a")))
    assert not state.apply(Behaviour("e1", "user:ana", click("a")))
    assert state.items["a"] == ItemAggregates(1, 4.0, 1, 0)


def test_counters_count_every_event_and_popularity_every_visitor():
    state = applied(click("a", 1), click("a", 2), click("b", 3, rating=1.0))

    assert state.subjects["user:ana"].aggregates == UserAggregates(3, 9.0, 2, 1)
    assert state.popular == {"all": {"a": 1}, "25-34/F": {"a": 1}}


def test_a_liked_item_is_paired_with_the_newest_liked_ones():
    state = applied(*(click(f"i{second}", second) for second in range(PAIR_WINDOW + 2)), click("bad", 50, rating=1.0))

    newest = f"i{PAIR_WINDOW + 1}"
    assert set(state.together[newest]) == {f"i{second}" for second in range(1, PAIR_WINDOW + 1)}
    assert state.together["i1"][newest] == 1
    assert not state.together["bad"]


def test_what_was_seen_is_bounded_to_the_newest():
    state = applied(*(click(f"i{second}", second) for second in range(SEEN_LENGTH + 1)))

    assert "i0" not in state.subjects["user:ana"].seen
    assert len(state.subjects["user:ana"].seen) == SEEN_LENGTH
