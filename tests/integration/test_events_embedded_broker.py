"""The same events over the broker of the embedded mode, and what it would lose is refused to who publishes it."""

import time

import pytest

from casebook.behaviour.v1.events_pb2 import BehaviourEvent
from chassis.errors import Unavailable
from chassis.events import EventConsumer, EventProducer, Handler
from chassis.settings import Settings
from tests.fixtures.kafka import running, wait_until


@pytest.fixture
def settings(embedded_kafka):
    return Settings(kafka_bootstrap=embedded_kafka.bootstrap, kafka_api_version="2.1")


def test_event_arrives(settings):
    producer = EventProducer(settings, source="gateway")
    producer.publish_blocking("embedded.arrives.v1", "acme:u1", BehaviourEvent(item_id="i1"), "acme")
    arrived = []

    handlers = {"embedded.arrives.v1": Handler(BehaviourEvent, arrived.append)}
    with running(EventConsumer(settings, "recommender.test", handlers)):
        wait_until("the effect", lambda: arrived)
    producer.close()

    assert arrived[0].message.item_id == "i1"


def test_what_the_broker_would_lose_is_refused_at_once(settings):
    producer = EventProducer(settings, source="gateway")
    unread = BehaviourEvent(item_id="i" * 400_000)

    for _ in range(10):
        producer.publish_blocking("embedded.full.v1", "acme:u1", unread, "acme")
    started = time.monotonic()
    # 4 MB are held, of the 5 MB that librdkafka's mock would keep.
    with pytest.raises(Unavailable, match="PolicyViolation"):
        producer.publish_blocking("embedded.full.v1", "acme:u1", unread, "acme")
    producer.close()

    assert time.monotonic() - started < settings.default_deadline_seconds
