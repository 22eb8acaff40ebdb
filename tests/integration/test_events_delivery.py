"""The way of an event over a real broker: published when it is acknowledged, committed after its effect."""

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from structlog.testing import capture_logs

from casebook.behaviour.v1.events_pb2 import BehaviourEvent
from casebook.catalogue.v1.catalogue_pb2 import Item, ItemChanged
from chassis.errors import LimitExceeded, Unavailable
from chassis.events import Event, EventConsumer, EventProducer, Handler, TopicFollower, metrics
from chassis.identity import current_identity
from chassis.retries import Retries
from tests.fixtures.kafka import running, wait_until

FAST = Retries(attempts=3, shortest_seconds=0.01, longest_seconds=0.02)


@pytest.fixture
def producer(kafka):
    producer = EventProducer(kafka.settings(), source="gateway")
    yield producer
    producer.close()


def click(item: str, user: str = "u1") -> BehaviourEvent:
    return BehaviourEvent(user_id=user, item_id=item)


class Effects:
    """A handler that keeps what it was given; `before` may raise."""

    def __init__(self, before=lambda event: None):
        self.events: list[Event[BehaviourEvent]] = []
        self._before = before

    def __call__(self, event):
        self._before(event)
        self.events.append(event)

    @property
    def items(self):
        return [event.message.item_id for event in self.events]

    def consumer(self, kafka, topic, group="recommender.test", **options):
        handlers = {topic: Handler(BehaviourEvent, self)}
        return EventConsumer(kafka.settings(), group, handlers, **{"retries": FAST, **options})


async def test_event_arrives_with_its_envelope(kafka, producer):
    topic = kafka.topic()
    effects = Effects()

    await producer.publish(topic, "acme:u1", click("i7"), "acme", event_id="e-1")

    with running(effects.consumer(kafka, topic)):
        wait_until("the offset to be committed", lambda: kafka.committed("recommender.test", topic) == 1)
    [event] = effects.events
    assert event.message == click("i7")
    assert (event.key, event.partition, event.offset, event.attempts) == ("acme:u1", 0, 0, 1)
    assert (event.envelope.id, event.envelope.tenant, event.envelope.source) == ("e-1", "acme", "gateway")


def test_headers_are_those_of_cloudevents(kafka, producer):
    topic = kafka.topic()

    producer.publish_blocking(topic, "acme:u1", click("i7"), "acme", event_id="e-1")

    [record] = kafka.records(topic)
    headers = dict(record.headers)
    assert headers.pop("ce_time").endswith(b"Z")
    assert headers == {
        "ce_specversion": b"1.0",
        "ce_id": b"e-1",
        "ce_type": b"casebook.behaviour.v1.BehaviourEvent",
        "ce_source": b"gateway",
        "ce_tenant": b"acme",
        "content-type": b"application/protobuf",
    }


def test_handler_acts_for_the_tenant_of_the_event(kafka, producer):
    topic = kafka.topic()
    identities = []
    effects = Effects(before=lambda event: identities.append(current_identity()))
    producer.publish_blocking(topic, "acme:u1", click("i7"), "acme")

    with running(effects.consumer(kafka, topic)):
        wait_until("the effect", lambda: effects.items)

    assert (identities[0].tenant, identities[0].principal) == ("acme", "service:recommender")


def test_failed_event_is_tried_again_before_the_next_of_its_partition(kafka, producer):
    topic = kafka.topic()
    attempts = []

    def fail_twice(event):
        attempts.append((event.message.item_id, event.attempts))
        if event.message.item_id == "i0" and event.attempts <= 2:
            raise RuntimeError("not yet")

    effects = Effects(before=fail_twice)
    for number in range(5):
        producer.publish_blocking(topic, "acme:u1", click(f"i{number}"), "acme")

    with running(effects.consumer(kafka, topic)):
        wait_until("all offsets to be committed", lambda: kafka.committed("recommender.test", topic) == 5)

    assert attempts[:3] == [("i0", 1), ("i0", 2), ("i0", 3)]
    assert effects.items == ["i0", "i1", "i2", "i3", "i4"]


