"""Customers and an agent in the background: questions in both languages, verdicts, now and then a person."""

from collections.abc import Iterator
from contextlib import contextmanager

from cli.walks import Walk
from tests.e2e.background import repeating

CONVERSATIONS = "/v1/support/conversations"
QUESTIONS = (
    "My card payment was declined, why?",
    "我的卡还没寄到，怎么办？",
    "How do I change my PIN?",
    "充值失败了是什么原因？",
)
ARTICLE = {
    "title": {"en": "Where is the nearest lounge?", "zh": "最近的贵宾室在哪里？"},
    "answer": {"en": "The app's map shows lounges.", "zh": "App 的地图会显示贵宾室。"},
}


@contextmanager
def asking(walk: Walk) -> Iterator[None]:
    """Ten conversations a second at most; every fifth asks for a person, and an article changes with it."""

    def ask(number: int) -> None:
        converse(walk, number)
        if number % 5 == 0:
            fetch_a_person(walk)
            change_an_article(walk, number)

    with repeating(ask):
        yield


def turn(**said: object) -> dict[str, object]:
    """A turn at the demo's bank."""
    return {"knowledge_base": "bank", **said}


def converse(walk: Walk, number: int) -> None:
    """A question, what the customer thinks of the answer or picks of what was asked back, and a follow-up."""
    first = walk.call("POST", CONVERSATIONS, turn(question=QUESTIONS[number % len(QUESTIONS)]))
    conversation = f"{CONVERSATIONS}/{first['conversation_id']}"
    if first["outcome"] == "clarify":
        walk.call("POST", f"{conversation}/turns", turn(picked_article_id=first["candidates"][0]["article_id"]))
    elif first["outcome"] == "answer":
        verdict = "wrong" if number % 7 == 0 else "helpful"
        walk.call("POST", f"{conversation}/feedback", {"turn_id": first["turn_id"], "verdict": verdict})
    walk.call("POST", f"{conversation}/turns", turn(question="And abroad?" if number % 2 == 0 else "那在国外呢？"))


def fetch_a_person(walk: Walk) -> None:
    """A customer asks for one, and an agent resolves what waits."""
    walk.call("POST", CONVERSATIONS, turn(wants_person=True))
    for handoff in walk.call("GET", "/v1/support/handoffs?state=queued&limit=5")["handoffs"]:
        this = f"/v1/support/handoffs/{handoff['handoff_id']}"
        walk.call("POST", f"{this}:claim", {"lease_seconds": 30})
        walk.call("POST", f"{this}:resolve", {"resolution": "Said on the phone."})


def change_an_article(walk: Walk, number: int) -> None:
    """An article says something else than before, and is found by something else."""
    phrasings = {"en": [f"Where is lounge {number}?"]}
    walk.call("PUT", "/v1/support/knowledge/bank/articles/lounges", {**ARTICLE, "phrasings": phrasings})
