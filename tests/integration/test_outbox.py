"""What is written to a database and published: both or neither, whatever dies between. Real PostgreSQL, real Kafka."""

import signal
import uuid
from dataclasses import dataclass
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from casebook.behaviour.v1.events_pb2 import BehaviourEvent
from chassis import inbox, outbox
from chassis.database import connect, delete_some
from chassis.errors import LimitExceeded, Unavailable
from chassis.events import EventProducer
from chassis.outbox import OUTBOX, NewEvent, Relay
from chassis.outbox import relay as relay_module
from tests.fixtures.kafka import running, wait_until
from tests.fixtures.ledger import spawn


@pytest.fixture
def relay(kafka, ledger):
    producer = EventProducer(kafka.settings(), source="relay")
    yield Relay(ledger.engine, producer)
    producer.close()


def add(engine, topic, numbers, key="acme:u1"):
    for number in numbers:
        with engine.begin() as connection:
            outbox.add(connection, topic, key, BehaviourEvent(item_id=f"i{number}"), "acme", event_id=f"e-{number}")


def waiting(engine):
    with engine.begin() as connection:
        return connection.scalar(select(func.count()).where(OUTBOX.c.published_at.is_(None)))


def items(kafka, topic):
    return [BehaviourEvent.FromString(record.value).item_id for record in kafka.records(topic)]


def test_event_of_a_transaction_that_is_rolled_back_does_not_exist(kafka, ledger, relay):
    topic = kafka.topic()
    add(ledger.engine, topic, [1])
    with ledger.engine.connect() as connection, connection.begin() as transaction:
        outbox.add(connection, topic, "acme:u1", BehaviourEvent(item_id="i2"), "acme")
        transaction.rollback()

    with running(relay):
        wait_until("the outbox to be empty", lambda: waiting(ledger.engine) == 0)

    assert items(kafka, topic) == ["i1"]


async def test_event_is_added_on_an_asyncio_connection_too(kafka, ledger, relay):
    topic = kafka.topic()
    pool = connect(ledger.address)
    async with pool.begin() as connection:
        await outbox.add_async(connection, topic, "acme:u1", BehaviourEvent(item_id="i1"), "acme", event_id="e-1")
    await pool.dispose()

    assert relay.relay_once() == (1, 1)

    headers = dict(kafka.records(topic)[0].headers)
    assert (headers["ce_id"], headers["ce_tenant"]) == (b"e-1", b"acme")
    assert headers["ce_type"] == b"casebook.behaviour.v1.BehaviourEvent"


def test_many_events_are_added_at_once_in_their_order(kafka, ledger, relay):
    topic = kafka.topic()
    events = [NewEvent(topic, "acme:u1", BehaviourEvent(item_id=f"i{number}"), "acme") for number in range(150)]

    with ledger.engine.begin() as connection:
        ids = outbox.add_many(connection, events)
        assert outbox.add_many(connection, []) == []

    assert relay.relay_once() == (150, 150)
    assert items(kafka, topic) == [f"i{number}" for number in range(150)]
    assert [dict(record.headers)["ce_id"].decode() for record in kafka.records(topic)] == ids


def test_one_that_is_too_large_keeps_the_others_out(ledger):
    sizes = (10, 1_000_000)

    with ledger.engine.begin() as connection, pytest.raises(LimitExceeded):
        outbox.add_many(
            connection, [NewEvent("a.v1", "k", BehaviourEvent(item_id="i" * size), "acme") for size in sizes]
        )

    assert waiting(ledger.engine) == 0


def test_order_of_a_key_is_kept_over_batches_and_rounds(kafka, ledger, relay):
    topic = kafka.topic(partitions=3)
    with ledger.engine.begin() as connection:
        for number in range(300):
            message = BehaviourEvent(item_id=f"i{number}")
            outbox.add(connection, topic, f"acme:u{number % 7}", message, "acme")

    with running(relay):
        wait_until("the outbox to be empty", lambda: waiting(ledger.engine) == 0)

    by_key = {}
    for record in kafka.records(topic):
        item = BehaviourEvent.FromString(record.value).item_id
        by_key.setdefault(record.key, []).append(int(item.removeprefix("i")))
    assert sum(len(numbers) for numbers in by_key.values()) == 300
    assert all(numbers == sorted(numbers) for numbers in by_key.values())


