"""The API over real PostgreSQL, Redis and gRPC: what goes in, what comes out, and who may do it."""

import asyncio
import json
import re

import pytest

from chassis.errors import Unavailable
from chassis.identity import Role
from tests.unit.gateway.parts import running_gateway


def problem(response):
    assert response.headers["content-type"] == "application/problem+json", response.text
    return response.json()


async def test_recommendations_come_with_their_reasons(gateway):
    response = await gateway.client.post("/v1/recommendations", json={"user_id": "196", "limit": 5, "explain": True})

    assert response.status_code == 200, response.text
    [item] = response.json()["items"]
    assert item["title"] == "L.A. Confidential (1997)"
    assert item["score"] == 0.1, "a float32 shows the digits that it has"
    assert item["explanation"]["channels"] == [{"channel": "item_to_item", "score": 0.0, "because_of_item_id": "242"}]
    assert item["explanation"]["features"] == {"user.events": 0.3}
    assert response.json()["versions"]["feature_age_seconds"] is None


async def test_the_service_learns_who_asks_and_for_how_long(gateway):
    key = await gateway.key(Role.VIEWER, principal="storefront")
    headers = gateway.as_(key, **{"X-Request-Timeout-Ms": "700"})

    response = await gateway.client.post("/v1/recommendations", json={"user_id": "196"}, headers=headers)

    assert response.status_code == 200
    identity = gateway.recommender.last_identity
    assert (identity.tenant, identity.principal, identity.roles) == (gateway.tenant, "storefront", {Role.VIEWER})
    assert 0 < gateway.recommender.last_deadline_seconds <= 0.7


async def test_an_anonymous_session_is_recommended_to_by_its_clicks(gateway):
    request = {"session_id": "s1", "exclude_item_ids": ["1"], "category": "Drama"}

    response = await gateway.client.post("/v1/recommendations", json=request)

    assert response.status_code == 200
    sent = gateway.recommender.last_request
    assert (sent.session_id, sent.user_id, list(sent.exclude_item_ids), sent.category) == ("s1", "", ["1"], "Drama")


async def test_history_shows_the_live_sequence(gateway):
    response = await gateway.client.get("/v1/users/a%2Fb/history", params={"limit": 3})

    assert response.json()["entries"][0]["item"]["title"] == "Kolya (1996)"
    assert (gateway.recommender.last_request.user_id, gateway.recommender.last_request.limit) == ("a/b", 3)


async def test_an_item_is_put_shown_and_retired(gateway):
    content = {"title": "Heat (1995)", "categories": ["Crime"], "year": 1995}

    put = await gateway.client.put("/v1/items/heat", json=content)
    shown = await gateway.client.get("/v1/items/heat")
    retired = await gateway.client.delete("/v1/items/heat")
    gone = await gateway.client.get("/v1/items/heat")

    assert put.status_code == 200
    assert put.json() | content == put.json()
    assert shown.json() == put.json()
    assert (retired.status_code, retired.content) == (204, b"")
    assert problem(gone)["detail"] == "there is no item 'heat'"


async def test_a_users_profile_answers_with_the_segment(gateway):
    response = await gateway.client.put("/v1/users/196", json={"age": 27, "gender": "F"})

    assert response.json() == {"user_id": "196", "age": 27, "gender": "F", "occupation": None, "segment": "25-34/F"}


async def test_a_model_is_canaried_promoted_and_rolled_back(gateway):
    post = gateway.client.post

    canary = await post("/v1/models/din:canary", json={"version": "2", "share": 0.2, "reason": "try it"})
    promoted = await post("/v1/models/din:promote", json={"version": "2"})
    rolled_back = await post("/v1/models/din:rollback", json={})
    shadow = await post("/v1/models/din:shadow", json={"version": "2"})
    changes = await gateway.client.get("/v1/models/din/changes", params={"limit": 3})

    assert (canary.json()["canary"], canary.json()["canary_share"]) == ("2", 0.2)
    assert (promoted.json()["stable"], promoted.json()["canary"]) == ("2", None)
    assert rolled_back.json()["stable"] == "1"
    assert shadow.json()["shadow"] == "2"
    assert [change["action"] for change in changes.json()["changes"]] == ["shadow", "rollback", "promote"]
    listed = (await gateway.client.get("/v1/models")).json()["models"]
    assert listed == [(await gateway.client.get("/v1/models/din")).json()]


async def test_a_change_that_the_state_does_not_allow_is_refused(gateway):
    response = await gateway.client.post("/v1/models/din:rollback", json={})

    assert response.status_code == 409
    assert problem(response)["type"] == "urn:casebook:problem:failed-precondition"


