"""The table that events wait in, and adding one to the caller's transaction."""

from datetime import UTC, datetime

from google.protobuf.message import Message
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    DateTime,
    Identity,
    Index,
    Insert,
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


def add(
    connection: Connection,
    topic: str,
    key: str,
    message: Message,
    tenant: str,
    *,
    event_id: str | None = None,
    time: datetime | None = None,
) -> str:
    """Adds an event to the caller's transaction and returns its id. Raises LimitExceeded where it is too large.

    Events of one key are published in the order in which they were added where the transactions that add them exclude
    each other: take the lock on the key's own row before calling this.
    """
    event_id = event_id or new_event_id()
    connection.execute(_insertion(topic, key, message, tenant, event_id, time))
    return event_id


async def add_async(
    connection: AsyncConnection,
    topic: str,
    key: str,
    message: Message,
    tenant: str,
    *,
    event_id: str | None = None,
    time: datetime | None = None,
) -> str:
    """The same on an asyncio connection."""
    event_id = event_id or new_event_id()
    await connection.execute(_insertion(topic, key, message, tenant, event_id, time))
    return event_id


def _insertion(topic: str, key: str, message: Message, tenant: str, event_id: str, time: datetime | None) -> Insert:
    payload = message.SerializeToString()
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise LimitExceeded(f"an event of {len(payload)} bytes for {topic}", f"{MAX_PAYLOAD_BYTES} bytes")
    return insert(OUTBOX).values(
        topic=topic,
        key=key,
        tenant=tenant,
        event_id=event_id,
        event_type=message.DESCRIPTOR.full_name,
        payload=payload,
        occurred_at=time or datetime.now(UTC),
        traceparent=telemetry.current_traceparent(),
    )
