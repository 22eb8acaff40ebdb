"""Problem details: every error becomes one, with what a client needs to act on it."""

import json

import grpc
import pytest
from fastapi import FastAPI, Request
from httpx import ASGITransport, AsyncClient
from starlette.requests import ClientDisconnect

from chassis import errors
from gateway import problems
from gateway.schemas.recommender import Event


@pytest.mark.parametrize(
    ("error", "status", "name"),
    [
        (errors.InvalidField("limit", "from 1 to 100", 0), 422, "invalid-request"),
        (errors.Unauthenticated("no key"), 401, "unauthenticated"),
        (errors.PermissionDenied("the role operator", "x holds viewer"), 403, "permission-denied"),
        (errors.NotFound("item", "1"), 404, "not-found"),
        (errors.Conflict("item", "1", "changed meanwhile"), 409, "conflict"),
        (errors.FailedPrecondition("model din", "no previous version"), 409, "failed-precondition"),
        (errors.LimitExceeded("queue", 10), 429, "limit-exceeded"),
        (errors.Unavailable("kafka", "no broker"), 503, "unavailable"),
        (errors.DeadlineExceeded("Recommend"), 504, "deadline-exceeded"),
        (problems.BodyTooLarge(10), 413, "body-too-large"),
        (problems.IdempotencyKeyReused("k"), 422, "idempotency-key-reused"),
        (problems.IdempotencyKeyInUse("k"), 409, "idempotency-key-in-use"),
        (errors.CasebookError("?"), 500, "internal"),
    ],
)
def test_each_error_has_its_status_and_type(error, status, name):
    problem = problems.from_error(error, "/v1/x")

    document = json.loads(problem.body)
    assert problem.status_code == document["status"] == status
    assert document["type"] == f"urn:casebook:problem:{name}"
    assert document["detail"] == error.message
    assert document["instance"] == "/v1/x"
    assert problem.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (errors.LimitExceeded("requests", 10, retry_after_seconds=2.1), "3"),
        (errors.LimitExceeded("requests", 10), "1"),
        (errors.Unavailable("kafka", "no broker", retry_after_seconds=0.01), "1"),
        (errors.NotFound("item", "1"), None),
    ],
)
def test_retry_after_is_in_whole_seconds_where_waiting_helps(error, seconds):
    assert problems.from_error(error, "/").headers.get("Retry-After") == seconds


class Failure(grpc.RpcError):
    def __init__(self, code):
        self._code = code

    def code(self):
        return self._code

    def details(self):
        return "why"

    def trailing_metadata(self):
        return ()


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (grpc.StatusCode.NOT_FOUND, 404),
        (grpc.StatusCode.PERMISSION_DENIED, 403),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, 429),
        (grpc.StatusCode.UNAVAILABLE, 503),
        (grpc.StatusCode.DEADLINE_EXCEEDED, 504),
        (grpc.StatusCode.INTERNAL, 502),
        # The gateway's own token was refused: that is no fault of the client's key.
        (grpc.StatusCode.UNAUTHENTICATED, 502),
    ],
)
def test_a_services_status_becomes_an_http_status(code, status):
    assert problems.from_error(problems.from_rpc(Failure(code)), "/").status_code == status


@pytest.fixture
async def client():
    app = FastAPI()
    problems.install(app)

    @app.post("/events")
    async def record(event: Event) -> None: ...

    async with AsyncClient(transport=ASGITransport(app), base_url="http://t") as client:
        yield client


@pytest.mark.parametrize(
    ("body", "field", "limit"),
    [
        ({"user_id": "u", "action": "click"}, "item_id", "Field required"),
        ({"user_id": "u", "item_id": "", "action": "click"}, "item_id", "min_length 1"),
        ({"user_id": "u", "item_id": "x" * 129, "action": "click"}, "item_id", "max_length 128"),
        ({"user_id": "a\nb", "item_id": "1", "action": "click"}, "user_id", "pattern"),
        ({"user_id": "\ud800", "item_id": "1", "action": "click"}, "user_id", "valid string"),
        ({"user_id": "u", "item_id": "1", "action": "bought"}, "action", "'impression', 'click'"),
        ({"user_id": "u", "item_id": "1", "action": "rate", "rating": 5.5}, "rating", "le 5"),
        ({"user_id": "u", "item_id": "1", "action": "click", "colour": "red"}, "colour", "not permitted"),
        ({"user_id": "u", "item_id": "1", "action": "click", "id": "7"}, "id", "pattern"),
        (
            {"user_id": "u", "item_id": "1", "action": "click", "occurred_at": "2026-01-01T00:00:00"},
            "occurred_at",
            "timezone",
        ),
    ],
)
async def test_a_field_that_breaks_its_limit_is_named_with_the_limit(client, body, field, limit):
    response = await client.post("/events", content=json.dumps(body), headers={"Content-Type": "application/json"})

    assert response.status_code == 422
    [error] = response.json()["errors"]
    assert error["field"] == field
    assert limit in error["limit"]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"item_id": "1", "action": "click"}, "user_id or session_id is needed"),
        ({"user_id": "u", "item_id": "1", "action": "click", "rating": 3}, "rating goes with the action rate"),
        ({"user_id": "u", "item_id": "1", "action": "rate"}, "rating goes with the action rate"),
    ],
)
async def test_fields_that_do_not_go_together_are_refused(client, body, why):
    response = await client.post("/events", json=body)

    assert response.status_code == 422
    assert why in response.json()["detail"]


async def test_a_body_that_is_no_json_is_malformed(client):
    response = await client.post("/events", content=b"{", headers={"Content-Type": "application/json"})

    assert response.status_code == 400
    assert response.json()["type"] == "urn:casebook:problem:malformed-request"


async def test_a_long_value_is_shown_shortened(client):
    response = await client.post("/events", json={"user_id": "u" * 100_000, "item_id": "1", "action": "click"})

    assert len(response.content) < 2000


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nowhere", 404), ("GET", "/events", 405)])
async def test_the_frameworks_own_refusals_are_problems_too(client, method, path, status):
    response = await client.request(method, path)

    assert response.status_code == response.json()["status"] == status
    assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.asyncio
async def test_a_body_that_is_broken_off_is_malformed_and_no_unexpected_error():
    app = FastAPI()
    problems.install(app)

    @app.post("/things")
    async def add(request: Request) -> int:
        return len(await request.body())

    begins = iter([{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}])
    sent = []

    async def receive():
        return next(begins)

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/things", "query_string": b"", "headers": [], "app": app}
    await app(scope, receive, send)

    assert sent[0]["status"] == 400
    assert json.loads(sent[1]["body"])["detail"] == "the request ended before its body was whole"
    assert problems.status_of(ClientDisconnect()) == 400
