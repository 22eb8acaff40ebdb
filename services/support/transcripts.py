"""The use case: what was said in a conversation, by whoever said it, out of both places where it is kept."""

import asyncio
from dataclasses import dataclass

from chassis.errors import Unavailable
from support.conversation import Conversation, Turn, in_order, no_conversation
from support.handoff import Handoff
from support.ports import ContextUnavailable, Conversations, Desk


@dataclass(frozen=True, slots=True)
class Transcript:
    """A conversation as its customer sees it."""

    conversation_id: str
    knowledge_base: str
    customer_id: str
    turns: tuple[Turn, ...]
    handoff: Handoff | None
    """The one that is open."""
    degraded: tuple[str, ...] = ()


class Transcripts:
    """Redis has the bot's turns, PostgreSQL what was said once a person was asked for."""

    def __init__(self, conversations: Conversations, desk: Desk) -> None:
        self._conversations = conversations
        self._desk = desk

    async def read(self, tenant: str, conversation_id: str, customer_id: str) -> Transcript:
        """What was said, oldest first. Raises NotFound where it is not this customer's.

        Where one of the two places is away, `degraded` says so, and the rest is told; Unavailable where nothing can be.
        """
        (kept, context_away), (handoff, said, desk_away) = await asyncio.gather(
            self._kept(tenant, conversation_id), self._said(tenant, conversation_id)
        )
        owner: Conversation | Handoff | None = kept or handoff
        if owner is None and (context_away or desk_away):
            raise Unavailable("the conversation", "redis or PostgreSQL does not answer", retry_after_seconds=1.0)
        if owner is None or owner.customer_id != customer_id:
            raise no_conversation(conversation_id)
        return Transcript(
            conversation_id,
            owner.knowledge_base,
            customer_id,
            in_order(() if kept is None else kept.turns, said),
            handoff if handoff is not None and handoff.is_open else None,
            ("context",) * context_away + ("desk",) * desk_away,
        )

    async def _kept(self, tenant: str, conversation_id: str) -> tuple[Conversation | None, bool]:
        try:
            return await self._conversations.load(tenant, conversation_id), False
        except ContextUnavailable:
            return None, True

    async def _said(self, tenant: str, conversation_id: str) -> tuple[Handoff | None, tuple[Turn, ...], bool]:
        try:
            handoff = await self._desk.newest(tenant, conversation_id)
            said = () if handoff is None else await self._desk.turns_with_people(tenant, conversation_id)
        except Unavailable:
            return None, (), True
        return handoff, said, False