ROUTES = [
    ("POST", "/v1/recommendations", {"user_id": "1"}, Role.VIEWER),
    ("GET", "/v1/users/1/history", None, Role.VIEWER),
    ("POST", "/v1/events", {"user_id": "1", "item_id": "1", "action": "click"}, Role.VIEWER),
    ("POST", "/v1/events:batch", {"events": [{"user_id": "1", "item_id": "1", "action": "click"}]}, Role.VIEWER),
    ("PUT", "/v1/items/1", {"title": "t"}, Role.OPERATOR),
    ("GET", "/v1/items/1", None, Role.VIEWER),
    ("DELETE", "/v1/items/1", None, Role.OPERATOR),
    ("PUT", "/v1/users/1", {}, Role.OPERATOR),
    ("POST", "/v1/support/conversations", {"knowledge_base": "b", "question": "?"}, Role.VIEWER),
    ("POST", "/v1/support/conversations/c/turns", {"knowledge_base": "b", "question": "?"}, Role.VIEWER),
    ("GET", "/v1/support/conversations/c", None, Role.VIEWER),
    ("POST", "/v1/support/conversations/c/feedback", {"turn_id": "t", "verdict": "helpful"}, Role.VIEWER),
    ("GET", "/v1/support/knowledge/b/articles", None, Role.VIEWER),
    ("PUT", "/v1/support/knowledge/b/articles/1", {"title": {"en": "t"}, "answer": {"en": "a"}}, Role.OPERATOR),
    ("GET", "/v1/support/knowledge/b/articles/1", None, Role.VIEWER),
    ("DELETE", "/v1/support/knowledge/b/articles/1", None, Role.OPERATOR),
    ("POST", "/v1/support/knowledge/b/articles:import", None, Role.OPERATOR),
    ("GET", "/v1/support/knowledge/b/articles:export", None, Role.VIEWER),
    ("POST", "/v1/support/knowledge/b/questions:import", None, Role.OPERATOR),
    ("GET", "/v1/support/knowledge/b/drafts", None, Role.OPERATOR),
    ("POST", "/v1/support/drafts/d:approve", {}, Role.OPERATOR),
    ("POST", "/v1/support/drafts/d:reject", {}, Role.OPERATOR),
    ("GET", "/v1/support/knowledge/b/quality/en", None, Role.VIEWER),
    ("PUT", "/v1/support/knowledge/b/target-risk", {"target_risk": 0.02}, Role.OPERATOR),
    ("POST", "/v1/support/knowledge/b:calibrate", None, Role.OPERATOR),
    ("GET", "/v1/support/handoffs", None, Role.REVIEWER),
    ("GET", "/v1/support/handoffs/h", None, Role.REVIEWER),
    ("POST", "/v1/support/handoffs/h:claim", {}, Role.REVIEWER),
    ("POST", "/v1/support/handoffs/h:release", None, Role.REVIEWER),
    ("POST", "/v1/support/handoffs/h/replies", {"text": "t"}, Role.REVIEWER),
    ("POST", "/v1/support/handoffs/h:resolve", {"resolution": "r"}, Role.REVIEWER),
    ("GET", "/v1/models", None, Role.VIEWER),
    ("GET", "/v1/models/din", None, Role.VIEWER),
    ("GET", "/v1/models/din/changes", None, Role.VIEWER),
    ("POST", "/v1/models/din:promote", {"version": "1"}, Role.OPERATOR),
    ("POST", "/v1/models/din:rollback", {}, Role.OPERATOR),
    ("POST", "/v1/models/din:canary", {"version": "1", "share": 0.1}, Role.OPERATOR),
    ("POST", "/v1/models/din:shadow", {}, Role.OPERATOR),
    ("POST", "/v1/keys", {"principal": "p", "roles": ["viewer"]}, Role.ADMIN),
    ("GET", "/v1/keys", None, Role.ADMIN),
    ("DELETE", "/v1/keys/x", None, Role.ADMIN),
    ("POST", "/v1/keys/x:rotate", {}, Role.ADMIN),
    ("GET", "/v1/audit", None, Role.ADMIN),
]


