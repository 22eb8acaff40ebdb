"""The table that events wait in, and adding to it in the caller's transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from google.protobuf.message import Message
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    DateTime,
    Identity,
    Index,
    LargeBinary,
    MetaData,
    Table,
    Text,
    func,
    insert,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis import telemetry
from chassis.errors import LimitExceeded
from chassis.events import new_event_id
from chassis.events.producer import MAX_EVENT_BYTES

MAX_PAYLOAD_BYTES = MAX_EVENT_BYTES - 10_000
"""Less than an event may take, so that what is in the table can always be published: key and headers need room too."""

OUTBOX = Table(
    "outbox",
    MetaData(),
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("topic", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("tenant", Text, nullable=False),
    Column("event_id", Text, nullable=False, unique=True),
    Column("event_type", Text, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("occurred_at", DateTime(timezone=True), nullable=False),
    Column("traceparent", Text, nullable=False),
    Column("added_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("published_at", DateTime(timezone=True)),
)
"""A service's migration makes it: `outbox.OUTBOX.create(op.get_bind())`, indexes included."""
Index("outbox_unpublished", OUTBOX.c.id, postgresql_where=OUTBOX.c.published_at.is_(None))
Index("outbox_published", OUTBOX.c.published_at, postgresql_where=OUTBOX.c.published_at.is_not(None))


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event that is to be published once the caller's transaction has been committed."""

    topic: str
    key: str
    message: Message
    tenant: str
    event_id: str = ""
    """A new one where it is empty."""
    time: datetime | None = None
    """Now where there is none."""


def add_many(connection: Connection, events: Sequence[NewEvent]) -> list[str]:
    """Adds events to the caller's transaction in one round trip; returns their ids. Raises LimitExceeded.

    Events of one key are published in the order in which they were added where the transactions that add them exclude
    each other: take the lock on the key's own row before calling this.
    """
    rows = [_row(event) for event in events]
    if rows:
        connection.execute(insert(OUTBOX), rows)
    return [row["event_id"] for row in rows]


async def add_many_async(connection: AsyncConnection, events: Sequence[NewEvent]) -> list[str]:
    """The same on an asyncio connection."""
    rows = [_row(event) for event in events]
    if rows:
        await connection.execute(insert(OUTBOX), rows)
    return [row["event_id"] for row in rows]


def add(
    connection: Connection,
    topic: str,
    key: str,
    message: Message,
    tenant: str,
    *,
    event_id: str = "",
    time: datetime | None = None,
) -> str:
    """The same for one event; returns its id."""
    return add_many(connection, [NewEvent(topic, key, message, tenant, event_id, time)])[0]


async def add_async(
    connection: AsyncConnection,
    topic: str,
    key: str,
    message: Message,
    tenant: str,
    *,
    event_id: str = "",
    time: datetime | None = None,
) -> str:
    """The same for one event on an asyncio connection."""
    [added] = await add_many_async(connection, [NewEvent(topic, key, message, tenant, event_id, time)])
    return added


def _row(event: NewEvent) -> dict[str, Any]:
    payload = event.message.SerializeToString()
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise LimitExceeded(f"an event of {len(payload)} bytes for {event.topic}", f"{MAX_PAYLOAD_BYTES} bytes")
    return {
        "topic": event.topic,
        "key": event.key,
        "tenant": event.tenant,
        "event_id": event.event_id or new_event_id(),
        "event_type": event.message.DESCRIPTOR.full_name,
        "payload": payload,
        "occurred_at": event.time or datetime.now(UTC),
        "traceparent": telemetry.current_traceparent(),
    }
