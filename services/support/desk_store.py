"""The desk in PostgreSQL: hand-offs, what is said in them, and the event that tells of each change, in one transaction.

A change is written only where nothing else has changed the hand-off since it was read (its revision); else it is made
again, of what is there then.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    MetaData,
    Row,
    Select,
    String,
    Table,
    Text,
    bindparam,
    case,
    func,
    literal,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from casebook.support.v1 import events_pb2
from chassis import database, outbox
from chassis.errors import Conflict, LimitExceeded, NotFound
from support import feedback, feedback_store, metrics
from support.conversation import Speaker, Turn, in_order
from support.feedback_store import TURN_FEEDBACK
from support.handoff import ANNOUNCED_WITHIN, Handoff, HandoffReason, HandoffState, Queue
from support.handoff_lookup import HandoffLookup
from support.knowledge import Article, KnowledgeBase
from support.messages import handoff_message
from support.store import add_draft
from support.summary import Summary

HANDOFF_TOPIC = "support.handoffs.v1"
DATABASE = "the desk's database"
MOST_TURNS = 500
"""Of one hand-off. What is said in more is a phone call's worth."""
ATTEMPTS = 5
BATCH = 100
"""Rows that a timer changes or deletes in one transaction."""
MOST_BATCHES = 200
"""Of old rows in one round: the rest is for the next."""
OPEN = tuple(state.value for state in HandoffState if state is not HandoffState.RESOLVED)
WAITING = (HandoffState.REQUESTED.value, HandoffState.QUEUED.value)

