"""Accepting events: 202 only after the broker's acknowledgement, on a real Kafka; 503 without one."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta

import pytest
from kafka.errors import TopicAlreadyExistsError

from casebook.behaviour.v1 import events_pb2 as behaviour
from chassis.events import EventProducer
from chassis.settings import Settings
from cli.processes import free_ports
from gateway.publishing import KafkaPublisher
from gateway.routers.events import TOPIC
from tests.unit.gateway.parts import Gateway, running_gateway

CLICK = {"user_id": "196", "item_id": "302", "action": "click"}


@asynccontextmanager
async def publishing_to(bootstrap, database_url, redis_url, **settings) -> AsyncIterator[Gateway]:
    """A gateway with a real producer."""
    producer = EventProducer(Settings(kafka_bootstrap=bootstrap, default_deadline_seconds=5), source="gateway")
    try:
        async with running_gateway(database_url, redis_url, publisher=KafkaPublisher(producer), **settings) as gateway:
            yield gateway
    finally:
        await asyncio.to_thread(producer.close)


@pytest.fixture(scope="module")
def topic(kafka):
    with suppress(TopicAlreadyExistsError):
        kafka.create(TOPIC, partitions=4)
    return TOPIC


@pytest.mark.kafka
async def test_what_is_accepted_is_in_kafka(kafka, topic, gateway_database, redis_url):
    async with publishing_to(kafka.bootstrap, gateway_database, redis_url) as gateway:
        response = await gateway.client.post("/v1/events", json=CLICK | {"action": "rate", "rating": 4.5})

    assert response.status_code == 202, response.text
    [record] = [record for record in kafka.records(topic) if record.key.decode() == f"{gateway.tenant}:196"]
    headers = {name: value.decode() for name, value in record.headers}
    event = behaviour.BehaviourEvent.FromString(record.value)
    assert headers["ce_id"] == response.json()["id"]
    assert headers["ce_tenant"] == gateway.tenant
    assert (event.item_id, event.action, event.rating) == ("302", behaviour.ACTION_RATE, 4.5)
    assert abs(event.occurred_at.ToDatetime(tzinfo=UTC) - datetime.now(UTC)) < timedelta(minutes=1)


@pytest.mark.kafka
async def test_a_batch_of_500_keeps_the_order_of_each_user(kafka, topic, gateway_database, redis_url):
    events = [{"user_id": f"u{n % 10}", "item_id": str(n), "action": "click"} for n in range(500)]
    async with publishing_to(kafka.bootstrap, gateway_database, redis_url) as gateway:
        response = await gateway.client.post("/v1/events:batch", json={"events": events})

    assert response.status_code == 202, response.text
    records = [record for record in kafka.records(topic) if record.key.decode().startswith(f"{gateway.tenant}:")]
    by_id = {
        dict(record.headers)["ce_id"].decode(): behaviour.BehaviourEvent.FromString(record.value) for record in records
    }
    assert [by_id[event_id].item_id for event_id in response.json()["ids"]] == [str(n) for n in range(500)]
    for user in {event["user_id"] for event in events}:
        mine = [
            int(event.item_id)
            for event in map(behaviour.BehaviourEvent.FromString, (r.value for r in records))
            if event.user_id == user
        ]
        assert mine == sorted(mine), user


async def test_without_a_broker_nothing_is_accepted(gateway_database, redis_url):
    [dead] = free_ports(1)
    async with publishing_to(f"127.0.0.1:{dead}", gateway_database, redis_url, publish_deadline_seconds=1) as gateway:
        response = await gateway.client.post("/v1/events", json=CLICK)

    assert response.status_code == 503
    assert int(response.headers["retry-after"]) >= 1
    assert "kafka is not available" in response.json()["detail"]


async def test_an_event_keeps_the_id_that_it_came_with(gateway):
    event_id = "0192f5c4-6d1e-7cc2-b1f4-3a1f0c9d2e77"

    response = await gateway.client.post("/v1/events", json=CLICK | {"id": event_id})

    assert response.json() == {"id": event_id}
    assert gateway.broker.published[0].event_id == event_id


async def test_an_event_without_an_id_gets_a_uuid7(gateway):
    response = await gateway.client.post("/v1/events", json=CLICK)

    assert uuid.UUID(response.json()["id"]).version == 7


@pytest.mark.parametrize(
    ("offset", "status"),
    [
        (timedelta(days=-7, minutes=1), 202),
        (timedelta(days=-7, minutes=-1), 422),
        (timedelta(minutes=4), 202),
        (timedelta(minutes=6), 422),
    ],
)
async def test_when_it_happened_is_bounded(gateway, offset, status):
    occurred_at = (datetime.now(UTC) + offset).isoformat()

    response = await gateway.client.post(
        "/v1/events:batch", json={"events": [CLICK, CLICK | {"occurred_at": occurred_at}]}
    )

    assert response.status_code == status
    if status == 422:
        assert response.json()["errors"][0]["field"] == "events.1.occurred_at"
        assert not gateway.broker.published, "a batch is taken whole or not at all"


async def test_two_events_of_a_batch_cannot_have_one_id(gateway):
    twice = CLICK | {"id": "0192f5c4-6d1e-7cc2-b1f4-3a1f0c9d2e77"}

    response = await gateway.client.post("/v1/events:batch", json={"events": [twice, twice]})

    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "events.1.id"


@pytest.mark.parametrize("count", [0, 501])
async def test_a_batch_is_bounded(gateway, count):
    response = await gateway.client.post("/v1/events:batch", json={"events": [CLICK] * count})

    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "events"


async def test_a_session_that_signed_in_is_keyed_by_its_user(gateway):
    await gateway.client.post("/v1/events", json=CLICK | {"session_id": "s1"})
    await gateway.client.post("/v1/events", json={"session_id": "s1", "item_id": "1", "action": "like"})

    keys = [event.key for event in gateway.broker.published]
    assert keys == [f"{gateway.tenant}:196", f"{gateway.tenant}:s1"]
