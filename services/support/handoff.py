"""A conversation that needs a person, as a state machine: requested → queued → claimed → resolved.

A transition gives back the hand-off as it is then, the same one where nothing changes: each of them may be repeated. A
claim is for the length of a lease; when that ends, or the agent lets go, it is queued again.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from chassis.errors import Conflict, FailedPrecondition
from support.conversation import Conversation, Evidence
from support.summary import Summary, summarise

ANNOUNCED_WITHIN = timedelta(seconds=10)
"""Whoever recorded a hand-off and has not announced it by then has died in between: it is queued without."""


class HandoffState(StrEnum):
    """Where a hand-off stands."""

    REQUESTED = "requested"
    """Recorded, not announced yet."""
    QUEUED = "queued"
    CLAIMED = "claimed"
    RESOLVED = "resolved"


class HandoffReason(StrEnum):
    """Why a person is needed."""

    ASKED_FOR = "asked_for"
    FAILED_TURNS = "failed_turns"
    WRONG_ANSWERS = "wrong_answers"


@dataclass(frozen=True, slots=True)
class Handoff:
    """A hand-off after its newest change."""

    tenant: str
    handoff_id: str
    conversation_id: str
    knowledge_base: str
    customer_id: str
    reason: HandoffReason
    summary: Summary
    requested_at: datetime
    state: HandoffState = HandoffState.REQUESTED
    claimed_by: str = ""
    lease_until: datetime | None = None
    resolved_at: datetime | None = None
    resolution: str = ""
    draft_id: str = ""
    """Of the article that was proposed with the resolution."""
    revision: int = 1
    position: int = 0
    """1 is next, while it waits; 0 otherwise. Not part of its state: it moves with the others."""

    @property
    def is_open(self) -> bool:
        """Whether the customer's messages go to a person."""
        return self.state is not HandoffState.RESOLVED

    def announced(self) -> "Handoff":
        """The customer knows: it waits for an agent."""
        return self._queued() if self.state is HandoffState.REQUESTED else self

    def claimed(self, agent: str, now: datetime, lease: timedelta) -> "Handoff":
        """The agent has it until the lease ends; claiming one's own renews the lease. Raises Conflict."""
        if self.state is HandoffState.REQUESTED:
            raise FailedPrecondition(self._name, "it is not announced to the customer yet; try again in a moment")
        self._refuse_when_resolved()
        self._refuse_another(agent, now)
        return self._changed(state=HandoffState.CLAIMED, claimed_by=agent, lease_until=now + lease)

    def released(self, agent: str, now: datetime) -> "Handoff":
        """The agent lets go of it: it waits for another. Raises Conflict where somebody else has it."""
        self._refuse_when_resolved()
        if self.state is not HandoffState.CLAIMED:
            return self
        self._refuse_another(agent, now)
        return self._queued()

    def expired(self, now: datetime) -> "Handoff":
        """A claim whose lease has ended is over: it waits for another agent."""
        return self._queued() if self.state is HandoffState.CLAIMED and not self._holder(now) else self

    def resolved(self, agent: str, now: datetime, resolution: str, draft_id: str = "") -> "Handoff":
        """It is over, and the conversation is the bot's again. Only who has claimed it may say so."""
        if self.state is HandoffState.RESOLVED and self.claimed_by == agent:
            return self
        self.answerable_by(agent, now)
        return self._changed(
            state=HandoffState.RESOLVED, lease_until=None, resolved_at=now, resolution=resolution, draft_id=draft_id
        )

    def answerable_by(self, agent: str, now: datetime) -> None:
        """Checks that the agent has it now. Raises Conflict, naming who has it, FailedPrecondition where nobody has."""
        self._refuse_when_resolved()
        self._refuse_another(agent, now)
        if not self._holder(now):
            ended = f"the lease of {self.claimed_by} ended at {self._lease_end}" if self.claimed_by else "nobody has it"
            raise FailedPrecondition(self._name, f"{ended}: claim it first")

    def _holder(self, now: datetime) -> str:
        """Who has it now: a lease that has ended holds nothing, whether or not somebody has noticed."""
        held = self.state is HandoffState.CLAIMED and self.lease_until is not None and now < self.lease_until
        return self.claimed_by if held else ""

    def _queued(self) -> "Handoff":
        return self._changed(state=HandoffState.QUEUED, claimed_by="", lease_until=None)

    def _changed(self, **changes: object) -> "Handoff":
        return replace(self, revision=self.revision + 1, **changes)  # type: ignore[arg-type]

    def _refuse_another(self, agent: str, now: datetime) -> None:
        holder = self._holder(now)
        if holder not in ("", agent):
            raise Conflict("hand-off", self.handoff_id, f"{holder} has it until {self._lease_end}")

    def _refuse_when_resolved(self) -> None:
        if self.state is HandoffState.RESOLVED:
            when = "" if self.resolved_at is None else f" at {self.resolved_at.isoformat(timespec='seconds')}"
            raise FailedPrecondition(self._name, f"{self.claimed_by} resolved it{when}")

    @property
    def _name(self) -> str:
        return f"hand-off {self.handoff_id!r}"

    @property
    def _lease_end(self) -> str:
        return "" if self.lease_until is None else self.lease_until.isoformat(timespec="seconds")


@dataclass(frozen=True, slots=True)
class Queue:
    """What waits in a tenant's queue: how many, and since when the oldest of them."""

    tenant: str
    waiting: int
    claimed: int
    oldest: datetime | None


def requested(
    conversation: Conversation,
    reason: HandoffReason,
    handoff_id: str,
    now: datetime,
    evidence: Evidence | None = None,
    turn_id: str = "",
) -> Handoff:
    """A new one. `evidence` is what the bot had for the last question, in a turn `turn_id` that is not said yet."""
    return Handoff(
        conversation.tenant,
        handoff_id,
        conversation.conversation_id,
        conversation.knowledge_base,
        conversation.customer_id,
        reason,
        summarise(conversation, evidence, turn_id),
        now,
    )
