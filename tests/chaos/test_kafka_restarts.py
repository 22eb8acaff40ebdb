"""Kafka, and consumers of it, killed in the middle of the stream: nothing is lost, and every effect happens once."""

import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from rich.console import Console

from casebook.behaviour.v1.events_pb2 import BehaviourEvent
from casebook.catalogue.v1.catalogue_pb2 import Item, ItemChanged
from chassis import outbox
from chassis.errors import Unavailable
from chassis.events import EventProducer, TopicFollower
from cli.kafka_commands import apply_topics
from tests.fixtures.kafka import running, wait_until
from tests.fixtures.ledger import spawn

pytestmark = pytest.mark.chaos

EVENTS = 200


class Gateway:
    """Publishes events one after the other, each under one id until it is acknowledged, as a client of the API does."""

    def __init__(self, settings, topic, count=EVENTS):
        self.published = 0
        self.refused = 0
        self._settings, self._topic, self._count = settings, topic, count

    def run(self, stop: threading.Event) -> None:
        producer = EventProducer(self._settings, source="gateway")
        try:
            while self.published < self._count and not stop.is_set():
                number = self.published
                try:
                    producer.publish_blocking(
                        self._topic,
                        f"acme:u{number % 5}",
                        BehaviourEvent(item_id=f"i{number}"),
                        "acme",
                        event_id=f"e-{number}",
                    )
                except Unavailable as error:
                    self.refused += 1
                    stop.wait(error.retry_after_seconds)
                else:
                    self.published += 1
        finally:
            producer.close()


def expect_every_effect_once(ledger, count=EVENTS):
    wait_until(f"{count} entries", lambda: len(ledger.entries()) >= count, seconds=45)
    assert sorted(ledger.entries()) == sorted((f"e-{number}", f"i{number}") for number in range(count))


def test_broker_killed_while_publishing_and_consuming(kafka, ledger):
    topic = kafka.topic(partitions=3)
    gateway = Gateway(kafka.settings(default_deadline_seconds=2.0), topic)

    with running(gateway, ledger.consumer(kafka.settings(), topic)):
        wait_until("a quarter of the entries", lambda: len(ledger.entries()) > EVENTS // 4)
        kafka.kill()
        published = gateway.published
        wait_until("a refusal", lambda: gateway.refused)
        kafka.restart()
        expect_every_effect_once(ledger)

    assert published < EVENTS, "the broker was killed too late to prove anything"
    by_key = [[int(item[1:]) for _, item in ledger.entries() if int(item[1:]) % 5 == key] for key in range(5)]
    assert all(items == sorted(items) for items in by_key)


def test_consumer_killed_between_effect_and_commit(kafka, ledger):
    topic = kafka.topic(partitions=4)
    victim = spawn("consume", kafka.bootstrap, ledger.address, topic, "30")

    with running(Gateway(kafka.settings(), topic)):
        assert victim.wait(timeout=40) == -signal.SIGKILL
        assert len(ledger.entries()) == 30
        # The group waits for the victim's session to end (10 s) before its partitions move.
        with running(ledger.consumer(kafka.settings(), topic)):
            expect_every_effect_once(ledger)


def test_one_of_two_consumers_killed(kafka, ledger):
    topic = kafka.topic(partitions=4)
    survivor = ledger.consumer(kafka.settings(), topic)
    with running(survivor):
        victim = spawn("consume", kafka.bootstrap, ledger.address, topic, "10")
        wait_until("the survivor to share the partitions", lambda: 0 < survivor.partitions < 4)

        with running(Gateway(kafka.settings(), topic)):
            assert victim.wait(timeout=40) == -signal.SIGKILL
            expect_every_effect_once(ledger)

        wait_until("the survivor to have them all", lambda: survivor.partitions == 4)


def test_broker_killed_while_the_outbox_is_relayed(kafka, ledger):
    topic = kafka.topic()
    with ledger.engine.begin() as connection:
        for number in range(EVENTS):
            message = BehaviourEvent(item_id=f"i{number}")
            outbox.add(connection, topic, "acme:u1", message, "acme", event_id=f"e-{number}")
    producer = EventProducer(kafka.settings(default_deadline_seconds=2.0), source="relay")

    with running(outbox.Relay(ledger.engine, producer), ledger.consumer(kafka.settings(), topic)):
        wait_until("the first entries", lambda: ledger.entries())
        kafka.kill()
        booked = len(ledger.entries())
        kafka.restart()
        expect_every_effect_once(ledger)
    producer.close()

    assert booked < EVENTS, "the broker was killed too late to prove anything"
    assert [item for _, item in ledger.entries()] == [f"i{number}" for number in range(EVENTS)]


def test_while_the_broker_is_away_one_waits_and_the_others_are_told_to_come_back(kafka):
    topic = kafka.topic()
    producer = EventProducer(kafka.settings(default_deadline_seconds=2.0), source="gateway")

    def publish():
        producer.publish_blocking(topic, "acme:u1", BehaviourEvent(), "acme")

    publish()
    kafka.kill()
    with pytest.raises(Unavailable):
        publish()
    started = time.monotonic()
    refusals = [refusal(publish) for _ in range(20)]
    seconds = time.monotonic() - started

    assert all(0 < error.retry_after_seconds <= 1 for error in refusals)
    assert seconds < 2.0, "a single one of them would have waited that long"
    kafka.restart()
    wait_until("a probe to be acknowledged", lambda: refusal(publish) is None, seconds=15)
    assert refusal(publish) is None
    producer.close()


def refusal(publish):
    """What publishing was refused with; None where it was acknowledged."""
    try:
        publish()
    except Unavailable as error:
        return error
    return None


def test_consumer_that_starts_before_the_broker_waits_for_it(kafka, ledger):
    topic = kafka.topic()
    kafka.kill()

    with running(
        Gateway(kafka.settings(default_deadline_seconds=2.0), topic, 3), ledger.consumer(kafka.settings(), topic)
    ):
        kafka.restart()
        expect_every_effect_once(ledger, 3)


def test_follower_goes_on_after_the_broker_was_killed(kafka):
    topic = kafka.topic()
    titles = []
    follower = TopicFollower(
        kafka.settings(), topic, ItemChanged, lambda event: titles.append(event.message.item.title)
    )
    producer = EventProducer(kafka.settings(), source="recommender")

    def publish(title):
        producer.publish_blocking(topic, "acme:i1", ItemChanged(item=Item(item_id="i1", title=title)), "acme")

    publish("before")
    with running(follower):
        wait_until("what was there", lambda: titles == ["before"])
        kafka.kill()
        kafka.restart()
        publish("after")
        wait_until("what came after", lambda: titles == ["before", "after"])
    producer.close()


def test_topics_are_applied_to_a_broker_that_comes_later(kafka, tmp_path):
    wanted = tmp_path / "topics.yaml"
    wanted.write_text(
        "defaults: {replication: 1, partitions: 1}\ndead_letters: {}\ntopics: {comes.later.v1: {key: <any>}}\n"
    )
    settings, console = kafka.settings(), Console(record=True)
    kafka.kill()
    with pytest.raises(Unavailable):
        apply_topics(settings, wanted, None, 0, console)

    with ThreadPoolExecutor(1) as pool:
        applying = pool.submit(apply_topics, settings, wanted, None, 60, console)
        kafka.restart()
        applying.result(timeout=60)

    assert "created  comes.later.v1" in console.export_text()
