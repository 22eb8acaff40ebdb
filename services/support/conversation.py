"""A conversation: what was said, what the bot's turns were made from, and what follows from that."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from itertools import chain, takewhile

from chassis.errors import NotFound
from support.decision import Thresholds
from support.knowledge import KnowledgeBase, Language, Scores

MOST_TURNS = 40
"""The newest are kept, twenty exchanges: nothing looks further back, and a hand-off's summary stays small."""

FAILED_TURNS = 2
"""So many in a row, and a person is fetched."""


class Speaker(StrEnum):
    """Who says something."""

    CUSTOMER = "customer"
    BOT = "bot"
    AGENT = "agent"


class Outcome(StrEnum):
    """What the bot's turn came to."""

    ANSWER = "answer"
    CLARIFY = "clarify"
    OUT_OF_SCOPE = "out_of_scope"
    HAND_OFF = "hand_off"


@dataclass(frozen=True, slots=True)
class Suggestion:
    """An article that the bot had in mind."""

    article_id: str
    title: str
    scores: Scores = Scores()  # noqa: RUF009 - frozen
    phrasing: str = ""
    """The article's phrasing that was nearest."""


@dataclass(frozen=True, slots=True)
class Versions:
    """What took part in an answer."""

    encoders: tuple[str, ...] = ()
    index: int = 0
    reranker: str = ""
    calibration: str = ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """The question that a turn of the bot is about, and what the knowledge base had for it."""

    question: str
    """As the customer put it."""
    language: Language
    context: str = ""
    """The earlier question that it was retrieved with as well; empty where it stood alone."""
    suggestions: tuple[Suggestion, ...] = ()
    """Best first."""
    confidence: float = 0.0
    thresholds: Thresholds | None = None
    """Those that were in force."""
    versions: Versions = Versions()

    def suggestion(self, article_id: str) -> Suggestion | None:
        """What is known of an article that the bot had in mind."""
        return next((each for each in self.suggestions if each.article_id == article_id), None)

    @property
    def topic(self) -> str:
        """What a question after it would be about."""
        return self.context or self.question


@dataclass(frozen=True, slots=True)
class Turn:
    """Something said. What stands below `at` is there in turns of the bot alone."""

    turn_id: str
    speaker: Speaker
    text: str
    at: datetime
    outcome: Outcome | None = None
    article_id: str = ""
    """The article that answered."""
    candidate_ids: tuple[str, ...] = ()
    """The articles that it asked back with, best first."""
    evidence: Evidence | None = None
    failed: bool = False
    """It did not help: out of scope, none of the candidates, or an answer that was marked as wrong."""

    @property
    def settles(self) -> bool:
        """Whether the turns before it no longer count as failed in a row: it answered, or handed over."""
        return self.outcome in (Outcome.ANSWER, Outcome.HAND_OFF) and not self.failed


@dataclass(frozen=True, slots=True)
class Conversation:
    """What is kept of a conversation; it belongs to one customer of one tenant."""

    tenant: str
    conversation_id: str
    knowledge_base: str
    customer_id: str
    language: Language = "en"
    """That of the last turn."""
    turns: tuple[Turn, ...] = ()
    """Oldest first, at most `MOST_TURNS`."""
    revision: int = 0
    """Grows by one with every change; 0: never kept."""

    @property
    def base(self) -> KnowledgeBase:
        """What the bot answers from; a conversation keeps to the one it began with."""
        return KnowledgeBase(self.tenant, self.knowledge_base)

    def after(self, *turns: Turn, language: Language) -> "Conversation":
        """The conversation with these turns said."""
        kept = (*self.turns, *turns)[-MOST_TURNS:]
        return replace(self, turns=kept, language=language, revision=self.revision + 1)

    def marked(self, turn_id: str, *, failed: bool) -> "Conversation":
        """The conversation in which the customer has found that this turn did not help, or that it did."""
        turns = tuple(replace(each, failed=failed) if each.turn_id == turn_id else each for each in self.turns)
        return self if turns == self.turns else replace(self, turns=turns, revision=self.revision + 1)

    def turn(self, turn_id: str) -> Turn | None:
        """The turn, where it is still kept."""
        return next((each for each in self.turns if each.turn_id == turn_id), None)

    @property
    def bots(self) -> tuple[Turn, ...]:
        """The bot's turns, newest first."""
        return tuple(each for each in reversed(self.turns) if each.speaker is Speaker.BOT)

    @property
    def failed_in_a_row(self) -> tuple[Turn, ...]:
        """The bot's failed turns since the last one that helped, newest first. Asking back neither helps nor fails."""
        return tuple(each for each in takewhile(lambda turn: not turn.settles, self.bots) if each.failed)

    @property
    def topic(self) -> str:
        """The last question that stood on its own: what a follow-up is about. Empty where there is none."""
        return next((each.evidence.topic for each in self.bots if each.evidence is not None), "")

    @property
    def answers_to_topic(self) -> frozenset[str]:
        """The articles that the topic, and what followed it, have been answered with."""
        of_topic = (each for each in self.bots if each.evidence is not None and each.evidence.topic == self.topic)
        return frozenset(each.article_id for each in of_topic if each.outcome is Outcome.ANSWER)

    def offering(self, article_id: str) -> Turn | None:
        """The newest turn that asked back with this article among its candidates."""
        return next((each for each in self.bots if article_id in each.candidate_ids), None)

    @property
    def asked_back(self) -> Turn | None:
        """The bot's last turn, where it asked back."""
        last = next(iter(self.bots), None)
        return last if last is not None and last.outcome is Outcome.CLARIFY else None

    @property
    def handed_over(self) -> bool:
        """Whether the bot's last turn was to hand over: a person has had the conversation since, or has it still."""
        return any(each.outcome is Outcome.HAND_OFF for each in self.bots[:1])


def in_order(*places: Iterable[Turn]) -> tuple[Turn, ...]:
    """Turns out of several places in the order in which they were said, each once.

    A question and its answer carry the same time: those stay as they stand in the first place that has them.
    """
    each_once: dict[str, Turn] = {}
    for turn in chain(*places):
        each_once.setdefault(turn.turn_id, turn)
    return tuple(sorted(each_once.values(), key=lambda turn: turn.at))


def customers_id(unique: str, tenant: str, customer_id: str) -> str:
    """The id of a conversation, `unique` and a digest of it with its customer: it says whose it is by itself."""
    digest = hashlib.sha256(f"{tenant}\0{customer_id}\0{unique}".encode()).hexdigest()
    return f"{unique}-{digest[:16]}"


def is_customers(conversation_id: str, tenant: str, customer_id: str) -> bool:
    """Whether the id was made for this customer: what counts while nothing can be asked that keeps conversations."""
    unique = conversation_id.rpartition("-")[0]
    return conversation_id == customers_id(unique, tenant, customer_id)


def no_conversation(conversation_id: str) -> NotFound:
    """There is none, or it is another customer's: who asks does not learn which."""
    return NotFound("conversation", conversation_id, "it may have ended: ask without its id to begin another")