def test_other_partitions_go_on_while_one_waits(kafka, producer):
    topic = kafka.topic(partitions=2)
    for number in range(40):  # murmur2 spreads the keys over both partitions
        producer.publish_blocking(topic, f"acme:u{number}", click("i1", f"u{number}"), "acme")
    first_users = {record.partition: record for record in reversed(kafka.records(topic))}
    stuck = first_users[0].key.decode().removeprefix("acme:")

    def stay_down(event):
        if event.message.user_id == stuck:
            raise Unavailable("redis", "connection refused")

    effects = Effects(before=stay_down)
    with running(effects.consumer(kafka, topic, max_in_flight=8)):
        other = sum(record.partition == 1 for record in kafka.records(topic))
        wait_until("every event of the other partition", lambda: len(effects.events) == other)

    assert {event.partition for event in effects.events} == {1}


def test_outage_holds_an_event_longer_than_failures_would(kafka, producer):
    topic = kafka.topic()

    def down_for_ten_attempts(event):
        if event.attempts <= 10:
            raise Unavailable("redis", "connection refused")

    effects = Effects(before=down_for_ten_attempts)
    producer.publish_blocking(topic, "acme:u1", click("i1"), "acme")

    with running(effects.consumer(kafka, topic)):
        wait_until("the effect", lambda: effects.items)

    assert effects.events[0].attempts == 11
    assert kafka.records(f"{topic}.dlq") == []


def test_waiting_longer_than_the_poll_interval_keeps_the_membership(kafka, producer, monkeypatch):
    monkeypatch.setattr("chassis.events.consumer.MAX_POLL_INTERVAL_SECONDS", 1.0)
    topic = kafka.topic()

    def down_for_a_while(event):
        if event.attempts <= 2:
            raise Unavailable("redis", "connection refused")

    effects = Effects(before=down_for_a_while)
    producer.publish_blocking(topic, "acme:u1", click("i1"), "acme")

    with running(effects.consumer(kafka, topic, retries=Retries(shortest_seconds=3.0))):
        wait_until("the offset to be committed", lambda: kafka.committed("recommender.test", topic) == 1)

    # Thrown out, the consumer would have started at the committed offset again, with a first attempt.
    assert [event.attempts for event in effects.events] == [3]


def test_no_more_than_the_bound_is_in_flight(kafka, producer):
    topic = kafka.topic()
    for number in range(50):
        producer.publish_blocking(topic, "acme:u1", click(f"i{number}"), "acme")
    rooms = []
    effects = Effects(before=lambda event: rooms.append(consumer._lanes.room))
    consumer = effects.consumer(kafka, topic, max_in_flight=5)

    with running(consumer):
        wait_until("all offsets to be committed", lambda: kafka.committed("recommender.test", topic) == 50)

    assert min(rooms) == 0
    assert effects.items == [f"i{number}" for number in range(50)]


def test_next_consumer_starts_where_the_last_stopped(kafka, producer):
    topic = kafka.topic()
    first, second = Effects(), Effects()
    producer.publish_blocking(topic, "acme:u1", click("i1"), "acme")
    with running(first.consumer(kafka, topic)):
        wait_until("the effect", lambda: first.items)

    producer.publish_blocking(topic, "acme:u1", click("i2"), "acme")
    with running(second.consumer(kafka, topic)):
        wait_until("the effect", lambda: second.items)

    assert (first.items, second.items) == (["i1"], ["i2"])


def test_lag_is_measured(kafka, producer, monkeypatch):
    monkeypatch.setattr("chassis.events.lag.LAG_SECONDS", 0.1)
    topic = kafka.topic()
    for number in range(7):
        producer.publish_blocking(topic, "acme:u1", click(f"i{number}"), "acme")

    def stay_down(event):
        raise Unavailable("redis", "connection refused")

    with running(Effects(before=stay_down).consumer(kafka, topic)):
        wait_until("a lag of 7", lambda: metrics.lag("recommender.test", topic, 0) == 7)

    assert metrics.lag("recommender.test", topic, 0) is None


def test_event_that_is_too_large_is_refused_by_name(producer, kafka):
    topic = kafka.topic()

    with pytest.raises(LimitExceeded, match=f"for {topic}: the limit is 1000000 bytes"):
        producer.publish_blocking(topic, "acme:u1", click("i" * 1_000_000), "acme")