@pytest.mark.parametrize("moment", ["before-publish", "after-publish"])
@pytest.mark.chaos
def test_relay_killed_in_between_loses_nothing_and_consumers_see_one_effect(kafka, ledger, relay, moment):
    topic = kafka.topic()
    add(ledger.engine, topic, range(20))

    killed = spawn("relay", kafka.bootstrap, ledger.address, moment, "8")
    assert killed.wait(timeout=30) == -signal.SIGKILL
    # The killed relay had marked nothing: its transaction went with it.
    assert waiting(ledger.engine) == 20

    with running(relay, ledger.consumer(kafka.settings(), topic)):
        wait_until("20 entries", lambda: len(ledger.entries()) >= 20)
        wait_until("all offsets to be committed", lambda: kafka.committed("ledger.test", topic) >= 20)
    assert ledger.entries() == [(f"e-{number}", f"i{number}") for number in range(20)]
    published_twice = len(items(kafka, topic)) - 20
    assert published_twice == {"before-publish": 7, "after-publish": 8}[moment]


def test_two_relays_publish_one_at_a_time(kafka, ledger, relay):
    topic = kafka.topic()
    add(ledger.engine, topic, range(50))
    producer = EventProducer(kafka.settings(), source="relay")

    with running(relay, Relay(ledger.engine, producer)):
        wait_until("the outbox to be empty", lambda: waiting(ledger.engine) == 0)
    producer.close()

    assert items(kafka, topic) == [f"i{number}" for number in range(50)]


def test_key_stops_at_its_first_failure_and_others_go_on(kafka, ledger):
    topic = kafka.topic()
    producer = EventProducer(kafka.settings(default_deadline_seconds=0.5), source="relay")
    add(ledger.engine, "nowhere.v1", [1, 2], key="acme:stuck")
    add(ledger.engine, topic, [3])

    published, batch = Relay(ledger.engine, producer).relay_once()
    producer.close()

    assert (published, batch) == (1, 3)
    assert waiting(ledger.engine) == 2
    assert items(kafka, topic) == ["i3"]


def test_what_waits_for_a_topic_that_cannot_be_written_holds_up_no_other_and_goes_out_in_the_end(kafka, ledger):
    topic, missing = kafka.topic(), f"missing.{uuid.uuid4().hex[:8]}"
    producer = EventProducer(kafka.settings(default_deadline_seconds=0.5), source="relay")
    with ledger.engine.begin() as connection:
        outbox.add_many(
            connection,
            [NewEvent(missing, f"acme:u{n % 250}", BehaviourEvent(item_id=f"{n}"), "acme") for n in range(500)],
        )
    add(ledger.engine, topic, [1, 2])

    with running(Relay(ledger.engine, producer)):
        wait_until("the other topic's events", lambda: waiting(ledger.engine) == 500)
        add(ledger.engine, topic, [3])
        wait_until("a later one of them", lambda: waiting(ledger.engine) == 500)
        assert items(kafka, topic) == ["i1", "i2", "i3"]
        kafka.create(missing)
        wait_until("the outbox to be empty", lambda: waiting(ledger.engine) == 0)
    producer.close()

    order = [int(item) for item in items(kafka, missing)]
    assert sorted(order) == list(range(500))
    assert all(order.index(n) < order.index(n + 250) for n in range(250))


class Topic:
    """A producer of one topic, of which the keys that contain "stuck" belong to a partition that cannot be written."""

    def __init__(self) -> None:
        self.stuck = True
        self.tried: set[str] = set()
        self.written: list[str] = []

    def begin(self, topic, key, payload, envelope):
        self.tried.add(envelope.id)
        return self.Pending(self, key, envelope.id)

    @dataclass
    class Pending:
        topic: "Topic"
        key: str
        event_id: str

        def wait(self):
            if self.topic.stuck and "stuck" in self.key:
                raise Unavailable("kafka", "the partition has no leader")
            self.topic.written.append(self.event_id)


