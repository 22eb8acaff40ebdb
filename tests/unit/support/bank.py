"""The dialogue's ports in memory, around a bank that answers questions about cards and transfers."""

import itertools
from collections.abc import Set
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from chassis.errors import Unavailable
from support.asking import Asked, NoneOfThese, Picked, Question, Reply, Said, WantsPerson
from support.calibration import Calibration, Calibrations, Confidence, RiskCoveragePoint, Scale
from support.conversation import Conversation, Turn
from support.dialogue import Dialogue
from support.feedback import Feedback
from support.handoff import Handoff
from support.knowledge import Article, Candidate, KnowledgeBase, Language, Retrieved, Scores, StageTime
from support.ports import ContextUnavailable
from support.transcripts import Transcripts
from support.verdicts import Verdict, Verdicts

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
BASE = KnowledgeBase("bank", "help")
ANSWERED, ASKED_BACK, UNKNOWN = 0.95, 0.5, 0.02
"""Probabilities on either side of the thresholds that `calibrations` makes: .9 and .2."""

ARTICLES = {
    each.article_id: each
    for each in (
        Article(
            "lost-card",
            {"en": "Lost or stolen card", "zh": "卡片丢失或被盗"},
            {"en": "Freeze it in the app, then order another.", "zh": "请在应用内冻结卡片，再申请新卡。"},
            {},
            revision=3,
        ),
        Article("card-arrival", {"en": "When does my card come?"}, {"en": "Within five working days."}, {}, revision=1),
        Article("card-swallowed", {"en": "A machine kept my card"}, {"en": "Freeze it in the app."}, {}, revision=1),
        Article("card-fee", {"en": "What a card costs"}, {"en": "The first one is <b>free</b>."}, {}, revision=1),
        Article(
            "transfer", {"en": "Transfers abroad", "zh": "境外转账"}, {"en": "In the app.", "zh": "在应用内办理。"}, {}
        ),
        Article(
            "transfer-fee", {"en": "Fee of a transfer", "zh": "转账手续费"}, {"en": "1 %.", "zh": "百分之一。"}, {}
        ),
        Article("vip", {"en": "Lounge"}, {"en": "Show your card."}, {}, audience="gold"),
    )
}


class FakeKnowledge:
    """Retriever and articles: what a question finds is what a test has said that it finds."""

    def __init__(self) -> None:
        self.articles = dict(ARTICLES)
        self.found: dict[str, dict[str, float]] = {}
        self.degraded: tuple[str, ...] = ()
        self.asked: list[tuple[str, Language]] = []

    def knows(self, question: str, **probabilities: float) -> None:
        """The articles ("_" for "-") that a question finds, and how sure."""
        self.found[question] = {name.replace("_", "-"): value for name, value in probabilities.items()}

    async def retrieve(
        self,
        base: KnowledgeBase,
        question: str,
        language: Language,
        *,
        now: datetime,
        audiences: Set[str] = frozenset(),
        request_key: str = "",
        count: int = 10,
    ) -> Retrieved:
        self.asked.append((question, language))
        found = sorted(self.found.get(question, {}).items(), key=lambda pair: -pair[1])
        candidates = tuple(
            Candidate(self.articles[name], f"{name}?", Scores(probability=probability)) for name, probability in found
        )
        return Retrieved(
            question,
            language,
            candidates[:count],
            ("minilm/1",),
            17,
            "r1",
            self.degraded,
            (StageTime("retrieval", 1.0),),
        )

    def article(self, base: KnowledgeBase, article_id: str) -> Article | None:
        return self.articles.get(article_id)


