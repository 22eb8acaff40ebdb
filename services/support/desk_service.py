"""The gRPC servicer of the agents' desk: checks the request, makes the transition, translates the hand-off."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import grpc

from casebook.support.v1 import desk_pb2 as pb
from casebook.support.v1 import knowledge_pb2
from casebook.support.v1.desk_pb2_grpc import DeskServiceServicer
from chassis.errors import InvalidField
from chassis.fields import MAX_ID_CHARACTERS, check_id, check_text, page_size
from chassis.identity import Role, require
from support import metrics
from support.articles import MAX_PHRASING_CHARACTERS, MAX_TITLE_CHARACTERS, checked_article, checked_base
from support.conversation import Speaker, Turn
from support.desk_store import DeskStore, Resolution
from support.handoff import Handoff, HandoffState
from support.knowledge import Article, KnowledgeBase
from support.language import detect
from support.messages import STATES, handoff_message, turn_message
from support.ports import Articles
from support.said import MAX_REPLY_CHARACTERS, checked_text

DEFAULT_LIMIT = 50
MAX_LIMIT = 100
DEFAULT_LEASE_SECONDS = 300
LEASE_SECONDS = (10, 3_600)


class DeskService(DeskServiceServicer):
    """`casebook.support.v1.DeskService`."""

    def __init__(
        self,
        desk: DeskStore,
        articles: Articles,
        new_id: Callable[[], str],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._desk = desk
        self._articles = articles
        self._new_id = new_id
        self._now = now

    async def ListHandoffs(
        self, request: pb.ListHandoffsRequest, context: grpc.aio.ServicerContext
    ) -> pb.ListHandoffsResponse:
        """The queue."""
        tenant = require(Role.REVIEWER).tenant
        if request.knowledge_base:
            checked_base(tenant, request.knowledge_base)
        limit = page_size("limit", request.limit, DEFAULT_LIMIT, MAX_LIMIT)
        handoffs = await self._desk.listed(tenant, request.knowledge_base, _states(request.states), limit)
        return pb.ListHandoffsResponse(handoffs=[handoff_message(each, turns=()) for each in handoffs])

    async def GetHandoff(
        self, request: pb.GetHandoffRequest, context: grpc.aio.ServicerContext
    ) -> pb.GetHandoffResponse:
        """One, with the whole conversation."""
        tenant = require(Role.REVIEWER).tenant
        handoff = await self._desk.get(tenant, _handoff_id(request.handoff_id))
        return pb.GetHandoffResponse(handoff=await self._whole(handoff))

    async def ClaimHandoff(
        self, request: pb.ClaimHandoffRequest, context: grpc.aio.ServicerContext
    ) -> pb.ClaimHandoffResponse:
        """Takes one, or renews the lease of one's own."""
        agent = require(Role.REVIEWER)
        lease, now = _lease(request.lease_seconds), self._now()
        first: list[Handoff] = []

        def claim(handoff: Handoff) -> Handoff:
            claimed = handoff.claimed(agent.principal, now, lease)
            first[:] = [handoff] if handoff.state is HandoffState.QUEUED else []
            return claimed

        handoff = await self._desk.change(agent.tenant, _handoff_id(request.handoff_id), claim)
        if first:
            metrics.claimed(handoff, now)
        return pb.ClaimHandoffResponse(handoff=await self._whole(handoff))

    async def ReleaseHandoff(
        self, request: pb.ReleaseHandoffRequest, context: grpc.aio.ServicerContext
    ) -> pb.ReleaseHandoffResponse:
        """Puts it back into the queue."""
        agent, now = require(Role.REVIEWER), self._now()
        handoff = await self._desk.change(
            agent.tenant, _handoff_id(request.handoff_id), lambda handoff: handoff.released(agent.principal, now)
        )
        return pb.ReleaseHandoffResponse(handoff=handoff_message(handoff, turns=()))

    async def Reply(self, request: pb.ReplyRequest, context: grpc.aio.ServicerContext) -> pb.ReplyResponse:
        """Says something to the customer."""
        agent = require(Role.REVIEWER)
        turn = self._said(checked_text("text", request.text, MAX_REPLY_CHARACTERS))
        await self._desk.reply(agent.tenant, _handoff_id(request.handoff_id), agent.principal, turn)
        return pb.ReplyResponse(turn=turn_message(turn))

    async def ResolveHandoff(
        self, request: pb.ResolveHandoffRequest, context: grpc.aio.ServicerContext
    ) -> pb.ResolveHandoffResponse:
        """Ends it."""
        agent = require(Role.REVIEWER)
        handoff_id = _handoff_id(request.handoff_id)
        turn = self._said(checked_text("resolution", request.resolution, MAX_REPLY_CHARACTERS))
        check_text("correct_article_id", request.correct_article_id, MAX_ID_CHARACTERS, least=0)
        before = await self._desk.get(agent.tenant, handoff_id)
        self._check_article(before, request.correct_article_id)
        draft = drafted(request.draft, before, turn.text) if request.HasField("draft") else None
        resolution = Resolution(turn, request.correct_article_id, draft)
        handoff = await self._desk.resolve(agent.tenant, handoff_id, agent.principal, resolution)
        if handoff.revision > before.revision:
            metrics.resolved(handoff, turn.at)
        return pb.ResolveHandoffResponse(handoff=await self._whole(handoff), draft_id=handoff.draft_id)

    async def _whole(self, handoff: Handoff) -> pb.Handoff:
        return handoff_message(handoff, await self._desk.turns(handoff))

    def _said(self, text: str) -> Turn:
        return Turn(self._new_id(), Speaker.AGENT, text, self._now())

    def _check_article(self, handoff: Handoff, article_id: str) -> None:
        base = KnowledgeBase(handoff.tenant, handoff.knowledge_base)
        if article_id and self._articles.article(base, article_id) is None:
            raise InvalidField("correct_article_id", f"is no article of {base.name!r}", article_id)


