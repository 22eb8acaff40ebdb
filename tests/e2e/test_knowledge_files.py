"""A knowledge base through every process: its files, who is answered with what and when, and whose it is."""

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from cli.processes import free_ports
from tests.e2e.customers import CONVERSATIONS
from tests.fixtures.system import until

BASE = "/v1/support/knowledge/shop"
NDJSON = {"Content-Type": "application/x-ndjson"}
TODAY = datetime.now(UTC).replace(microsecond=0)
YESTERDAY, TOMORROW = (f"{TODAY + timedelta(days=days):%Y-%m-%dT%H:%M:%SZ}" for days in (-1, 1))


def line(article_id: str, en: str, zh: str = "", **fields: object) -> dict[str, object]:
    """An article as an export has it."""
    title = {"en": en, "zh": zh} if zh else {"en": en}
    answer = {language: f"{text} <b>{article_id}</b> 🙂" for language, text in title.items()}
    absent = {"phrasings": {}, "tags": [], "audience": "public"}
    return {"article_id": article_id, "title": title, "answer": answer} | absent | fields


SALE, LOUNGE = "Which umbrellas are on sale?", "Where do members have breakfast?"
LAST_SALE, NEXT_SALE = "How cheap were the raincoats?", "When will sandals get cheaper?"
ARTICLES = [
    line("a-sale", SALE, valid_from=YESTERDAY, valid_to=TOMORROW),
    line("b-last-sale", LAST_SALE, valid_to=YESTERDAY),
    line("c-next-sale", NEXT_SALE, valid_from=TOMORROW),
    line("d-lounge", LOUNGE, audience="gold"),
    line("e/hours", "Are you open on Sundays?", "周日营业吗？", phrasings={"zh": ["星期天开门吗"]}, tags=["hours"]),
]
"""By id."""


def file(*articles: dict[str, object]) -> bytes:
    return b"".join(json.dumps(each, ensure_ascii=False).encode() + b"\n" for each in articles)


def imported(http: httpx.Client, content: bytes) -> dict[str, int]:
    response = http.post(f"{BASE}/articles:import", content=content, headers=NDJSON)
    assert response.status_code == 200, response.text
    return response.json()


def asked(http: httpx.Client, question: str, *audiences: str) -> dict:
    turn = {"knowledge_base": "shop", "question": question, "audiences": audiences, "explain": True}
    response = http.post(CONVERSATIONS, json=turn)
    assert response.status_code == 200, response.text
    return response.json()


def answers(http: httpx.Client, question: str, article_id: str, *audiences: str) -> None:
    """Waits until that article answers."""

    def does() -> bool:
        answer = asked(http, question, *audiences)["answer"]
        return answer is not None and answer["article_id"] == article_id

    until(f"{article_id} to answer", does, 15)


def is_not_shown(http: httpx.Client, question: str, article_id: str, *audiences: str) -> bool:
    """Neither in the answer nor among the candidates nor in what was retrieved."""
    return article_id not in json.dumps(asked(http, question, *audiences))


@pytest.fixture(scope="module")
def shop(walk_of_module) -> httpx.Client:
    """A client of the tenant that has imported the articles; its base answers in both languages."""
    http = walk_of_module.http
    imported(http, file(*ARTICLES))
    http.put(f"{BASE}/target-risk", json={"target_risk": 0.1}).raise_for_status()
    answers(http, SALE, "a-sale")
    answers(http, "周日营业吗？", "e/hours")
    return http


@pytest.fixture(scope="module")
def stranger(system, tmp_path_factory) -> Iterator[httpx.Client]:
    """A client of another tenant, which is begun as services/gateway/README.md says."""
    key = tmp_path_factory.mktemp("another") / "api-key"
    [ops] = free_ports(1)
    environment = system.process("gateway", "serve").environ() | {
        "CASEBOOK_BOOTSTRAP_TENANT": "another",
        "CASEBOOK_BOOTSTRAP_KEY_FILE": str(key),
        "CASEBOOK_OPS_LISTEN": f"127.0.0.1:{ops}",
        "CASEBOOK_TRACE_FILE": "",
    }
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "bootstrap"], env=environment, capture_output=True, text=True, timeout=50,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    bearer = {"Authorization": f"Bearer {key.read_text().strip()}"}
    with httpx.Client(base_url=system.gateway, headers=bearer, timeout=10.0) as http:
        yield http


def test_a_file_comes_back_as_it_went_in_and_importing_it_again_changes_nothing(shop):
    exported = shop.get(f"{BASE}/articles:export")
    again = imported(shop, exported.content)

    assert [json.loads(each) for each in exported.text.splitlines()] == ARTICLES
    assert again == {"lines": 5, "changed": 0, "unchanged": 5}
    assert shop.get(f"{BASE}/articles:export").content == exported.content


def test_an_article_answers_in_its_time_alone(shop):
    answers(shop, SALE, "a-sale")
    assert is_not_shown(shop, LAST_SALE, "b-last-sale")
    assert is_not_shown(shop, NEXT_SALE, "c-next-sale")

    undated = [{name: value for name, value in each.items() if not name.startswith("valid_")} for each in ARTICLES]
    assert imported(shop, file(*undated)) == {"lines": 5, "changed": 3, "unchanged": 2}
    answers(shop, LAST_SALE, "b-last-sale")
    answers(shop, NEXT_SALE, "c-next-sale")
    assert imported(shop, file(*ARTICLES))["changed"] == 3


def test_an_article_answers_its_audience_alone(shop):
    answers(shop, LOUNGE, "d-lounge", "gold")

    assert is_not_shown(shop, LOUNGE, "d-lounge")
    assert is_not_shown(shop, LOUNGE, "d-lounge", "silver")


def test_a_conversation_and_a_base_are_one_tenant_s(shop, stranger):
    turn = asked(shop, SALE)
    conversation = f"{CONVERSATIONS}/{turn['conversation_id']}"
    question = {"knowledge_base": "shop", "question": "And abroad?"}
    verdict = {"turn_id": turn["turn_id"], "verdict": "helpful"}

    refused = [
        stranger.get(conversation),
        stranger.post(f"{conversation}/turns", json=question | {"knowledge_base": "bank"}),
        stranger.post(f"{conversation}/turns", json=question),
        stranger.post(f"{conversation}/feedback", json=verdict),
        stranger.post(CONVERSATIONS, json=question),
        stranger.get(f"{BASE}/articles/a-sale"),
    ]

    assert [each.status_code for each in refused] == [404] * 6
    assert SALE not in "".join(each.text for each in refused)
    assert stranger.get(f"{BASE}/articles:export").content == b""
    assert shop.get(conversation).json()["turns"][0]["text"] == SALE
