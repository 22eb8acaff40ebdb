"""What somebody thought of a turn of the bot, and what that says about the question."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from chassis.errors import FailedPrecondition, InvalidField
from support.conversation import Conversation, Evidence, Outcome, Turn
from support.handoff import Handoff

NO_ARTICLE = "none"
"""In place of an article: none answers the question."""


class Source(StrEnum):
    """Who says so, and how."""

    CUSTOMER_HELPFUL = "customer_helpful"
    CUSTOMER_WRONG = "customer_wrong"
    CUSTOMER_PICKED = "customer_picked"
    CUSTOMER_PICKED_NONE = "customer_picked_none"
    AGENT = "agent"


@dataclass(frozen=True, slots=True)
class Feedback:
    """A verdict on a turn. The newest of the customer and the newest of an agent count."""

    tenant: str
    conversation_id: str
    turn_id: str
    knowledge_base: str
    evidence: Evidence
    outcome: Outcome
    answered_article_id: str
    source: Source
    correct_article_id: str
    """The article that answers. Empty: none does, or, with `in_scope`, only that the given one does not."""
    in_scope: bool
    given_at: datetime
    comment: str = ""

    @property
    def given_by(self) -> str:
        """Whose verdict it takes the place of."""
        return "agent" if self.source is Source.AGENT else "customer"


def picked(conversation: Conversation, turn: Turn, article_id: str, now: datetime) -> Feedback:
    """The customer meant this one of the candidates."""
    return _of(conversation, turn, Source.CUSTOMER_PICKED, article_id, in_scope=True, now=now)


def picked_none(conversation: Conversation, turn: Turn, now: datetime) -> Feedback:
    """The customer meant none of the candidates; another article may still answer."""
    return _of(conversation, turn, Source.CUSTOMER_PICKED_NONE, "", in_scope=True, now=now)


def helpful(conversation: Conversation, turn: Turn, comment: str, now: datetime) -> Feedback:
    """The answer was right, or it was right that there is none. Raises FailedPrecondition for any other turn."""
    _check_verdict(turn)
    answered = turn.outcome is Outcome.ANSWER
    return _of(
        conversation, turn, Source.CUSTOMER_HELPFUL, turn.article_id, in_scope=answered, now=now, comment=comment
    )


def wrong(conversation: Conversation, turn: Turn, correct_article_id: str, comment: str, now: datetime) -> Feedback:
    """It was not; `correct_article_id` where somebody knows better. Raises FailedPrecondition for any other turn."""
    _check_verdict(turn)
    if correct_article_id and correct_article_id == turn.article_id:
        raise InvalidField("correct_article_id", "is the article whose answer is said to be wrong", correct_article_id)
    none = correct_article_id == NO_ARTICLE
    correct = "" if none else correct_article_id
    return _of(conversation, turn, Source.CUSTOMER_WRONG, correct, in_scope=not none, now=now, comment=comment)


def corrected(handoff: Handoff, correct_article_id: str, now: datetime) -> Feedback | None:
    """An agent knows the article that answers; None where the bot had not tried a question."""
    summary = handoff.summary
    if summary.evidence is None:
        return None
    turn = next((each for each in summary.turns if each.turn_id == summary.turn_id), None)
    return Feedback(
        tenant=handoff.tenant,
        conversation_id=handoff.conversation_id,
        turn_id=summary.turn_id,
        knowledge_base=handoff.knowledge_base,
        evidence=summary.evidence,
        outcome=turn.outcome if turn is not None and turn.outcome is not None else Outcome.HAND_OFF,
        answered_article_id="" if turn is None else turn.article_id,
        source=Source.AGENT,
        correct_article_id=correct_article_id,
        in_scope=True,
        given_at=now,
    )


def _check_verdict(turn: Turn) -> None:
    if turn.outcome is Outcome.CLARIFY:
        raise FailedPrecondition(f"turn {turn.turn_id!r}", "it asked back: pick a candidate, or none, in the next turn")
    if turn.evidence is None or turn.outcome not in (Outcome.ANSWER, Outcome.OUT_OF_SCOPE):
        raise FailedPrecondition(f"turn {turn.turn_id!r}", "the bot did not answer a question there")


def _of(
    conversation: Conversation,
    turn: Turn,
    source: Source,
    correct_article_id: str,
    *,
    in_scope: bool,
    now: datetime,
    comment: str = "",
) -> Feedback:
    if turn.evidence is None or turn.outcome is None:
        raise FailedPrecondition(f"turn {turn.turn_id!r}", "the bot did not answer a question there")
    return Feedback(
        tenant=conversation.tenant,
        conversation_id=conversation.conversation_id,
        turn_id=turn.turn_id,
        knowledge_base=conversation.knowledge_base,
        evidence=turn.evidence,
        outcome=turn.outcome,
        answered_article_id=turn.article_id,
        source=source,
        correct_article_id=correct_article_id,
        in_scope=in_scope,
        given_at=now,
        comment=comment,
    )
