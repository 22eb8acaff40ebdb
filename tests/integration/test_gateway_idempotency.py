"""`Idempotency-Key` on a real PostgreSQL: done once, answered twice."""

import asyncio
import itertools
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from chassis import database
from chassis.errors import Unavailable
from chassis.identity import Role
from gateway.idempotency import Attempt, RequestKey, StoredAnswer
from gateway.problems import IdempotencyKeyInUse
from gateway.store import PostgresRecords, idempotency_records

CLICK = {"user_id": "196", "item_id": "302", "action": "click"}
KEY = {"Idempotency-Key": "order-1"}


@pytest.fixture
async def engine(gateway_database):
    engine = database.connect(gateway_database)
    yield engine
    await engine.dispose()


async def test_a_request_that_is_sent_again_is_answered_again_and_done_once(gateway):
    first = await gateway.client.post("/v1/events", json=CLICK, headers=KEY)
    second = await gateway.client.post("/v1/events", json=CLICK, headers=KEY)

    assert (first.status_code, second.status_code) == (202, 202)
    assert second.json() == first.json()
    assert second.headers["content-type"] == "application/json"
    assert (first.headers.get("idempotency-replayed"), second.headers["idempotency-replayed"]) == (None, "true")
    assert len(gateway.broker.published) == 1


async def test_a_change_of_a_model_happens_once(gateway):
    for _ in range(2):
        response = await gateway.client.post("/v1/models/din:promote", json={"version": "2"}, headers=KEY)

    assert response.json()["generation"] == 1
    assert len(gateway.releases.changes) == 1


async def test_the_same_key_with_another_body_is_refused(gateway):
    await gateway.client.post("/v1/events", json=CLICK, headers=KEY)

    response = await gateway.client.post("/v1/events", json=CLICK | {"item_id": "1"}, headers=KEY)

    assert response.status_code == 422
    assert response.json()["type"] == "urn:casebook:problem:idempotency-key-reused"


async def test_another_route_or_principal_may_use_the_same_key(gateway):
    await gateway.client.post("/v1/events", json=CLICK, headers=KEY)

    batch = await gateway.client.post("/v1/events:batch", json={"events": [CLICK]}, headers=KEY)
    other = gateway.as_(await gateway.key(Role.VIEWER, principal="other"), **KEY)
    theirs = await gateway.client.post("/v1/events", json=CLICK | {"item_id": "1"}, headers=other)

    assert (batch.status_code, theirs.status_code) == (202, 202)


async def test_of_requests_at_the_same_time_one_runs_and_the_rest_wait(gateway):
    gateway.broker.acknowledges.clear()
    requests = [asyncio.create_task(gateway.client.post("/v1/events", json=CLICK, headers=KEY)) for _ in range(5)]
    refused = [await first for first in itertools.islice(asyncio.as_completed(requests, timeout=10), 4)]

    gateway.broker.acknowledges.set()
    [accepted] = [response for task in requests if (response := await task).status_code == 202]

    assert [response.status_code for response in refused] == [409] * 4
    assert refused[0].headers["retry-after"] == "1"
    assert len(gateway.broker.published) == 1
    assert accepted.json()["id"] == gateway.broker.published[0].event_id


async def test_a_request_that_failed_may_be_tried_again_and_makes_the_same_events(gateway):
    batch = {"events": [CLICK, CLICK | {"item_id": "303"}]}
    gateway.broker.fails_with = Unavailable("kafka", "no broker")
    failed = await gateway.client.post("/v1/events:batch", json=batch, headers=KEY)
    gateway.broker.fails_with = None

    retried = await gateway.client.post("/v1/events:batch", json=batch, headers=KEY)

    assert (failed.status_code, retried.status_code) == (503, 202)
    assert [event.event_id for event in gateway.broker.published] == retried.json()["ids"] * 2


async def test_a_request_that_was_refused_does_not_use_up_its_key(gateway):
    refused = await gateway.client.post("/v1/events", json=CLICK | {"occurred_at": "2020-01-01T00:00:00Z"}, headers=KEY)

    released = await gateway.client.post(
        "/v1/events", json=CLICK | {"occurred_at": "2020-01-01T00:00:00Z"}, headers=KEY
    )

    assert (refused.status_code, released.status_code) == (422, 422)
    assert "Idempotency-Replayed" not in released.headers


async def test_the_deadline_lets_go_of_the_key(gateway):
    gateway.broker.acknowledges.clear()
    late = await gateway.client.post("/v1/events", json=CLICK, headers=KEY | {"X-Request-Timeout-Ms": "200"})
    gateway.broker.acknowledges.set()

    again = await gateway.client.post("/v1/events", json=CLICK, headers=KEY)

    # The time of the request, or what was left of it for the broker: whichever ends first.
    assert late.status_code in (503, 504)
    assert again.status_code == 202


def key_named(name):
    return RequestKey("acme", "shop", "POST /v1/events", name, b"f" * 32)


async def test_a_lease_whose_holder_died_is_taken_over_under_the_same_id(engine):
    records = PostgresRecords(engine, kept=timedelta(hours=1))
    key = key_named("orphan")
    first = await records.begin(key)
    with pytest.raises(IdempotencyKeyInUse):
        await records.begin(key)
    async with engine.begin() as connection:
        ended = func.now() - timedelta(seconds=1)
        await connection.execute(
            update(idempotency_records).where(idempotency_records.c.key == "orphan").values(leased_until=ended)
        )

    assert await records.begin(key) == first


async def test_an_answer_is_forgotten_after_its_time(engine):
    records = PostgresRecords(engine, kept=timedelta(seconds=-1))
    key = key_named("old")
    first = await records.begin(key)
    await records.complete(key, StoredAnswer(202, "application/json", b"{}"))

    second = await records.begin(key)

    assert isinstance(second, Attempt)
    assert second != first


async def test_pruning_takes_what_is_out_of_date_and_nothing_else(engine):
    await PostgresRecords(engine, kept=timedelta(seconds=-1)).begin(key_named("out of date"))
    current = PostgresRecords(engine, kept=timedelta(hours=1))
    await current.begin(key_named("current"))

    pruned = await current.prune()

    async with engine.connect() as connection:
        left = set((await connection.execute(select(idempotency_records.c.key))).scalars())
    assert pruned >= 1
    assert "current" in left
    assert "out of date" not in left