async def test_no_broker_is_unavailable_within_the_deadline(kafka):
    settings = kafka.settings(default_deadline_seconds=1.0).model_copy(update={"kafka_bootstrap": "127.0.0.1:9"})
    producer = EventProducer(settings, source="gateway")

    with pytest.raises(Unavailable, match="kafka is not available"):
        await producer.publish("behaviour.events.v1", "acme:u1", click("i1"), "acme")


def test_follower_reads_all_then_follows(kafka, producer):
    topic = kafka.topic(partitions=3)
    titles = {}

    def apply(event):
        titles[event.message.item.item_id] = event.message.item.title

    for number in range(20):
        item = Item(item_id=f"i{number}", title="before")
        producer.publish_blocking(topic, f"acme:i{number}", ItemChanged(item=item), "acme")
    follower = TopicFollower(kafka.settings(), topic, ItemChanged, apply)

    with running(follower):
        assert follower.caught_up.wait(timeout=20)
        assert titles == {f"i{number}": "before" for number in range(20)}
        producer.publish_blocking(topic, "acme:i3", ItemChanged(item=Item(item_id="i3", title="after")), "acme")
        wait_until("the change", lambda: titles["i3"] == "after")


def test_a_follower_has_a_consumers_metrics_and_no_age_of_what_was_there_before(kafka, producer, monkeypatch):
    reader = InMemoryMetricReader()
    meter = MeterProvider([reader]).get_meter("test")
    for name in ("process_duration", "event_age"):
        monkeypatch.setattr(metrics, name, meter.create_histogram(name))
    topic, seen = kafka.topic(), []
    producer.publish_blocking(topic, "acme:i1", ItemChanged(item=Item(item_id="i1")), "acme")
    follower = TopicFollower(kafka.settings(), topic, ItemChanged, seen.append, service="shop")

    with running(follower):
        assert follower.caught_up.wait(timeout=20)
        producer.publish_blocking(topic, "acme:i2", ItemChanged(item=Item(item_id="i2")), "acme")
        wait_until("the second one", lambda: len(seen) == 2)
        wait_until("its lag", lambda: metrics.lag("shop.follower", topic, 0) == 0)

    assert metrics.lag("shop.follower", topic, 0) is None
    found = reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics
    counts = {each.name: [(point.count, dict(point.attributes)) for point in each.data.data_points] for each in found}
    labels = {"topic": topic, "group": "shop.follower"}
    assert counts == {"process_duration": [(2, labels | {"outcome": "done"})], "event_age": [(1, labels)]}


def test_follower_of_an_empty_topic_has_caught_up(kafka):
    follower = TopicFollower(kafka.settings(), kafka.topic(), ItemChanged, lambda event: None)

    with running(follower):
        assert follower.caught_up.wait(timeout=20)


def test_follower_skips_a_poison_message_and_says_so(kafka, producer, monkeypatch):
    topic = kafka.topic()
    reader = InMemoryMetricReader()
    monkeypatch.setattr(metrics, "skipped", MeterProvider([reader]).get_meter("test").create_counter("skipped"))
    titles = []
    follower = TopicFollower(
        kafka.settings(), topic, ItemChanged, lambda event: titles.append(event.message.item.title), service="shop"
    )

    producer.forward(topic, b"acme:i1", b"no headers", [])
    producer.publish_blocking(topic, "acme:i1", click("of another type"), "acme")
    producer.publish_blocking(topic, "acme:i1", ItemChanged(item=Item(item_id="i1", title="good")), "acme")
    with capture_logs() as logged, running(follower):
        wait_until("the good one", lambda: titles == ["good"])

    skipped = [line for line in logged if line["event"] == "a poison message was skipped"]
    assert [(line["topic"], line["offset"], line["log_level"]) for line in skipped] == [
        (topic, 0, "error"),
        (topic, 1, "error"),
    ]
    assert skipped[0]["why"] == "header ce_id: missing"
    [point] = reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics[0].data.data_points
    assert (point.value, dict(point.attributes)) == (2, {"topic": topic, "service": "shop"})
