"""What can't be handled is put aside with its reason, is not lost on the way there, and comes back by a replay."""

from datetime import UTC, datetime

import pytest

from casebook.behaviour.v1.events_pb2 import BehaviourEvent
from casebook.catalogue.v1.catalogue_pb2 import ItemChanged
from chassis import dead_letters
from chassis.dead_letters import Filter
from chassis.errors import InvalidField, NotFound
from chassis.events import Envelope, EventConsumer, EventProducer, Handler, PoisonMessage, new_event_id
from chassis.retries import Retries
from tests.fixtures.kafka import running, wait_until

GROUP = "recommender.test"
FAST = Retries(attempts=3, shortest_seconds=0.01, longest_seconds=0.02)


@pytest.fixture
def producer(kafka):
    producer = EventProducer(kafka.settings(), source="gateway")
    yield producer
    producer.close()


def consumer(kafka, topic, handle, group=GROUP, retries=FAST):
    return EventConsumer(kafka.settings(), group, {topic: Handler(BehaviourEvent, handle)}, retries=retries)


def publish(producer, topic, item="i1", user="u1", event_id=None):
    producer.publish_blocking(topic, f"acme:{user}", BehaviourEvent(item_id=item), "acme", event_id=event_id)


def fail(event):
    raise RuntimeError("the store has no such user")


def settled(kafka, topic, count=1):
    wait_until(f"{count} offsets to be committed", lambda: kafka.committed(GROUP, topic) == count)


def test_event_that_keeps_failing_is_put_aside_with_its_reason(kafka, producer):
    topic = kafka.topic()
    publish(producer, topic, event_id="e-1")

    with running(consumer(kafka, topic, fail)):
        settled(kafka, topic)

    [original], [dead] = kafka.records(topic), kafka.records(f"{topic}.dlq")
    assert (dead.key, dead.value) == (original.key, original.value)
    headers = dict(dead.headers)
    assert headers.pop("dlq_time")
    assert headers == dict(original.headers) | {
        "dlq_reason": b"RuntimeError: the store has no such user",
        "dlq_topic": topic.encode(),
        "dlq_partition": b"0",
        "dlq_offset": b"0",
        "dlq_group": GROUP.encode(),
        "dlq_attempts": b"3",
    }


def test_poison_is_put_aside_at_once_and_the_next_event_is_handled(kafka, producer):
    topic = kafka.topic()
    handled = []

    def refuse_the_first(event):
        if event.message.item_id == "i0":
            raise PoisonMessage("no such item")
        handled.append(event.message.item_id)

    publish(producer, topic, "i0")
    publish(producer, topic, "i1")
    with running(consumer(kafka, topic, refuse_the_first)):
        settled(kafka, topic, 2)

    [letter] = dead_letters.list_letters(kafka.settings(), topic)
    assert (letter.reason, letter.attempts) == ("no such item", 1)
    assert handled == ["i1"]


def headers_of(message, **replaced):
    headers = Envelope(
        id=new_event_id(),
        type=message.DESCRIPTOR.full_name,
        source="gateway",
        tenant="acme",
        time=datetime(2026, 1, 2, tzinfo=UTC),
    ).to_headers()
    return [(name, replaced.get(name, value)) for name, value in headers if replaced.get(name, value) is not None]


