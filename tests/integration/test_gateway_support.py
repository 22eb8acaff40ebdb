"""Smart support over HTTP: a conversation, the knowledge base and its files, the desk; who may do what."""

import json

import pytest

from casebook.support.v1 import desk_pb2
from chassis.errors import Unavailable
from chassis.identity import Role
from tests.unit.gateway.parts import running_gateway
from tests.unit.gateway.support_parts import CONVERSATION, DRAFT, HANDOFF

CONVERSATIONS = "/v1/support/conversations"
BASE = "/v1/support/knowledge/bank"
NDJSON = {"Content-Type": "application/x-ndjson"}


def line(article_id: str, title: str = "Lost card", **fields: object) -> dict[str, object]:
    return {"article_id": article_id, "title": {"en": title}, "answer": {"en": "Freeze it."}} | fields


def file(*lines: dict[str, object]) -> bytes:
    return b"".join(json.dumps(each, ensure_ascii=False).encode() + b"\n" for each in lines)


def problem(response):
    assert response.headers["content-type"] == "application/problem+json", response.text
    return response.json()


# Conversations


async def test_a_question_is_answered_with_its_source(gateway):
    turn = {"knowledge_base": "bank", "customer_id": "c-1", "question": "My card is gone", "explain": True}

    response = await gateway.client.post(CONVERSATIONS, json=turn | {"audiences": ["gold"]})

    assert response.status_code == 200, response.text
    answered = response.json()
    assert (answered["conversation_id"], answered["outcome"]) == (CONVERSATION, "answer")
    assert answered["answer"]["article_id"] == "lost_card"
    assert answered["answer"]["scores"]["probability"] == 0.9
    assert answered["text"] == "Freeze it <b>now</b>.", "text, as it was written"
    assert answered["retrieved"][0]["scores"]["dense"] == 0.7
    assert answered["stages"] == [{"name": "search", "milliseconds": 1.5}]
    sent = gateway.support.last_request
    assert (sent.conversation_id, sent.customer_id, list(sent.audiences)) == ("", "c-1", ["gold"])


async def test_a_later_turn_goes_to_its_conversation_and_a_wish_for_a_person_to_the_desk(gateway):
    turn = {"knowledge_base": "bank", "wants_person": True}

    response = await gateway.client.post(f"{CONVERSATIONS}/{CONVERSATION}/turns", json=turn)

    assert response.json()["outcome"] == "hand_off"
    assert response.json()["handoff"]["position"] == 1
    assert gateway.support.last_request.conversation_id == CONVERSATION
    assert gateway.support.last_request.WhichOneof("turn") == "wants_person"


async def test_a_turn_that_is_sent_again_under_its_key_is_taken_once(gateway):
    turn = {"knowledge_base": "bank", "question": "My card is gone"}
    headers = {"Idempotency-Key": "turn-1"}

    first = await gateway.client.post(CONVERSATIONS, json=turn, headers=headers)
    gateway.support.last_request = None
    again = await gateway.client.post(CONVERSATIONS, json=turn, headers=headers)

    assert again.json() == first.json()
    assert again.headers["Idempotency-Replayed"] == "true"
    assert gateway.support.last_request is None


@pytest.mark.parametrize(
    "turn",
    [
        {},
        {"question": "Which?", "picked_article_id": "lost_card"},
        {"question": " "},
        {"question": "?" * 2_001},
        {"question": "?", "knowledge_base": "Bank"},
        {"none_of_these": False},
        {"question": "?", "audiences": ["x"] * 9},
    ],
    ids=["nothing", "two things", "white space", "too long", "base", "not none", "audiences"],
)
async def test_a_turn_says_one_thing_within_its_limits(gateway, turn):
    response = await gateway.client.post(CONVERSATIONS, json={"knowledge_base": "bank"} | turn)

    assert response.status_code == 422
    assert problem(response)["errors"]


async def test_a_question_of_ten_megabytes_is_not_read_to_its_end(gateway):
    response = await gateway.client.post(CONVERSATIONS, json={"knowledge_base": "bank", "question": "?" * 10_000_000})

    assert response.status_code == 413


async def test_what_was_said_is_shown_and_judged(gateway):
    shown = await gateway.client.get(f"{CONVERSATIONS}/{CONVERSATION}", params={"customer_id": "c-1"})
    verdict = {"turn_id": "t-1", "verdict": "wrong", "correct_article_id": "none", "customer_id": "c-1"}
    judged = await gateway.client.post(f"{CONVERSATIONS}/{CONVERSATION}/feedback", json=verdict)
    unknown = await gateway.client.get(f"{CONVERSATIONS}/another")

    assert shown.json()["turns"][0] | {"speaker": "customer", "text": "My card is gone"} == shown.json()["turns"][0]
    assert judged.json()["handoff"]["state"] == "queued"
    assert gateway.support.last_request.conversation_id == "another"
    assert problem(unknown)["status"] == 404