class FakeConversations:
    """Redis: `away` takes it away, `overtaken` lets that many other turns come first."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], Conversation] = {}
        self.away = False
        self.overtaken: list[Turn] = []

    async def load(self, tenant: str, conversation_id: str) -> Conversation | None:
        if self.away:
            raise ContextUnavailable("redis is away")
        return self.kept.get((tenant, conversation_id))

    async def save(self, conversation: Conversation) -> bool:
        if self.away:
            raise ContextUnavailable("redis is away")
        place = (conversation.tenant, conversation.conversation_id)
        if self.overtaken and place in self.kept:
            before = self.kept[place]
            self.kept[place] = before.after(self.overtaken.pop(), language=before.language)
        before = self.kept.get(place)
        if conversation.revision != (before.revision if before else 0) + 1:
            return False
        self.kept[place] = conversation
        return True


class FakeDesk:
    """PostgreSQL's hand-offs."""

    def __init__(self) -> None:
        self.handoffs: dict[str, Handoff] = {}
        self.said: dict[str, list[Turn]] = {}
        self.away = False

    async def newest(self, tenant: str, conversation_id: str) -> Handoff | None:
        self._check()
        mine = [
            each for each in self.handoffs.values() if (each.tenant, each.conversation_id) == (tenant, conversation_id)
        ]
        return self._placed(mine[-1]) if mine else None

    async def request(self, handoff: Handoff) -> Handoff:
        newest = await self.newest(handoff.tenant, handoff.conversation_id)
        if newest is not None and newest.is_open:
            return newest
        self.handoffs[handoff.handoff_id] = handoff
        return self._placed(handoff)

    async def announce(self, tenant: str, handoff_id: str) -> Handoff:
        self._check()
        return self._changed(self.handoffs[handoff_id].announced())

    async def say(self, handoff: Handoff, turn: Turn) -> Handoff | None:
        self._check()
        now = self.handoffs[handoff.handoff_id]
        if not now.is_open:
            return None
        self.said.setdefault(handoff.conversation_id, []).append(turn)
        return self._placed(now)

    async def turns_with_people(self, tenant: str, conversation_id: str) -> tuple[Turn, ...]:
        newest = await self.newest(tenant, conversation_id)
        return (*(newest.summary.turns if newest else ()), *self.said.get(conversation_id, ()))

    def claim(self, agent: str) -> Handoff:
        [handoff] = [each for each in self.handoffs.values() if each.is_open]
        return self._changed(handoff.claimed(agent, NOON, timedelta(minutes=5)))

    def resolve(self, agent: str) -> Handoff:
        return self._changed(self.claim(agent).resolved(agent, NOON, "It is done."))

    def _changed(self, handoff: Handoff) -> Handoff:
        self.handoffs[handoff.handoff_id] = handoff
        return self._placed(handoff)

    def _placed(self, handoff: Handoff) -> Handoff:
        waiting = [each.handoff_id for each in self.handoffs.values() if each.state in ("requested", "queued")]
        position = waiting.index(handoff.handoff_id) + 1 if handoff.handoff_id in waiting else 0
        return replace(handoff, position=position)

    def _check(self) -> None:
        if self.away:
            raise Unavailable("the desk's database", "away")


class FakeFeedbackLog:
    """PostgreSQL's feedback: the newest verdict of a turn and of who gives it."""

    def __init__(self) -> None:
        self.given: dict[tuple[str, str], Feedback] = {}
        self.away = False

    async def give(self, feedback: Feedback) -> None:
        if self.away:
            raise Unavailable("the feedback's database", "away")
        self.given[feedback.turn_id, feedback.given_by] = feedback


def calibrations() -> Calibrations:
    """Answers from .9 on, asks back from .2 on."""
    confidence = Confidence(Scale((0.0, 1.0), (0.0, 1.0)), (RiskCoveragePoint(0.9, 0.8, 0.01),), clarify=0.2, ece=0.01)
    calibration = Calibration("c1", {"hybrid": confidence, "lexical": replace(confidence, clarify=0.3)})
    return Calibrations({"en": calibration, "zh": calibration})


class Bank:
    """The dialogue over fakes, in the words of a customer."""

    def __init__(self) -> None:
        self.knowledge = FakeKnowledge()
        self.conversations = FakeConversations()
        self.desk = FakeDesk()
        self.feedback_log = FakeFeedbackLog()
        numbers = itertools.count(1)
        parts = (self.conversations, self.desk, self.feedback_log, lambda: f"id-{next(numbers):04}")
        self.dialogue = Dialogue(self.knowledge, self.knowledge, calibrations(), *parts)
        self.verdicts = Verdicts(self.knowledge, *parts)
        self.transcripts = Transcripts(self.conversations, self.desk)
        self.last: Reply | None = None

    async def say(self, text: str, **other: object) -> Reply:
        return await self.turn(Question(text), **other)

    async def pick(self, article_id: str, **other: object) -> Reply:
        return await self.turn(Picked(article_id), **other)

    async def none_of_these(self, **other: object) -> Reply:
        return await self.turn(NoneOfThese(), **other)

    async def person(self, **other: object) -> Reply:
        return await self.turn(WantsPerson(), **other)

    async def turn(self, said: Said, **other: object) -> Reply:
        """The next turn of the same conversation, unless `conversation_id` says another."""
        fields = {"customer_id": "ana", "conversation_id": self.last.conversation_id if self.last else ""} | other
        self.last = await self.dialogue.ask(Asked(fields.pop("base", BASE), said, NOON, **fields))
        return self.last

    async def judge(self, turn_id: str = "", *, helpful: bool, **other: object) -> Handoff | None:
        assert self.last is not None
        fields = {"conversation_id": self.last.conversation_id, "customer_id": "ana", "tenant": "bank"} | other
        return await self.verdicts.give(
            Verdict(turn_id=turn_id or self.last.turn_id, helpful=helpful, at=NOON, **fields)
        )

    @property
    def conversation(self) -> Conversation:
        assert self.last is not None
        return self.conversations.kept["bank", self.last.conversation_id]
