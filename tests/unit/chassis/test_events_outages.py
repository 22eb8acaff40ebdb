"""The memory that a topic could not be written to: who is let through, and when."""

import pytest

from chassis.errors import Unavailable
from chassis.events.outages import Outages


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def outages(clock):
    return Outages(probe_seconds=10.0, monotonic=clock)


def lets_through(outages, topic="a"):
    try:
        outages.enter(topic)
    except Unavailable:
        return False
    return True


def test_after_a_failure_nobody_waits_and_is_told_for_how_long(outages, clock):
    outages.failed("a", outages.enter("a"))
    clock.now += 0.4

    with pytest.raises(Unavailable, match="no broker acknowledged a moment ago") as refused:
        outages.enter("a")

    assert refused.value.retry_after_seconds == pytest.approx(0.6)


def test_after_the_pause_one_probe_goes_and_decides(outages, clock):
    outages.failed("a", outages.enter("a"))
    clock.now += 1.0

    assert [lets_through(outages) for _ in range(3)] == [True, False, False]
    outages.succeeded("a")
    assert [lets_through(outages) for _ in range(3)] == [True, True, True]


def test_probe_of_which_nobody_hears_again_is_followed_by_another(outages, clock):
    outages.failed("a", outages.enter("a"))
    clock.now += 1.0
    assert lets_through(outages)
    clock.now += 9.9
    assert not lets_through(outages)
    clock.now += 0.1
    assert lets_through(outages)


def test_topic_that_fails_stops_no_other(outages):
    outages.failed("a", outages.enter("a"))

    assert lets_through(outages, "b")


def test_failure_does_not_count_where_another_event_was_acknowledged_meanwhile(outages, clock):
    entered = outages.enter("a")
    clock.now += 1.0
    outages.succeeded("a")
    outages.failed("a", entered)

    assert lets_through(outages)