async def test_without_support_there_is_a_503_and_nothing_invented(gateway):
    gateway.support.fails_with = Unavailable("support's database", "OperationalError", retry_after_seconds=2.0)

    response = await gateway.client.put(f"{BASE}/articles/a", json={"title": {"en": "A"}, "answer": {"en": "A."}})

    assert response.status_code == 503
    assert response.headers["Retry-After"] == "2"


# The knowledge base


async def test_an_article_is_put_shown_listed_and_retired(gateway):
    texts = {"title": {"zh": "卡丢了"}, "answer": {"zh": "请冻结。"}, "phrasings": {"zh": ["卡不见了"]}}
    content = texts | {"tags": ["cards"]}

    put = await gateway.client.put(f"{BASE}/articles/lost%2Fcard", json=content)
    shown = await gateway.client.get(f"{BASE}/articles/lost%2Fcard")
    retired = await gateway.client.delete(f"{BASE}/articles/lost%2Fcard")
    listed = await gateway.client.get(f"{BASE}/articles")
    with_retired = await gateway.client.get(f"{BASE}/articles", params={"with_retired": True})

    assert put.status_code == 200, put.text
    assert put.json() | content == put.json()
    assert (put.json()["article_id"], put.json()["audience"], put.json()["revision"]) == ("lost/card", "public", 1)
    assert shown.json() == put.json()
    assert retired.status_code == 204
    assert listed.json() == {"articles": [], "next_after": None}
    assert with_retired.json()["articles"][0]["retired"]


async def test_a_file_is_imported_500_lines_at_a_time_and_exported_as_it_came(gateway):
    lines = [line(f"a-{number:04}", f"Matter {number}", phrasings={"zh": ["问题"]}) for number in range(1_201)]

    imported = await gateway.client.post(f"{BASE}/articles:import", content=file(*lines) + b"\n  \n", headers=NDJSON)
    exported = await gateway.client.get(f"{BASE}/articles:export")
    again = await gateway.client.post(f"{BASE}/articles:import", content=exported.content, headers=NDJSON)

    assert imported.json() == {"lines": 1_201, "changed": 1_201, "unchanged": 0}
    assert gateway.support.imports == [500, 500, 201] * 2
    assert exported.headers["content-type"] == "application/x-ndjson"
    found = [json.loads(each) for each in exported.text.splitlines()]
    assert found == [each | {"tags": [], "audience": "public"} for each in lines]
    assert again.json() == {"lines": 1_201, "changed": 0, "unchanged": 1_201}


@pytest.mark.parametrize(
    ("broken", "names"),
    [
        (b'{"article_id": "x", "title"', "line 603: Invalid JSON"),
        (file({"article_id": "x", "answer": {"en": "A."}}), "line 603: title: Field required"),
        (file(line("x", tags=["t"] * 17)), "line 603: tags: List should have at most 16 items"),
        (file(line("x", wrong=1)), "line 603: wrong: Extra inputs are not permitted"),
        (file(line("refused")), "line 603.article_id: is refused"),
        (file(line("x" * 2_000_000)), "line 603: at most 1048576 bytes"),
        (b"\xff\xfe\n", "line 603: Invalid JSON"),
    ],
    ids=["no JSON", "missing", "limit", "unknown field", "by the service", "too long", "no text"],
)
async def test_an_error_in_a_file_names_its_line_and_how_far_the_file_is_in(gateway, broken, names):
    good = file(*(line(f"a-{number}") for number in range(601)))

    response = await gateway.client.post(f"{BASE}/articles:import", content=good + b"\n" + broken, headers=NDJSON)

    assert response.status_code == 422
    assert problem(response)["detail"].startswith(names)
    assert "lines 1 to 500 are in: mend it and send it again" in problem(response)["detail"]
    assert gateway.support.imports == [500]


async def test_lines_of_a_megabyte_go_on_in_calls_that_a_service_takes(gateway):
    phrasings = {"zh": ["问" * 290 + f"{index:05}" for index in range(900)]}
    heavy = [line(f"a-{number}", phrasings=phrasings) for number in range(5)]

    response = await gateway.client.post(f"{BASE}/articles:import", content=file(*heavy), headers=NDJSON)

    assert response.json()["changed"] == 5, response.text
    assert gateway.support.imports == [3, 2]


async def test_a_file_is_bounded_and_of_the_right_kind(gateway_database, redis_url):
    async with running_gateway(gateway_database, redis_url, max_import_bytes=2_000) as gateway:
        large = await gateway.client.post(
            f"{BASE}/articles:import", content=file(*(line(f"a-{n}") for n in range(50))), headers=NDJSON
        )
        other = await gateway.client.post(f"{BASE}/questions:import", json=[{"question": "?"}])

    assert large.status_code == 413
    assert problem(other)["detail"].startswith("the body must be application/x-ndjson or application/jsonl")