METADATA = MetaData()
HANDOFFS = Table(
    "handoffs",
    METADATA,
    Column("tenant", String(128), primary_key=True),
    Column("handoff_id", String(128), primary_key=True),
    Column("conversation_id", String(128), nullable=False),
    Column("knowledge_base", String(64), nullable=False),
    Column("customer_id", String(128), nullable=False),
    Column("reason", String(32), nullable=False),
    Column("summary", JSONB, nullable=False),
    Column("requested_at", DateTime(timezone=True), nullable=False),
    Column("state", String(16), nullable=False),
    Column("claimed_by", Text, nullable=False),
    Column("lease_until", DateTime(timezone=True)),
    Column("resolved_at", DateTime(timezone=True)),
    Column("resolution", Text, nullable=False),
    Column("draft_id", String(128), nullable=False),
    Column("revision", BigInteger, nullable=False),
)
HANDOFF_TURNS = Table(
    "handoff_turns",
    METADATA,
    Column("tenant", String(128), primary_key=True),
    Column("handoff_id", String(128), primary_key=True),
    Column("turn_id", String(128), primary_key=True),
    Column("speaker", String(16), nullable=False),
    Column("text", Text, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
)


def _is(*states: str, of: Any = HANDOFFS) -> Any:
    """The condition that a hand-off is in one of these states, which are written out and no parameters.

    Once PostgreSQL plans a statement for any parameter it no longer knows that these rows are in a partial index: it
    reads the table, and refuses an ON CONFLICT that names one.
    """
    return of.c.state.in_(bindparam(None, states, expanding=True, literal_execute=True))


_SUMMARY = TypeAdapter(Summary)
_CHANGING = ("state", "claimed_by", "lease_until", "resolved_at", "resolution", "draft_id", "revision")


def _unplaced() -> Select[Any]:
    return select(*HANDOFFS.c, literal(0).label("position"))


def _placed() -> Select[Any]:
    """Hand-offs with their places in the queue."""
    others = HANDOFFS.alias()
    before = (
        select(func.count())
        .select_from(others)
        .where(
            others.c.tenant == HANDOFFS.c.tenant,
            _is(*WAITING, of=others),
            tuple_(others.c.requested_at, others.c.handoff_id)
            <= tuple_(HANDOFFS.c.requested_at, HANDOFFS.c.handoff_id),
        )
        .scalar_subquery()
    )
    return select(*HANDOFFS.c, case((_is(*WAITING), before), else_=0).label("position"))


# Built once: building it takes longer than asking it.
_NEWEST = (
    _placed()
    .where(HANDOFFS.c.tenant == bindparam("tenant"), HANDOFFS.c.conversation_id == bindparam("conversation_id"))
    .order_by(HANDOFFS.c.requested_at.desc(), HANDOFFS.c.handoff_id.desc())
    .limit(1)
)


@dataclass(frozen=True, slots=True)
class Resolution:
    """How an agent ends a hand-off."""

    turn: Turn
    """What is said to the customer."""
    correct_article_id: str = ""
    draft: Article | None = None


class DeskStore:
    """Every method raises Unavailable where PostgreSQL does not answer."""

    def __init__(self, engine: AsyncEngine, lookup_deadline_seconds: float = 0.5) -> None:
        """`lookup_deadline_seconds` is how long a customer's turn waits to learn whether a person has it."""
        self._engine = engine
        self._lookup_deadline = lookup_deadline_seconds
        self._lookup = HandoffLookup(engine.url, DATABASE, lookup_deadline_seconds)

    async def close(self) -> None:
        """Ends the connection beside the engine's; the engine is its owner's."""
        await self._lookup.close()

    # The customer's side: the port `Desk`

    async def newest(self, tenant: str, conversation_id: str) -> Handoff | None:
        """The newest hand-off of a conversation, resolved or not."""
        if not await self._lookup.ever(tenant, conversation_id):
            return None
        mine = {"tenant": tenant, "conversation_id": conversation_id}
        async with database.within(self._lookup_deadline, DATABASE), self._transaction() as connection:
            row = (await connection.execute(_NEWEST, mine)).first()
        return None if row is None else _handoff(row)

    async def request(self, handoff: Handoff) -> Handoff:
        """Records a new one; the open one of the same conversation instead, where there is one."""
        values: dict[str, Any] = {"tenant": handoff.tenant, "handoff_id": handoff.handoff_id}
        values |= {name: getattr(handoff, name) for name in ("conversation_id", "knowledge_base", "customer_id")}
        values |= {"reason": handoff.reason.value, "requested_at": handoff.requested_at}
        values |= {"summary": _SUMMARY.dump_python(handoff.summary, mode="json")} | _state(handoff)
        added = postgresql.insert(HANDOFFS).values(values)
        added = added.on_conflict_do_nothing(index_elements=["tenant", "conversation_id"], index_where=_is(*OPEN))
        for _ in range(ATTEMPTS):
            async with self._transaction() as connection:
                if (await connection.execute(added.returning(HANDOFFS.c.handoff_id))).first() is not None:
                    await _tell(connection, handoff)
                    metrics.handed_over(handoff)
                    return await _one(connection, handoff.tenant, handoff.handoff_id)
            there = await self.newest(handoff.tenant, handoff.conversation_id)
            if there is not None and there.is_open:
                return there
        raise _contended(handoff.handoff_id)

    async def announce(self, tenant: str, handoff_id: str) -> Handoff:
        """The customer has been told: it is queued."""
        return await self.change(tenant, handoff_id, Handoff.announced)

    async def say(self, handoff: Handoff, turn: Turn) -> Handoff | None:
        """Adds what the customer says, once by its turn id; None where the hand-off has been resolved meanwhile."""
        async with self._transaction() as connection:
            now = await _held(connection, handoff.tenant, handoff.handoff_id)
            if not now.is_open:
                return None
            await _add_turn(connection, now, turn)
            return await _one(connection, handoff.tenant, handoff.handoff_id)

    # The agents' side

    async def get(self, tenant: str, handoff_id: str) -> Handoff:
        """A hand-off. Raises NotFound."""
        async with self._transaction() as connection:
            return await _one(connection, tenant, handoff_id)

    async def listed(
        self, tenant: str, knowledge_base: str, states: Sequence[HandoffState], limit: int
    ) -> Sequence[Handoff]:
        """Oldest first; without `states` those that are open, without `knowledge_base` those of every one."""
        wanted = [each.value for each in states] or OPEN
        found = _placed().where(HANDOFFS.c.tenant == tenant, _is(*wanted))
        if knowledge_base:
            found = found.where(HANDOFFS.c.knowledge_base == knowledge_base)
        async with self._transaction() as connection:
            rows = await connection.execute(found.order_by(HANDOFFS.c.requested_at, HANDOFFS.c.handoff_id).limit(limit))
            return [_handoff(row) for row in rows]

    async def turns(self, handoff: Handoff) -> tuple[Turn, ...]:
        """The whole conversation of a hand-off: up to it, and in it."""
        mine = (HANDOFF_TURNS.c.tenant == handoff.tenant) & (HANDOFF_TURNS.c.handoff_id == handoff.handoff_id)
        async with self._transaction() as connection:
            said = select(HANDOFF_TURNS).where(mine).order_by(HANDOFF_TURNS.c.at, HANDOFF_TURNS.c.turn_id)
            return in_order(handoff.summary.turns, map(_turn, await connection.execute(said)))

    async def turns_with_people(self, tenant: str, conversation_id: str) -> tuple[Turn, ...]:
        """What was said in all hand-offs of a conversation, and before the newest, oldest first."""
        mine = (HANDOFFS.c.tenant == tenant) & (HANDOFFS.c.conversation_id == conversation_id)
        said = (
            select(HANDOFF_TURNS)
            .join(HANDOFFS, _same(HANDOFFS, HANDOFF_TURNS))
            .where(mine)
            .order_by(HANDOFF_TURNS.c.at.desc(), HANDOFF_TURNS.c.turn_id.desc())
            .limit(MOST_TURNS)
        )
        before = select(HANDOFFS.c.summary).where(mine).order_by(HANDOFFS.c.requested_at.desc()).limit(1)
        async with self._transaction() as connection:
            turns = [_turn(row) for row in await connection.execute(said)]
            summary = (await connection.execute(before)).scalar()
        known = () if summary is None else _SUMMARY.validate_python(summary).turns
        return in_order(known, reversed(turns))

    async def change(self, tenant: str, handoff_id: str, transition: Callable[[Handoff], Handoff]) -> Handoff:
        """Makes a transition and tells of it, unless it changes nothing. Raises what the transition raises."""
        for _ in range(ATTEMPTS):
            async with self._transaction() as connection:
                before = await _one(connection, tenant, handoff_id)
                after = transition(before)
                if after is before or await _written(connection, after):
                    return await _one(connection, tenant, handoff_id)
        raise _contended(handoff_id)

    async def reply(self, tenant: str, handoff_id: str, agent: str, turn: Turn) -> None:
        """Says something to the customer. Raises Conflict or FailedPrecondition where the agent does not have it."""
        async with self._transaction() as connection:
            handoff = await _held(connection, tenant, handoff_id)
            handoff.answerable_by(agent, turn.at)
            await _add_turn(connection, handoff, turn)

    async def resolve(self, tenant: str, handoff_id: str, agent: str, resolution: Resolution) -> Handoff:
        """Ends it with everything that goes with it: the last word, the correction, the draft. Idempotent."""
        now = resolution.turn.at
        async with self._transaction() as connection:
            before = await _held(connection, tenant, handoff_id, alone=True)
            after = before.resolved(agent, now, resolution.turn.text)
            if after is before:
                return before
            if resolution.draft is not None:
                base = KnowledgeBase(tenant, before.knowledge_base)
                after = replace(after, draft_id=await add_draft(connection, base, resolution.draft, handoff_id, agent))
            await _written(connection, after)
            await _add_turn(connection, before, resolution.turn, bounded=False)
            if resolution.correct_article_id:
                told = feedback.corrected(before, resolution.correct_article_id, now)
                if told is not None:
                    await feedback_store.record(connection, told)
            return after

    # What time brings about

    async def expire_leases(self, now: datetime) -> int:
        """Queues again what nobody has any more; says how many."""
        ended = _is(HandoffState.CLAIMED.value) & (HANDOFFS.c.lease_until <= now)
        return await self._change_due(ended, lambda handoff: handoff.expired(now))

    async def queue_unannounced(self, now: datetime) -> int:
        """Queues what was recorded and never announced, since whoever recorded it has died; says how many."""
        forgotten = _is(HandoffState.REQUESTED.value) & (HANDOFFS.c.requested_at <= now - ANNOUNCED_WITHIN)
        return await self._change_due(forgotten, Handoff.announced)

    async def forget(self, older_than: datetime) -> int:
        """Deletes what was resolved before, with all that was said, and the verdicts given before; says how many."""
        resolved = _is(HandoffState.RESOLVED.value) & (HANDOFFS.c.resolved_at < older_than)
        given = TURN_FEEDBACK.c.given_at < older_than
        forgotten = await database.delete_due(self._engine, DATABASE, HANDOFFS, resolved, BATCH, MOST_BATCHES)
        await database.delete_due(self._engine, DATABASE, TURN_FEEDBACK, given, BATCH, MOST_BATCHES)
        return forgotten

    async def queues(self) -> list[Queue]:
        """The queue of each tenant that has one."""
        waiting = func.count().filter(_is(*WAITING))
        oldest = func.min(HANDOFFS.c.requested_at).filter(_is(*WAITING))
        found = select(HANDOFFS.c.tenant, waiting, func.count(), oldest).where(_is(*OPEN))
        async with self._transaction() as connection:
            rows = await connection.execute(found.group_by(HANDOFFS.c.tenant))
            return [Queue(tenant, some, every - some, since) for tenant, some, every, since in rows]

    async def _change_due(self, due: Any, transition: Callable[[Handoff], Handoff]) -> int:
        """Batch by batch; what another process is changing now is left to it."""
        changed = 0
        while True:
            async with self._transaction() as connection:
                rows = (
                    await connection.execute(
                        _unplaced().where(due).limit(BATCH).with_for_update(skip_locked=True, of=HANDOFFS)
                    )
                ).all()
                for row in rows:
                    changed += await _written(connection, transition(_handoff(row)))
            if len(rows) < BATCH:
                return changed

    def _transaction(self) -> AbstractAsyncContextManager[AsyncConnection]:
        return database.transaction(self._engine, DATABASE)


def _same(one: Table, other: Table) -> Any:
    return (one.c.tenant == other.c.tenant) & (one.c.handoff_id == other.c.handoff_id)


async def _one(connection: AsyncConnection, tenant: str, handoff_id: str) -> Handoff:
    return await _found(connection, _placed(), tenant, handoff_id)


async def _held(connection: AsyncConnection, tenant: str, handoff_id: str, *, alone: bool = False) -> Handoff:
    """The hand-off, which nobody changes before the transaction ends; `alone`: but this transaction."""
    return await _found(connection, _unplaced().with_for_update(read=not alone, of=HANDOFFS), tenant, handoff_id)


async def _found(connection: AsyncConnection, statement: Select[Any], tenant: str, handoff_id: str) -> Handoff:
    mine = (HANDOFFS.c.tenant == tenant) & (HANDOFFS.c.handoff_id == handoff_id)
    row = (await connection.execute(statement.where(mine))).first()
    if row is None:
        raise NotFound("hand-off", handoff_id)
    return _handoff(row)


async def _written(connection: AsyncConnection, after: Handoff) -> bool:
    """Writes a hand-off in place of the revision before it, and tells of it; False where that is no longer there."""
    before = (HANDOFFS.c.tenant == after.tenant) & (HANDOFFS.c.handoff_id == after.handoff_id)
    before &= HANDOFFS.c.revision == after.revision - 1
    row = await connection.execute(update(HANDOFFS).where(before).values(_state(after)).returning(HANDOFFS.c.tenant))
    if row.first() is None:
        return False
    await _tell(connection, after)
    return True


async def _tell(connection: AsyncConnection, handoff: Handoff) -> None:
    message = events_pb2.HandoffChanged(handoff=handoff_message(replace(handoff, position=0)))
    key = f"{handoff.tenant}:{handoff.conversation_id}"
    await outbox.add_async(connection, HANDOFF_TOPIC, key, message, handoff.tenant)


async def _add_turn(connection: AsyncConnection, handoff: Handoff, turn: Turn, *, bounded: bool = True) -> None:
    mine = (HANDOFF_TURNS.c.tenant == handoff.tenant) & (HANDOFF_TURNS.c.handoff_id == handoff.handoff_id)
    if bounded:
        said = (await connection.execute(select(func.count()).select_from(HANDOFF_TURNS).where(mine))).scalar_one()
        if said >= MOST_TURNS:
            raise LimitExceeded(f"messages in hand-off {handoff.handoff_id!r}", MOST_TURNS)
    values: dict[str, Any] = {"tenant": handoff.tenant, "handoff_id": handoff.handoff_id, "turn_id": turn.turn_id}
    values |= {"speaker": turn.speaker.value, "text": turn.text, "at": turn.at}
    await connection.execute(postgresql.insert(HANDOFF_TURNS).values(values).on_conflict_do_nothing())


def _state(handoff: Handoff) -> dict[str, Any]:
    return {name: getattr(handoff, name) for name in _CHANGING} | {"state": handoff.state.value}


def _handoff(row: Row[Any]) -> Handoff:
    fields = {column.name: getattr(row, column.name) for column in HANDOFFS.columns}
    fields |= {"reason": HandoffReason(row.reason), "state": HandoffState(row.state), "position": row.position}
    return Handoff(**fields | {"summary": _SUMMARY.validate_python(row.summary)})


def _turn(row: Row[Any]) -> Turn:
    return Turn(row.turn_id, Speaker(row.speaker), row.text, row.at)


def _contended(handoff_id: str) -> Conflict:
    return Conflict("hand-off", handoff_id, f"others changed it {ATTEMPTS} times in the meantime: look again")
