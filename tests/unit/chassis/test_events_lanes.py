"""Lanes keep the order of a partition, bound what is held, and settle offsets one by one."""

from types import SimpleNamespace

from kafka import TopicPartition

from chassis.events.lanes import Lanes

FIRST, SECOND = TopicPartition("t", 0), TopicPartition("t", 1)


def records(*offsets):
    return [SimpleNamespace(offset=offset) for offset in offsets]


def test_room_shrinks_with_what_is_held_and_grows_with_what_is_settled():
    lanes = Lanes(limit=4)
    lanes.add(FIRST, records(0, 1, 2))
    assert lanes.room == 1

    lanes.settle(FIRST)

    assert lanes.room == 2
    assert lanes.settled[FIRST].offset == 1


def test_lane_that_waits_is_not_ready_and_holds_its_first_record_alone():
    lanes = Lanes(limit=10)
    lanes.add(FIRST, records(5, 6, 7))
    lanes.add(SECOND, records(0))
    [(_, first), _] = lanes.ready(now=100.0)
    first.not_before = 101.0

    assert [partition for partition, _ in lanes.ready(now=100.0)] == [SECOND]
    assert list(lanes.waiting(now=100.0)) == [FIRST]
    assert first.keep_first() == 6
    assert (first.keep_first(), lanes.held(FIRST)) == (None, 1)
    assert len(lanes.ready(now=101.0)) == 2


def test_next_record_begins_with_no_attempts():
    lanes = Lanes(limit=10)
    lanes.add(FIRST, records(0, 1))
    [(_, lane)] = lanes.ready(now=1.0)
    lane.attempts, lane.failures, lane.unavailable_since, lane.cause_of_death = 3, 2, 1.0, "why"

    lanes.settle(FIRST)

    assert (lane.attempts, lane.failures, lane.unavailable_since, lane.cause_of_death) == (0, 0, 0.0, "")
    assert lane.records[0].offset == 1


def test_nothing_is_left_of_partitions_that_are_given_up():
    lanes = Lanes(limit=10)
    lanes.add(FIRST, records(0, 1))
    lanes.settle(FIRST)

    lanes.clear()

    assert (lanes.room, lanes.settled, lanes.ready(now=1.0)) == (10, {}, [])