async def test_an_import_is_written_down_without_the_file(gateway):
    in_scope, out_of_scope = {"question": "Where is my card?", "article_id": "a"}, {"question": "Is it raining?"}
    questions = file(in_scope, out_of_scope)

    imported = await gateway.client.post(f"{BASE}/questions:import", content=questions, headers=NDJSON)
    [record, *_] = (await gateway.client.get("/v1/audit")).json()["records"]

    assert imported.json() == {"lines": 2, "changed": 2, "unchanged": 0}
    assert (record["path"], record["status"], record["note"]) == (f"{BASE}/questions:import", 200, "2 lines, 2 changed")
    assert record["request"] == ""


async def test_drafts_are_listed_approved_and_rejected(gateway):
    [listed] = (await gateway.client.get(f"{BASE}/drafts")).json()["drafts"]
    taken = await gateway.client.post(f"/v1/support/drafts/{DRAFT}:approve", json={})
    approved = await gateway.client.post(f"/v1/support/drafts/{DRAFT}:approve", json={"edited": line("new")})
    rejected = await gateway.client.post(f"/v1/support/drafts/{DRAFT}:reject", json={"reason": "not ours"})

    assert (listed["draft_id"], listed["proposed_by"]) == (DRAFT, "remy")
    assert problem(taken)["status"] == 409
    assert approved.json()["article_id"] == "new"
    assert rejected.status_code == 204


async def test_the_curve_is_shown_and_the_risk_chosen(gateway):
    shown = await gateway.client.get(f"{BASE}/quality/zh", params={"target_risk": 0.05})
    chosen = await gateway.client.put(f"{BASE}/target-risk", json={"target_risk": 0.02, "language": "zh"})
    calibrated = await gateway.client.post(f"{BASE}:calibrate")
    beyond = await gateway.client.put(f"{BASE}/target-risk", json={"target_risk": 0.6})

    assert shown.json()["curve"] == [{"threshold": 0.8, "coverage": 0.7, "risk": 0.02}]
    assert (shown.json()["target_risk"], shown.json()["calibration"]["language"]) == (0.05, "zh")
    assert chosen.status_code == 204
    assert calibrated.json()["calibrations"][0]["version"] == "abc"
    assert problem(beyond)["errors"][0]["field"] == "target_risk"


# The desk


async def test_an_agent_claims_answers_and_resolves(gateway):
    headers = gateway.as_(await gateway.key(Role.REVIEWER, principal="remy"))
    desk = "/v1/support/handoffs"

    listed = await gateway.client.get(desk, params={"state": ["queued", "claimed"]}, headers=headers)
    asked_for = list(gateway.support.last_request.states)
    claimed = await gateway.client.post(f"{desk}/{HANDOFF}:claim", json={"lease_seconds": 60}, headers=headers)
    shown = await gateway.client.get(f"{desk}/{HANDOFF}", headers=headers)
    said = await gateway.client.post(f"{desk}/{HANDOFF}/replies", json={"text": "Hello"}, headers=headers)
    released = await gateway.client.post(f"{desk}/{HANDOFF}:release", headers=headers)
    resolution = {"resolution": "Sent a new one.", "draft": {"title": {"en": "Lost cards"}}}
    resolved = await gateway.client.post(f"{desk}/{HANDOFF}:resolve", json=resolution, headers=headers)

    assert [each["handoff_id"] for each in listed.json()["handoffs"]] == [HANDOFF]
    assert asked_for == [desk_pb2.HANDOFF_STATE_QUEUED, desk_pb2.HANDOFF_STATE_CLAIMED]
    assert (claimed.json()["state"], claimed.json()["claimed_by"]) == ("claimed", "remy")
    assert shown.json()["summary"]["top_candidates"][0]["probability"] == 0.3
    assert (said.status_code, said.json()["speaker"]) == (201, "agent")
    assert released.json()["state"] == "queued"
    assert (resolved.json()["handoff"]["state"], resolved.json()["draft_id"]) == ("resolved", DRAFT)


async def test_a_tenant_sees_its_own_articles_alone(gateway):
    await gateway.client.put(f"{BASE}/articles/a", json={"title": {"en": "A"}, "answer": {"en": "A."}})
    headers = gateway.as_(await gateway.key(Role.ADMIN, tenant="another"))

    assert (await gateway.client.get(f"{BASE}/articles/a", headers=headers)).status_code == 404
    assert (await gateway.client.get(f"{BASE}/articles:export", headers=headers)).content == b""
