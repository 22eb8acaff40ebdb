"""The events parser, from outside: whatever comes, there is no 5xx, and no good event is lost for a bad one.

Two ways lead in: HTTP bodies at the gateway, and bytes on the topic, where other producers may write.
"""

import json
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from confluent_kafka import Producer
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from casebook.behaviour.v1.events_pb2 import Action, BehaviourEvent
from chassis.events import Envelope, Event, EventConsumer, EventProducer, Handler, PoisonMessage
from chassis.events.envelope import decode
from recommender.events import behaviour_of
from tests.fixtures.kafka import running, wait_until
from tests.unit.gateway.parts import served_gateway

FUZZING = {"deadline": None, "derandomize": True, "database": None, "suppress_health_check": list(HealthCheck)}
GOOD = {"user_id": "196", "item_id": "302", "action": "click"}

# HTTP bodies: bytes, any JSON, and good events with one or two fields that are not.

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=10), inner, max_size=5),
    max_leaves=20,
)
fields = st.sampled_from(
    ["id", "user_id", "session_id", "item_id", "action", "occurred_at", "recommendation_id", "rating", "x"]
)
spoilt_events = st.dictionaries(fields, json_values, max_size=2).map(lambda spoilt: GOOD | spoilt)
texts = (json_values | spoilt_events | st.lists(spoilt_events, max_size=3).map(lambda events: {"events": events})).map(
    lambda value: json.dumps(value).encode()
)
bodies = (
    st.binary(max_size=200)
    | texts
    | st.builds(lambda text, at, junk: text[:at] + junk + text[at:], texts, st.integers(0, 50), st.binary(max_size=3))
)


@pytest.fixture(scope="module")
def api(gateway_database, redis_url):
    with served_gateway(gateway_database, redis_url) as api:
        yield api


@pytest.mark.parametrize("path", ["/v1/events", "/v1/events:batch"])
def test_whatever_body_comes_it_is_accepted_whole_or_refused_in_words(api, path):
    headers = {"Authorization": f"Bearer {api.key}", "Content-Type": "application/json"}
    published = api.gateway.broker.published
    with httpx.Client(base_url=api.url, headers=headers, timeout=20) as client:

        @given(body=bodies)
        @example(body=b'{"user_id": "\\ud800", "item_id": "1", "action": "click"}')
        @example(body=b'{"user_id": "1", "item_id": "1", "action": "rate", "rating": NaN}')
        @example(body=b"[" * 100_000)
        @settings(max_examples=150, **FUZZING)
        def holds(body):
            before = len(published)

            answer = client.post(path, content=body)

            accepted = answer.json()
            if answer.status_code == 202:
                ids = accepted.get("ids") or [accepted["id"]]
                assert [event.event_id for event in published[before:]] == ids
            else:
                assert answer.status_code in (400, 413, 422), answer.text
                assert accepted["detail"]
                assert len(published) == before, "what is refused is not published"

        holds()


# Bytes on the topic: anything at all, and events whose fields and headers are at their limits.

headers_at_their_limits = st.fixed_dictionaries(
    {
        "ce_id": st.text(min_size=1, max_size=40),
        "ce_tenant": st.text(min_size=1, max_size=10),
        "ce_time": st.datetimes(timezones=st.timezones()).map(datetime.isoformat) | st.text(min_size=1, max_size=20),
    }
)
messages_at_their_limits = st.builds(
    lambda text, action, rating, seconds, nanos: BehaviourEvent(
        user_id=text, item_id=text, action=action, rating=rating, occurred_at={"seconds": seconds, "nanos": nanos}
    ),
    st.just("u1") | st.text(max_size=5),
    st.sampled_from(Action.values()) | st.integers(-(2**31), 2**31 - 1),
    st.sampled_from([0.0, 5.0]) | st.floats(width=32),
    st.integers(0, 2**31) | st.integers(-(2**63), 2**63 - 1),
    st.integers(0, 10**9) | st.integers(-(2**31), 2**31 - 1),
).map(BehaviourEvent.SerializeToString)
values = st.none() | st.binary(max_size=100) | messages_at_their_limits


def envelope_headers(event_id="e-1", **changed):
    envelope = Envelope(event_id, BehaviourEvent.DESCRIPTOR.full_name, "fuzz", "acme", datetime(2026, 1, 1, tzinfo=UTC))
    headers = dict(envelope.to_headers()) | {
        name: value.encode(errors="surrogatepass") for name, value in changed.items()
    }
    return list(headers.items())


hostile_headers = (
    st.just(envelope_headers())
    | headers_at_their_limits.map(lambda changed: envelope_headers(**changed))
    | st.lists(st.tuples(st.text(max_size=12), st.none() | st.binary(max_size=20)), max_size=4)
)


@given(headers=hostile_headers, value=values)
@settings(max_examples=500, **FUZZING)
def test_record_is_an_event_or_poison_and_nothing_else(headers, value):
    try:
        envelope = Envelope.from_headers(headers)
        event = Event("t", 0, 0, "k", envelope, decode(BehaviourEvent, envelope, value))
        behaviour = behaviour_of(event)
    except PoisonMessage as poison:
        assert poison.reason  # noqa: PT017 - either way is right
    else:
        assert isinstance(behaviour.interaction.occurred_at, datetime)
        assert datetime.now(UTC) - envelope.time < timedelta.max


def test_no_good_event_is_lost_among_bad_ones(kafka):
    strangers = Producer({"bootstrap.servers": kafka.bootstrap})
    keys = st.none() | st.just(b"acme:u1") | st.binary(max_size=10)

    @given(hostile=st.lists(st.tuples(keys, hostile_headers, values), min_size=10, max_size=25))
    @example(hostile=[(None, [("ce_id", None)], None), (b"", [], b"")])
    @settings(max_examples=2, phases=[Phase.explicit, Phase.generate], **FUZZING)
    def holds(hostile):
        topic = kafka.topic()
        producer = EventProducer(kafka.settings(), source="fuzz")
        good, taken = [f"good-{number}" for number in range(len(hostile))], []
        for event_id, (key, headers, value) in zip(good, hostile, strict=True):
            # Another client, which writes what Kafka takes: ours refuses a null header, and a record that is empty.
            strangers.produce(topic, value, key, headers=headers)
            assert strangers.flush(10) == 0
            message = BehaviourEvent(user_id="u1", item_id="i1", action=Action.ACTION_CLICK)
            producer.publish_blocking(topic, "acme:u1", message, "acme", event_id=event_id)

        def take(event):
            behaviour_of(event)
            taken.append(event.envelope.id)

        group = f"recommender.{topic}"
        consumer = EventConsumer(kafka.settings(), group, {topic: Handler(BehaviourEvent, take)}, producer=producer)
        with running(consumer):
            wait_until("every record to be settled", lambda: kafka.committed(group, topic) == 2 * len(hostile))
        producer.close()

        assert [event_id for event_id in taken if event_id in good] == good
        assert len(kafka.records(f"{topic}.dlq")) == 2 * len(hostile) - len(taken)

    holds()