@pytest.mark.parametrize(
    ("value", "message", "replaced", "reason"),
    [
        (b"\xff\xff", BehaviourEvent(), {}, "the value is no casebook.behaviour.v1.BehaviourEvent"),
        (None, BehaviourEvent(), {}, "the value is a tombstone"),
        (b"", ItemChanged(), {}, "header ce_type: this topic carries casebook.behaviour.v1.BehaviourEvent"),
        (b"", BehaviourEvent(), {"ce_id": None}, "header ce_id: missing"),
        (b"", BehaviourEvent(), {"ce_tenant": None}, "header ce_tenant: missing"),
        (b"", BehaviourEvent(), {"ce_specversion": b"0.3"}, "header ce_specversion: must be 1.0, is '0.3'"),
        (b"", BehaviourEvent(), {"ce_time": b"yesterday"}, "header ce_time: not an RFC 3339 time: 'yesterday'"),
        (b"", BehaviourEvent(), {"content-type": b"text/plain"}, "header content-type: must be application/protobuf"),
    ],
    ids=["garbage", "tombstone", "other type", "no id", "no tenant", "other specversion", "no time", "other content"],
)
def test_what_is_no_event_is_put_aside(kafka, producer, value, message, replaced, reason):
    topic = kafka.topic()
    producer.forward(topic, b"acme:u1", value, headers_of(message, **replaced))

    with running(consumer(kafka, topic, lambda event: pytest.fail("this was no event"))):
        settled(kafka, topic)

    [letter] = dead_letters.list_letters(kafka.settings(), topic)
    assert letter.reason.startswith(reason)
    assert [record.value for record in kafka.records(f"{topic}.dlq")] == [value]


def test_offset_is_not_committed_while_the_dead_letter_cannot_be_written(kafka):
    topic = kafka.topic(dead_letters=False)
    settings = kafka.settings(default_deadline_seconds=0.5)
    producer = EventProducer(settings, source="gateway")
    attempts = []

    def fail_and_count(event):
        attempts.append(event.attempts)
        raise PoisonMessage("no such item")

    publish(producer, topic)
    worker = EventConsumer(settings, GROUP, {topic: Handler(BehaviourEvent, fail_and_count)}, producer=producer)
    with running(worker):
        wait_until("two attempts at burying it", lambda: any(lane.burials >= 2 for lane in worker._lanes))
        assert kafka.committed(GROUP, topic) == 0
        kafka.create(f"{topic}.dlq")
        settled(kafka, topic)
    producer.close()

    assert attempts == [1]
    assert len(kafka.records(f"{topic}.dlq")) == 1


def test_replay_brings_an_event_back_under_its_own_id(kafka, producer):
    topic = kafka.topic()
    publish(producer, topic, event_id="e-1")
    with running(consumer(kafka, topic, fail)):
        settled(kafka, topic)
    handled = []

    replayed = dead_letters.replay(kafka.settings(), producer, topic)
    with running(consumer(kafka, topic, handled.append)):
        settled(kafka, topic, 2)

    assert [letter.event_id for letter in replayed] == ["e-1"]
    assert [(event.envelope.id, event.attempts) for event in handled] == [("e-1", 1)]
    first, second = kafka.records(topic)
    assert (first.key, first.value, first.headers) == (second.key, second.value, second.headers)


def test_list_and_replay_take_a_filter_and_a_limit(kafka, producer):
    topic = kafka.topic(partitions=2)
    for number in range(6):
        publish(producer, topic, f"i{number}", user=f"u{number}", event_id=f"e-{number}")
    with running(consumer(kafka, topic, fail)):
        settled(kafka, topic, 6)
    settings = kafka.settings()

    assert len(dead_letters.list_letters(settings, topic)) == 6
    assert len(dead_letters.list_letters(settings, topic, limit=4)) == 4
    [one] = dead_letters.list_letters(settings, topic, only=Filter(event_id="e-3"))
    assert (one.event_id, one.key, one.tenant, one.group) == ("e-3", "acme:u3", "acme", GROUP)
    assert dead_letters.list_letters(settings, topic, only=Filter(tenant="other")) == []
    assert dead_letters.list_letters(settings, topic, only=Filter(reason_contains="timeout")) == []

    assert len(dead_letters.replay(settings, producer, topic, only=Filter(event_id="e-3"))) == 1
    assert [dict(record.headers)["ce_id"] for record in kafka.records(topic)].count(b"e-3") == 2


def test_topic_without_dead_letters_and_a_limit_out_of_bounds_are_named(kafka):
    with pytest.raises(NotFound, match=r"there is no topic 'nowhere\.v1\.dlq'"):
        dead_letters.list_letters(kafka.settings(), "nowhere.v1")
    with pytest.raises(InvalidField, match=r"limit: must be from 1 to 10000 \(received 0\)"):
        dead_letters.list_letters(kafka.settings(), "nowhere.v1", limit=0)