def drafted(message: knowledge_pb2.Article, handoff: Handoff, resolution: str) -> Article:
    """The proposed article; what it lacks is filled in from the conversation, each text under its own language.

    A follow-up is a phrasing behind the question that it follows: alone it could follow anything.

    Raises InvalidField.
    """
    draft = knowledge_pb2.Article()
    draft.CopyFrom(message)
    question, evidence = handoff.summary.question.strip(), handoff.summary.evidence
    phrasing = f"{evidence.context} {question}" if evidence is not None and evidence.context else question
    if not draft.article_id:
        draft.article_id = f"handoff-{handoff.handoff_id}"
    if not draft.title.en and not draft.title.zh:
        setattr(draft.title, detect(phrasing), phrasing[:MAX_TITLE_CHARACTERS])
    if not draft.answer.en and not draft.answer.zh:
        setattr(draft.answer, detect(resolution), resolution)
    if not draft.phrasings.en and not draft.phrasings.zh:
        getattr(draft.phrasings, detect(phrasing)).append(phrasing[:MAX_PHRASING_CHARACTERS])
    return replace(checked_article(draft, "draft"), revision=0)


def _handoff_id(handoff_id: str) -> str:
    check_id("handoff_id", handoff_id)
    return handoff_id


def _states(states: object) -> list[HandoffState]:
    known = []
    for state in states:  # type: ignore[attr-defined]
        if state not in STATES:
            raise InvalidField("states", "each one of HANDOFF_STATE_*", state)
        known.append(STATES[state])
    return known


def _lease(seconds: int) -> timedelta:
    least, most = LEASE_SECONDS
    if seconds and not least <= seconds <= most:
        raise InvalidField("lease_seconds", f"{least} to {most}, or 0 for {DEFAULT_LEASE_SECONDS}", seconds)
    return timedelta(seconds=seconds or DEFAULT_LEASE_SECONDS)