@pytest.mark.parametrize(("method", "path", "body", "role"), ROUTES)
async def test_every_route_needs_a_key_and_its_role(gateway, method, path, body, role):
    enough, rest = {
        Role.VIEWER: ([Role.VIEWER, Role.REVIEWER, Role.OPERATOR], []),
        Role.REVIEWER: ([Role.REVIEWER, Role.ADMIN], [Role.VIEWER, Role.OPERATOR]),
        Role.OPERATOR: ([Role.OPERATOR, Role.ADMIN], [Role.VIEWER, Role.REVIEWER]),
        Role.ADMIN: ([Role.ADMIN], [Role.VIEWER, Role.REVIEWER, Role.OPERATOR]),
    }[role]

    async def status_for(headers):
        return (await gateway.client.request(method, path, json=body, headers=headers)).status_code

    assert await status_for({"Authorization": ""}) == 401
    for held in enough:
        assert await status_for(gateway.as_(await gateway.key(held))) not in (401, 403), held
    for held in rest:
        assert await status_for(gateway.as_(await gateway.key(held))) == 403, held


def test_every_route_is_in_the_table_above(gateway_database, redis_url):
    async def documented():
        async with running_gateway(gateway_database, redis_url) as gateway:
            return gateway.app.openapi()["paths"]

    operations = {
        (method.upper(), path)
        for path, methods in asyncio.run(documented()).items()
        for method in methods
        if path.startswith("/v1/")
    }
    patterns = {(method, re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path)))) for method, path in operations}
    unmatched = {
        pattern.pattern
        for method, pattern in patterns
        if not any(row[0] == method and pattern.fullmatch(row[1]) for row in ROUTES)
    }
    assert not unmatched


async def test_who_has_no_key_is_told_how_to_send_one(gateway):
    response = await gateway.client.get("/v1/models", headers={"Authorization": "Basic abc"})

    assert response.status_code == 401
    assert response.headers["www-authenticate"] == 'Bearer realm="casebook"'
    assert "Authorization: Bearer cb_" in problem(response)["detail"]


async def test_who_is_not_let_in_does_not_get_a_body_read(gateway):
    async def endless():
        while True:
            yield b"x" * 1000
            await asyncio.sleep(0)

    response = await gateway.client.post("/v1/events", content=endless(), headers={"Authorization": "Bearer cb_x"})

    assert response.status_code == 401


async def test_keys_are_made_listed_and_revoked_within_the_tenant(gateway):
    made = await gateway.client.post("/v1/keys", json={"principal": "shop", "roles": ["viewer"], "expires_in_days": 30})
    key = made.json()
    headers = {"Authorization": f"Bearer {key['key']}"}
    works = await gateway.client.get("/v1/models", headers=headers)
    listed = (await gateway.client.get("/v1/keys")).json()["keys"]
    stranger = gateway.as_(await gateway.key(Role.ADMIN, tenant="another"))
    not_theirs = await gateway.client.delete(f"/v1/keys/{key['key_id']}", headers=stranger)
    revoked = await gateway.client.delete(f"/v1/keys/{key['key_id']}")
    again = await gateway.client.delete(f"/v1/keys/{key['key_id']}")
    ended = await gateway.client.get("/v1/models", headers=headers)

    assert made.status_code == 201
    assert works.status_code == 200
    assert listed[0]["key_id"] == key["key_id"]
    assert "key" not in listed[0]
    assert {entry["tenant"] for entry in listed} == {gateway.tenant}
    assert not_theirs.status_code == 404
    assert (revoked.status_code, again.status_code) == (204, 204)
    assert ended.status_code == 401


async def test_too_many_requests_are_told_when_to_come_back(gateway_database, redis_url):
    async with running_gateway(gateway_database, redis_url, rate_limit_per_second=0.1, rate_limit_burst=2) as gateway:
        responses = [await gateway.client.get("/v1/models") for _ in range(3)]

    assert [response.status_code for response in responses] == [200, 200, 429]
    assert responses[0].headers["ratelimit-policy"] == '"key";q=2;w=20'
    assert responses[0].headers["ratelimit"] == '"key";r=1;t=10'
    assert 9 <= int(responses[2].headers["retry-after"]) <= 10
    assert "0.1 requests a second" in problem(responses[2])["detail"]