@pytest.fixture
def topic_with_a_stuck_partition(monkeypatch):
    monkeypatch.setattr(relay_module, "PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(relay_module, "BATCH", 20)
    return Topic()


def add_stuck(engine, numbers):
    for number in numbers:
        add(engine, "a.v1", [f"stuck-{number}"], key=f"stuck{number}")


def test_a_partition_that_stands_still_holds_up_no_other_one_of_its_topic(ledger, topic_with_a_stuck_partition):
    topic = topic_with_a_stuck_partition
    add_stuck(ledger.engine, range(200))
    add(ledger.engine, "a.v1", ["1", "2"], key="other")

    with running(Relay(ledger.engine, topic)):
        wait_until("the other partition's events", lambda: topic.written == ["e-1", "e-2"])
        wait_until("each of the others to be tried", lambda: len(topic.tried) == 202)
        topic.stuck = False
        wait_until("the outbox to be empty", lambda: waiting(ledger.engine) == 0)

    assert len(topic.written) == 202


def test_no_event_overtakes_one_of_its_key_that_was_committed_late(ledger, topic_with_a_stuck_partition):
    """The events before it cannot be written, and the relay is past its place already."""
    topic, engine = topic_with_a_stuck_partition, ledger.engine
    add_stuck(engine, range(15))
    with engine.connect() as late, late.begin() as transaction:
        outbox.add(late, "a.v1", "ours", BehaviourEvent(), "acme", event_id="first")
        add_stuck(engine, range(15, 60))
        relay = Relay(engine, topic)
        with running(relay):
            wait_until("the relay to be past it", lambda: "e-stuck-25" in topic.tried)
        transaction.commit()
    with engine.begin() as connection:
        outbox.add(connection, "a.v1", "ours", BehaviourEvent(), "acme", event_id="second")

    with running(relay):
        wait_until("both events", lambda: len(topic.written) == 2)

    assert topic.written == ["first", "second"]


def test_what_has_recovered_begins_with_its_oldest_again(ledger, topic_with_a_stuck_partition):
    topic = topic_with_a_stuck_partition
    add_stuck(ledger.engine, range(100))
    relay = Relay(ledger.engine, topic)
    with running(relay):
        wait_until("it to be far behind the oldest", lambda: "e-stuck-55" in topic.tried)
    topic.stuck = False

    with running(relay):
        wait_until("the outbox to be empty", lambda: waiting(ledger.engine) == 0)

    assert {f"e-stuck-{number}" for number in range(10)} <= set(topic.written[:30])
    assert len(topic.written) == 100


def test_published_events_are_pruned_and_waiting_ones_are_not(kafka, ledger, relay):
    topic = kafka.topic()
    add(ledger.engine, topic, [1, 2])
    relay.relay_once()
    add(ledger.engine, topic, [3])
    with ledger.engine.begin() as connection:
        connection.execute(
            update(OUTBOX).values(published_at=OUTBOX.c.published_at - func.make_interval(0, 0, 0, 0, 2))
        )

    relay.prune()

    with ledger.engine.begin() as connection:
        assert connection.scalars(select(OUTBOX.c.event_id)).all() == ["e-3"]


def test_event_that_could_never_be_published_is_refused_at_once(kafka, ledger):
    too_large = BehaviourEvent(item_id="i" * 1_000_000)

    with (
        ledger.engine.begin() as connection,
        pytest.raises(LimitExceeded, match=r"for a\.v1: the limit is 990000 bytes"),
    ):
        outbox.add(connection, "a.v1", "acme:u1", too_large, "acme")


def test_event_is_new_to_each_group_once_and_forgotten_after_its_time(ledger):
    with ledger.engine.begin() as connection:
        assert inbox.first_time(connection, "a.test", "e-1")
        assert inbox.first_time(connection, "b.test", "e-1")
        assert not inbox.first_time(connection, "a.test", "e-1")

    with ledger.engine.begin() as connection:
        assert connection.execute(delete_some(inbox.INBOX, inbox.due(), 10)).rowcount == 0
        assert connection.execute(delete_some(inbox.INBOX, inbox.due(older_than=timedelta(0)), 10)).rowcount == 2
        assert inbox.first_time(connection, "a.test", "e-1")


def test_effect_that_is_rolled_back_leaves_the_event_new(ledger):
    with ledger.engine.connect() as connection, connection.begin() as transaction:
        assert inbox.first_time(connection, "a.test", "e-1")
        transaction.rollback()

    with ledger.engine.begin() as connection:
        assert inbox.first_time(connection, "a.test", "e-1")
