"""The books of the embedded broker: what may still be written without losing what a reader needs."""

import pytest

from cli import kafka_budget
from cli.kafka_budget import Budget, PartitionBooks


@pytest.fixture(autouse=True)
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_budget, "BYTES_LIMIT", 100)
    monkeypatch.setattr(kafka_budget, "BATCHES_LIMIT", 5)


def written(sizes: list[int], **readers: int) -> PartitionBooks:
    """A partition with one event a batch."""
    books = PartitionBooks(readers=readers)
    for offset, size in enumerate(sizes):
        assert books.reserve(size)
        books.appended(size, offset)
    return books


def test_what_fits_is_taken_and_what_does_not_is_refused() -> None:
    books = written([40, 40], group=0)

    assert books.reserve(20)
    assert not books.reserve(1)


@pytest.mark.parametrize(
    ("readers", "taken"),
    [
        ({"group": 2}, True),
        ({"group": 2, "slow group": 0}, False),
        ({"group": 2, "a connection": 1}, True),
        ({}, False),
    ],
    ids=["all is read", "one group has not read it", "both have read the first", "nobody reads"],
)
def test_the_slowest_reader_decides_whether_old_batches_make_room(readers: dict[str, int], taken: bool) -> None:
    books = written([40, 40], **readers)

    assert books.reserve(50) is taken


def test_only_as_much_is_given_up_as_is_needed() -> None:
    books = written([30, 30, 30], group=3)

    books.reserve(40)

    assert books.batches == [(1, 30), (2, 30)]


def test_batches_on_their_way_take_room_until_they_fail() -> None:
    books = PartitionBooks()
    assert books.reserve(80)
    assert not books.reserve(30)

    books.released(80)

    assert books.reserve(30)


def test_the_number_of_batches_is_bounded_too() -> None:
    books = written([1, 1, 1, 1, 1], group=0)

    assert not books.reserve(1)


def test_acknowledgements_of_two_producers_may_come_in_any_order() -> None:
    books = PartitionBooks(readers={"group": 1})
    books.reserve(40)
    books.reserve(50)
    books.appended(50, first_offset=1)
    books.appended(40, first_offset=0)

    assert books.reserve(40), "the batch at offset 0 has been read"
    assert books.batches == [(1, 50)]


def test_a_declared_group_counts_before_it_has_ever_committed() -> None:
    budget = Budget({"orders.v1": ("billing",)})

    assert budget.books("orders.v1", 0).readers == {"billing": 0}
    assert budget.books("other", 0).readers == {}


def test_a_reader_that_has_gone_holds_nothing_back() -> None:
    budget = Budget({})
    books = budget.books("t", 0)
    books.readers |= {"group": 7, "connection-1": 0}

    budget.forget("connection-1")

    assert books.readers == {"group": 7}