async def chunks(total):
    for _ in range(total // 1000):
        yield b" " * 1000


@pytest.mark.parametrize("content", [b" " * 10_001, chunks(20_000)], ids=["with its length", "in chunks"])
async def test_a_body_over_the_limit_is_refused(gateway_database, redis_url, content):
    async with running_gateway(gateway_database, redis_url, max_body_bytes=10_000) as gateway:
        response = await gateway.client.post(
            "/v1/events", content=content, headers={"Content-Type": "application/json"}
        )

    assert response.status_code == 413
    assert "10000 bytes" in problem(response)["detail"]


async def test_a_body_that_does_not_say_that_it_is_json_is_refused(gateway):
    response = await gateway.client.post("/v1/events", content=b"a=b", headers={"Content-Type": "text/plain"})

    assert response.status_code == 415
    assert "application/json" in problem(response)["detail"]


async def test_a_recommender_that_is_away_is_said_to_be(gateway):
    gateway.recommender.fails_with = Unavailable("the index", "not loaded yet", retry_after_seconds=7)

    response = await gateway.client.post("/v1/recommendations", json={"user_id": "196"})

    assert response.status_code == 503
    assert response.headers["retry-after"] == "7"
    assert "the index is not available" in problem(response)["detail"]


async def test_a_service_that_breaks_is_not_the_clients_fault(gateway):
    gateway.recommender.fails_with = RuntimeError("secret internals")

    response = await gateway.client.post("/v1/recommendations", json={"user_id": "196"})

    assert response.status_code == 502
    assert "secret internals" not in response.text


async def test_a_request_ends_when_the_clients_time_is_over(gateway):
    gateway.recommender.answers_after_seconds = 30

    response = await gateway.client.post(
        "/v1/recommendations", json={"user_id": "196"}, headers={"X-Request-Timeout-Ms": "100"}
    )

    assert response.status_code == 504


@pytest.mark.parametrize("value", ["0", "30001", "1.5", "-1", "soon", "9" * 30])
async def test_the_time_that_a_client_may_give_is_bounded(gateway, value):
    response = await gateway.client.get("/v1/models", headers={"X-Request-Timeout-Ms": value})

    assert response.status_code == 422
    assert problem(response)["errors"][0]["limit"] == "a whole number from 1 to 30000"


async def test_an_unexpected_error_gives_nothing_away(gateway):
    gateway.given.readiness.reasons = None

    response = await gateway.client.get("/readyz")

    assert response.status_code == 500
    assert problem(response)["type"] == "urn:casebook:problem:internal"
    assert response.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("method", "path", "field"),
    [
        ("PUT", "/v1/items/a%0Ab", "item_id"),
        ("GET", "/v1/items/a%0A", "item_id"),
        ("PUT", "/v1/users/%0Ab", "user_id"),
        ("GET", "/v1/users/a%0Ab/history", "user_id"),
    ],
)
async def test_an_id_with_a_control_character_is_refused_by_name(gateway, method, path, field):
    response = await gateway.client.request(method, path, json={"title": "t"} if "items" in path else {})

    assert response.status_code == 422
    assert problem(response)["errors"][0]["field"] == field


@pytest.mark.parametrize("path", ["/v1/models", "/livez", "/nowhere"])
async def test_every_answer_carries_the_security_headers(gateway, path):
    headers = (await gateway.client.get(path)).headers

    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["cache-control"] == "no-store"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "strict-transport-security" not in headers


async def test_cors_is_off_unless_origins_are_listed(gateway, gateway_database, redis_url):
    asks = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}

    off = await gateway.client.options("/v1/events", headers=asks)
    async with running_gateway(gateway_database, redis_url, cors_origins=("https://shop.example",)) as open_gateway:
        on = await open_gateway.client.options("/v1/events", headers=asks)
        other = await open_gateway.client.options("/v1/events", headers=asks | {"Origin": "https://evil.example"})

    assert "access-control-allow-origin" not in off.headers
    assert on.headers["access-control-allow-origin"] == "https://shop.example"
    assert "access-control-allow-origin" not in other.headers


async def test_health_needs_no_key(gateway):
    live = await gateway.client.get("/livez", headers={"Authorization": ""})
    starting = await gateway.client.get("/readyz")
    gateway.given.readiness.start()
    ready = await gateway.client.get("/readyz")

    assert live.json()["status"] == "live"
    assert (starting.status_code, starting.json()["reasons"]) == (503, {"process": "starting"})
    assert (ready.status_code, ready.json()["status"]) == (200, "ready")


async def test_the_page_needs_nothing_from_elsewhere(gateway):
    response = await gateway.client.get("/docs")

    assert response.status_code == 200
    assert "<code>POST /v1/events:batch</code>" in response.text
    assert "<script" not in response.text
    assert "http://" not in response.text
    assert "https://" not in response.text
    assert "'unsafe-inline'" in response.headers["content-security-policy"]


async def test_the_document_reads_well(gateway):
    document = (await gateway.client.get("/openapi.json")).json()

    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            where = f"{method} {path}"
            assert operation["tags"], where
            assert operation["summary"][0].isupper(), where
            assert operation["operationId"].isidentifier(), where
            for status, answer in operation["responses"].items():
                if path.startswith("/v1") and int(status) >= 400:
                    assert list(answer["content"]) == ["application/problem+json"], f"{where} {status}"
    assert "HTTPValidationError" not in json.dumps(document)
