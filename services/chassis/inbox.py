"""Deduplication in PostgreSQL: an event's id and its effect are written in one transaction.

A consumer with another store keeps the ids there (the recommender: one Lua script in Redis).
"""

from datetime import timedelta

from sqlalchemy import Column, ColumnElement, Connection, DateTime, MetaData, Table, Text, func
from sqlalchemy.dialects.postgresql import insert

INBOX = Table(
    "inbox",
    MetaData(),
    Column("consumer_group", Text, primary_key=True),
    Column("event_id", Text, primary_key=True),
    Column("handled_at", DateTime(timezone=True), nullable=False, server_default=func.now(), index=True),
)
"""A consumer's migration makes it: `inbox.INBOX.create(op.get_bind())`."""

KEEP = timedelta(days=8)
"""Longer than a topic keeps an event (7 days), so that no redelivery or replay within it is taken for new."""


def first_time(connection: Connection, group: str, event_id: str) -> bool:
    """Notes the event in the caller's transaction; False where it has been handled before, and nothing is left to do.

    Where another transaction holds the same event, this waits for its end: one of the two has the effect.
    """
    row = insert(INBOX).values(consumer_group=group, event_id=event_id)
    return connection.execute(row.on_conflict_do_nothing().returning(INBOX.c.event_id)).first() is not None


def due(older_than: timedelta = KEEP) -> ColumnElement[bool]:
    """Of the events handled longer ago, which are to be forgotten: for `database.delete_due`."""
    return INBOX.c.handled_at < func.now() - older_than
