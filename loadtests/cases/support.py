"""Case 2: customers who talk with the bot, an agent at the desk, and a service that asks."""

import json
import random
from functools import cache
from pathlib import Path
from typing import Any

from locust import between, constant_pacing, tag, task

from casebook.support.v1 import support_pb2 as pb
from casebook.support.v1.support_pb2_grpc import SupportServiceStub
from loadtests.http_user import ApiUser
from loadtests.rpc_user import RpcUser, address

QUESTIONS = Path(__file__).parents[2] / "services" / "support" / "demo" / "questions.jsonl"
"""The demo's held-out questions: none of them is indexed."""
KNOWLEDGE_BASE = "bank"
CONVERSATIONS = "/v1/support/conversations"
HANDOFFS = "/v1/support/handoffs"

IN_CHINESE = 0.4
OUT_OF_SCOPE = 0.15
"""Of the questions that begin a conversation."""
FOLLOWS_UP = {"en": ("And abroad?", "How much is it?", "How long does that take?", "What if it fails?"),
              "zh": ("那在国外呢？", "要手续费吗？", "要等多久？", "如果失败了呢？")}  # fmt: skip
WISHES = {"en": "Can I talk to a person, please?", "zh": "转人工"}
FOLLOW_UP, VERDICT, PICK, WISH = 0.3, 0.2, 0.7, 0.01
"""How often an answer is followed up or judged, one of the candidates is picked, and a person is asked for."""


@cache
def questions() -> dict[tuple[str, bool], list[str]]:
    """By language, and whether an article answers them."""
    found: dict[tuple[str, bool], list[str]] = {}
    for line in QUESTIONS.read_text(encoding="utf-8").splitlines():
        each = json.loads(line)
        found.setdefault((each["language"], bool(each.get("article_id"))), []).append(each["question"])
    return found


def question(chance: random.Random) -> tuple[str, str]:
    """A question that begins a conversation, and its language."""
    language = "zh" if chance.random() < IN_CHINESE else "en"
    return chance.choice(questions()[language, chance.random() >= OUT_OF_SCOPE]), language


class Customer(ApiUser):
    """Talks with the bot: a question, and then what its answer leads to."""

    weight = 4
    wait_time = between(0.5, 2.0)

    @tag("support")
    @task
    def converses(self) -> None:
        """A conversation of one to four turns."""
        said, self.language = question(self.chance)
        turn = self._say(question=said)
        if turn.get("outcome") == "clarify":
            picked = turn["candidates"][0]["article_id"]
            turn = self._say(turn, **({"picked_article_id": picked} if self._does(PICK) else {"none_of_these": True}))
        if turn.get("outcome") == "answer":
            if self._does(VERDICT):
                self._judge(turn)
            if self._does(FOLLOW_UP):
                turn = self._say(turn, question=self.chance.choice(FOLLOWS_UP[self.language]))
        if turn and self._does(WISH):
            self._say(turn, question=WISHES[self.language])

    def _say(self, before: dict[str, Any] | None = None, **said: Any) -> dict[str, Any]:
        """A turn, of the conversation that `before` is of; the bot's, or nothing where it failed.

        Without Redis a conversation is not kept: then a question begins another, and a pick has nothing to pick from.
        """
        body = {"knowledge_base": KNOWLEDGE_BASE, **said}
        if before is None or not before.get("conversation_id"):
            return self.post(CONVERSATIONS, body) if "question" in said else {}
        route = f"{CONVERSATIONS}/{{conversation_id}}/turns"
        return self.post(route, body, conversation_id=before["conversation_id"])

    def _judge(self, turn: dict[str, Any]) -> None:
        verdict = {"turn_id": turn["turn_id"], "verdict": "helpful"}
        self.post(f"{CONVERSATIONS}/{{conversation_id}}/feedback", verdict, conversation_id=turn["conversation_id"])

    def _does(self, share: float) -> bool:
        return self.chance.random() < share


class DeskAgent(ApiUser):
    """Looks at the queue every five seconds, and resolves what waits. Needs a key with the role reviewer."""

    fixed_count = 1  # two would claim the same
    wait_time = constant_pacing(5.0)

    @tag("desk")
    @task
    def works_the_queue(self) -> None:
        """The ten oldest at most."""
        listed = self.get(HANDOFFS, "?state=queued&limit=10")
        for handoff in listed.get("handoffs", []):
            this = str(handoff["handoff_id"])
            if self.post(HANDOFFS + "/{handoff_id}:claim", {"lease_seconds": 60}, handoff_id=this):
                self.post(HANDOFFS + "/{handoff_id}:resolve", {"resolution": "Said on the phone."}, handoff_id=this)


class SupportCaller(RpcUser):
    """Another service that asks support itself. Needs CASEBOOK_SUPPORT_ADDRESS and CASEBOOK_TOKEN_KEYS."""

    target = address("CASEBOOK_SUPPORT_ADDRESS")
    abstract = not target
    weight = 1
    wait_time = constant_pacing(0.5)

    @tag("support", "rpc")
    @task
    def asks(self) -> None:
        """A question without a conversation before it."""
        said, _ = question(self.chance)
        request = pb.AskRequest(knowledge_base=KNOWLEDGE_BASE, question=said)
        self.call(SupportServiceStub(self.channel).Ask, request)
