"""The use case: what a customer thinks of an answer, and a person for who has had two bad ones in a row."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from chassis.errors import Conflict, InvalidField, NotFound, Unavailable
from support import feedback, wording
from support.conversation import FAILED_TURNS, Conversation, Outcome, Speaker, Turn, no_conversation
from support.feedback import NO_ARTICLE, Feedback
from support.handoff import Handoff, HandoffReason, requested
from support.ports import Articles, ContextUnavailable, Conversations, Desk, FeedbackLog

ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a customer thinks of a turn of the bot."""

    tenant: str
    conversation_id: str
    turn_id: str
    customer_id: str
    helpful: bool
    at: datetime
    correct_article_id: str = ""
    """Where it was wrong and somebody knows better; `feedback.NO_ARTICLE` where none is right."""
    comment: str = ""

    def on(self, conversation: Conversation, turn: Turn) -> Feedback:
        """The feedback that it is. Raises FailedPrecondition where the turn answered nothing."""
        if self.helpful:
            return feedback.helpful(conversation, turn, self.comment, self.at)
        return feedback.wrong(conversation, turn, self.correct_article_id, self.comment, self.at)


class Verdicts:
    """Records verdicts and draws the conclusion."""

    def __init__(
        self,
        articles: Articles,
        conversations: Conversations,
        desk: Desk,
        feedback_log: FeedbackLog,
        new_id: Callable[[], str],
    ) -> None:
        self._articles = articles
        self._conversations = conversations
        self._desk = desk
        self._feedback_log = feedback_log
        self._new_id = new_id

    async def give(self, verdict: Verdict) -> Handoff | None:
        """Records a verdict; the hand-off, where it was the second failed turn in a row.

        Raises NotFound for a turn that is not there, Unavailable where Redis or PostgreSQL is away.
        """
        try:
            for _ in range(ATTEMPTS):
                conversation, turn = await self._turn(verdict)
                self._check_article(conversation, verdict.correct_article_id)
                await self._feedback_log.give(verdict.on(conversation, turn))
                marked = conversation.marked(turn.turn_id, failed=not verdict.helpful)
                if marked is conversation:
                    return None
                if verdict.helpful or len(marked.failed_in_a_row) < FAILED_TURNS:
                    if await self._conversations.save(marked):
                        return None
                elif (handoff := await self._handed_over(marked, verdict.at)) is not None:
                    return handoff
        except ContextUnavailable as error:
            raise Unavailable("redis", str(error), retry_after_seconds=1.0) from error
        raise Conflict("conversation", verdict.conversation_id, "other turns came at the same time: try again")

    async def _turn(self, verdict: Verdict) -> tuple[Conversation, Turn]:
        conversation = await self._conversations.load(verdict.tenant, verdict.conversation_id)
        if conversation is None or conversation.customer_id != verdict.customer_id:
            raise no_conversation(verdict.conversation_id)
        turn = conversation.turn(verdict.turn_id)
        if turn is None:
            raise NotFound("turn", verdict.turn_id, "it is not in this conversation, or too far back")
        return conversation, turn

    def _check_article(self, conversation: Conversation, article_id: str) -> None:
        if article_id not in ("", NO_ARTICLE) and self._articles.article(conversation.base, article_id) is None:
            raise InvalidField("correct_article_id", f"is no article of {conversation.knowledge_base!r}", article_id)

    async def _handed_over(self, marked: Conversation, now: datetime) -> Handoff | None:
        """Fetches a person and says so. None where another turn came first."""
        wrong = all(each.outcome is Outcome.ANSWER for each in marked.failed_in_a_row)
        reason = HandoffReason.WRONG_ANSWERS if wrong else HandoffReason.FAILED_TURNS
        handoff = await self._desk.request(requested(marked, reason, self._new_id(), now))
        said = Turn(
            self._new_id(), Speaker.BOT, wording.fetched(handoff, marked.language), now, outcome=Outcome.HAND_OFF
        )
        told = replace(marked.after(said, language=marked.language), revision=marked.revision)
        if not await self._conversations.save(told):
            return None
        return await self._desk.announce(handoff.tenant, handoff.handoff_id)
