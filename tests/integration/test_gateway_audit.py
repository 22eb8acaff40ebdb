"""The record of what administrators and operators asked for: complete, their tenant's, and not theirs to change."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from chassis import database
from chassis.errors import Unavailable
from chassis.identity import Role


async def record(gateway, **query):
    return (await gateway.client.get("/v1/audit", params=query)).json()["records"]


async def test_a_rotated_key_is_on_record_with_who_did_it_under_which_trace(gateway):
    made = (await gateway.client.post("/v1/keys", json={"principal": "shop", "roles": ["viewer"]})).json()
    rotated = await gateway.client.post(f"/v1/keys/{made['key_id']}:rotate", json={"grace_seconds": 60})
    old, new = ({"Authorization": f"Bearer {key}"} for key in (made["key"], rotated.json()["key"]))
    revoked = await gateway.client.delete(f"/v1/keys/{made['key_id']}")

    assert [(await gateway.client.get("/v1/models", headers=each)).status_code for each in (old, new)] == [401, 200]
    newest, middle, oldest = await record(gateway)
    assert (newest["method"], newest["path"], newest["status"]) == ("DELETE", f"/v1/keys/{made['key_id']}", 204)
    assert (middle["path"], middle["status"]) == (f"/v1/keys/{made['key_id']}:rotate", 201)
    assert middle["note"] == f"made key {rotated.json()['key_id']}"
    assert middle["request"] == '{"grace_seconds":60}'
    assert (oldest["principal"], oldest["note"]) == ("tester", f"made key {made['key_id']}")
    assert newest["trace_id"] == revoked.headers.get("x-trace-id", "")
    assert made["key"] not in str([newest, middle, oldest])


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/models/din:promote", {"version": "2", "reason": "better"}, 200),
        ("/v1/models/nobody:promote", {"version": "2"}, 404),
        ("/v1/models/din:promote", {"version": "none"}, 422),
        ("/v1/models/din:canary", {"version": "2", "share": 0.1, "reason": "a NUL \x00"}, 200),
    ],
)
async def test_what_was_asked_of_a_release_is_on_record_with_its_outcome(gateway, path, body, status):
    answer = await gateway.client.post(path, json=body)

    [entry] = await record(gateway)
    assert (answer.status_code, entry["status"], entry["path"]) == (status, status, path)


async def test_an_attempt_that_is_refused_is_on_record(gateway):
    viewer = gateway.as_(await gateway.key(Role.VIEWER, principal="curious"))

    await gateway.client.post("/v1/keys", json={"principal": "me", "roles": ["admin"]}, headers=viewer)

    [entry] = await record(gateway)
    assert (entry["principal"], entry["status"]) == ("curious", 403)


async def test_reading_is_not_recorded_and_the_record_has_pages(gateway):
    await gateway.client.get("/v1/models")
    for number in range(3):
        await gateway.client.post("/v1/models/din:shadow", json={"reason": str(number)})

    first = await record(gateway, limit=2)
    rest = await record(gateway, limit=2, before=first[-1]["call_id"])

    assert [entry["request"] for entry in first + rest] == [f'{{"reason":"{number}"}}' for number in (2, 1, 0)]


async def test_another_tenant_sees_none_of_it(gateway):
    await gateway.client.post("/v1/models/din:shadow", json={})
    stranger = gateway.as_(await gateway.key(Role.ADMIN, tenant="another"))

    assert (await gateway.client.get("/v1/audit", headers=stranger)).json() == {"records": []}


async def test_a_call_that_cannot_be_recorded_is_not_made(gateway, monkeypatch):
    async def away(call):
        raise Unavailable("the gateway's database", "away")

    monkeypatch.setattr(type(gateway.given.audit), "called", lambda self, call: away(call))

    response = await gateway.client.post("/v1/models/din:promote", json={"version": "2"})

    assert response.status_code == 503
    assert gateway.releases.changes == []


async def test_a_call_that_ends_in_its_deadline_has_an_outcome(gateway):
    gateway.releases.answers_after_seconds = 5.0

    late = await gateway.client.post("/v1/models/din:shadow", json={}, headers={"X-Request-Timeout-Ms": "300"})

    [entry] = await record(gateway)
    assert late.status_code == entry["status"] == 504


@pytest.mark.parametrize("statement", ["UPDATE audit_calls SET principal = 'x'", "DELETE FROM audit_outcomes"])
async def test_the_services_role_cannot_change_the_record(gateway_database, statement):
    engine = database.connect_blocking(gateway_database)

    with pytest.raises(ProgrammingError, match="permission denied"), engine.begin() as connection:
        connection.execute(text(statement))
    engine.dispose()
