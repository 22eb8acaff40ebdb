"""Feedback in PostgreSQL: the newest verdict on a turn, and the event that tells of it, in one transaction."""

from sqlalchemy import Boolean, Column, DateTime, MetaData, String, Table, Text, or_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from chassis import database, outbox
from support import metrics
from support.feedback import Feedback
from support.messages import feedback_message

FEEDBACK_TOPIC = "support.feedback.v1"
DATABASE = "support's database"

TURN_FEEDBACK = Table(
    "turn_feedback",
    MetaData(),
    Column("tenant", String(128), primary_key=True),
    Column("conversation_id", String(128), primary_key=True),
    Column("turn_id", String(128), primary_key=True),
    Column("given_by", String(16), primary_key=True),
    Column("source", String(32), nullable=False),
    Column("correct_article_id", String(128), nullable=False),
    Column("in_scope", Boolean, nullable=False),
    Column("comment", Text, nullable=False),
    Column("given_at", DateTime(timezone=True), nullable=False),
)


class FeedbackStore:
    """The port `FeedbackLog` on PostgreSQL."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def give(self, feedback: Feedback) -> None:
        """Records it; what says the same as before changes nothing. Raises Unavailable."""
        async with database.transaction(self._engine, DATABASE) as connection:
            await record(connection, feedback)


async def record(connection: AsyncConnection, feedback: Feedback) -> None:
    """The same in the caller's transaction."""
    verdict = {
        "source": feedback.source.value,
        "correct_article_id": feedback.correct_article_id,
        "in_scope": feedback.in_scope,
        "comment": feedback.comment,
    }
    place = {
        "tenant": feedback.tenant,
        "conversation_id": feedback.conversation_id,
        "turn_id": feedback.turn_id,
        "given_by": feedback.given_by,
    }
    statement = insert(TURN_FEEDBACK).values(**place, **verdict, given_at=feedback.given_at)
    statement = statement.on_conflict_do_update(
        index_elements=list(place),
        set_=verdict | {"given_at": feedback.given_at},
        where=or_(*(TURN_FEEDBACK.c[name] != statement.excluded[name] for name in verdict)),
    )
    changed = await connection.execute(statement.returning(TURN_FEEDBACK.c.turn_id))
    if changed.first() is not None:
        key = f"{feedback.tenant}:{feedback.conversation_id}"
        await outbox.add_async(connection, FEEDBACK_TOPIC, key, feedback_message(feedback), feedback.tenant)
        metrics.judged(feedback)
