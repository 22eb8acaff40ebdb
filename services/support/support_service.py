"""The gRPC servicer of conversations: checks the request, calls the use case, translates the answer."""

from collections.abc import Callable
from datetime import UTC, datetime

import grpc

from casebook.support.v1 import desk_pb2
from casebook.support.v1 import support_pb2 as pb
from casebook.support.v1.support_pb2_grpc import SupportServiceServicer
from chassis.errors import InvalidField, NotFound
from chassis.fields import MAX_ID_CHARACTERS, check_count, check_id, check_text
from chassis.identity import Role, require
from support import metrics
from support.articles import MAX_TAG_CHARACTERS, checked_base, checked_language
from support.asking import Asked, NoneOfThese, Picked, Question, Said, WantsPerson
from support.corpus import Bases
from support.dialogue import Dialogue
from support.feedback import NO_ARTICLE
from support.handoff import Handoff
from support.messages import handoff_message, reply_message, turn_message
from support.said import MAX_COMMENT_CHARACTERS, MAX_QUESTION_CHARACTERS, checked_text
from support.transcripts import Transcripts
from support.verdicts import Verdict, Verdicts

MAX_AUDIENCES = 8
KINDS_OF_TURN = ("question", "picked_article_id", "none_of_these", "wants_person")


class SupportService(SupportServiceServicer):
    """`casebook.support.v1.SupportService`."""

    def __init__(
        self,
        dialogue: Dialogue,
        verdicts: Verdicts,
        transcripts: Transcripts,
        bases: Bases,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._dialogue = dialogue
        self._verdicts = verdicts
        self._transcripts = transcripts
        self._bases = bases
        self._now = now

    async def Ask(self, request: pb.AskRequest, context: grpc.aio.ServicerContext) -> pb.AskResponse:
        """One turn of a conversation."""
        tenant = require(Role.VIEWER).tenant
        asked = self._asked(request, tenant)
        reply = await self._dialogue.ask(asked)
        metrics.took_turn(reply)
        return reply_message(reply, explain=request.explain)

    async def GetConversation(
        self, request: pb.GetConversationRequest, context: grpc.aio.ServicerContext
    ) -> pb.GetConversationResponse:
        """What was said."""
        tenant = require(Role.VIEWER).tenant
        check_id("conversation_id", request.conversation_id)
        check_text("customer_id", request.customer_id, MAX_ID_CHARACTERS, least=0)
        transcript = await self._transcripts.read(tenant, request.conversation_id, request.customer_id)
        return pb.GetConversationResponse(
            conversation_id=transcript.conversation_id,
            knowledge_base=transcript.knowledge_base,
            customer_id=transcript.customer_id,
            turns=[turn_message(each) for each in transcript.turns],
            handoff=_shown(transcript.handoff),
            degraded=transcript.degraded,
        )

    async def GiveFeedback(
        self, request: pb.GiveFeedbackRequest, context: grpc.aio.ServicerContext
    ) -> pb.GiveFeedbackResponse:
        """A verdict on a turn of the bot."""
        tenant = require(Role.VIEWER).tenant
        verdict = self._verdict(request, tenant)
        handoff = await self._verdicts.give(verdict)
        return pb.GiveFeedbackResponse(handoff=_shown(handoff))

    def _asked(self, request: pb.AskRequest, tenant: str) -> Asked:
        """The checked request. Raises InvalidField; NotFound for a knowledge base that is not there."""
        base = checked_base(tenant, request.knowledge_base)
        for field in ("conversation_id", "customer_id"):
            check_text(field, getattr(request, field), MAX_ID_CHARACTERS, least=0)
        check_count("audiences", request.audiences, MAX_AUDIENCES)
        for place, audience in enumerate(request.audiences):
            check_text(f"audiences[{place}]", audience, MAX_TAG_CHARACTERS)
        asked = Asked(
            base=base,
            said=_said(request),
            at=self._now(),
            conversation_id=request.conversation_id,
            customer_id=request.customer_id,
            language=checked_language(request.language) if request.language else None,
            audiences=frozenset(request.audiences),
        )
        if self._bases.of(base) is None:
            raise NotFound("knowledge base", base.name)
        return asked

    def _verdict(self, request: pb.GiveFeedbackRequest, tenant: str) -> Verdict:
        """The checked request. Raises InvalidField."""
        check_id("conversation_id", request.conversation_id)
        check_id("turn_id", request.turn_id)
        check_text("customer_id", request.customer_id, MAX_ID_CHARACTERS, least=0)
        check_text("correct_article_id", request.correct_article_id, MAX_ID_CHARACTERS, least=0)
        checked_text("comment", request.comment, MAX_COMMENT_CHARACTERS, least=0)
        if request.verdict not in (pb.VERDICT_HELPFUL, pb.VERDICT_WRONG):
            raise InvalidField("verdict", "VERDICT_HELPFUL or VERDICT_WRONG", request.verdict)
        helpful = request.verdict == pb.VERDICT_HELPFUL
        if helpful and request.correct_article_id:
            raise InvalidField("correct_article_id", f'goes with VERDICT_WRONG: an article, or "{NO_ARTICLE}"')
        return Verdict(
            tenant=tenant,
            conversation_id=request.conversation_id,
            turn_id=request.turn_id,
            customer_id=request.customer_id,
            helpful=helpful,
            at=self._now(),
            correct_article_id=request.correct_article_id,
            comment=request.comment,
        )


def _said(request: pb.AskRequest) -> Said:
    kind = request.WhichOneof("turn")
    if kind == "question":
        return Question(checked_text("question", request.question, MAX_QUESTION_CHARACTERS))
    if kind == "picked_article_id":
        check_id("picked_article_id", request.picked_article_id)
        return Picked(request.picked_article_id)
    if kind == "none_of_these" and request.none_of_these:
        return NoneOfThese()
    if kind == "wants_person" and request.wants_person:
        return WantsPerson()
    raise InvalidField(kind or "question", f"one of {', '.join(KINDS_OF_TURN)} is needed")


def _shown(handoff: Handoff | None) -> desk_pb2.Handoff | None:
    return None if handoff is None else handoff_message(handoff, with_summary=False)
