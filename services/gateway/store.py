"""The gateway's PostgreSQL: API keys, idempotency records, and the audit."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, fields
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Column,
    DateTime,
    ForeignKey,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Row,
    SmallInteger,
    Table,
    Text,
    Uuid,
    func,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from chassis import database
from chassis.identity import Identity, Role
from gateway.audit import AuditCall, AuditRecord
from gateway.idempotency import Attempt, RequestKey, StoredAnswer
from gateway.keys import ApiKey
from gateway.problems import IdempotencyKeyInUse, IdempotencyKeyReused

LISTED_KEYS = 500
LEASE = timedelta(seconds=60)
"""Twice the longest deadline (`GatewaySettings.max_deadline_seconds`): a lease that has ended has no holder."""
DATABASE = "the gateway's database"
PRUNED_AT_ONCE = 1000
MOST_BATCHES = 1000

metadata = MetaData()

api_keys = Table(
    "api_keys",
    metadata,
    Column("key_id", Text, primary_key=True),
    Column("secret_hash", LargeBinary, nullable=False),
    Column("tenant", Text, nullable=False),
    Column("principal", Text, nullable=False),
    Column("roles", ARRAY(Text), nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("created_by", Text, nullable=False),
    Column("expires_at", DateTime(timezone=True)),
    Column("revoked_at", DateTime(timezone=True)),
)

idempotency_records = Table(
    "idempotency_records",
    metadata,
    Column("tenant", Text, nullable=False),
    Column("principal", Text, nullable=False),
    Column("route", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("attempt_id", Uuid, nullable=False),
    Column("leased_until", DateTime(timezone=True), nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("status", SmallInteger),
    Column("media_type", Text),
    Column("body", LargeBinary),
    PrimaryKeyConstraint("tenant", "principal", "route", "key"),
)

audit_calls = Table(
    "audit_calls",
    metadata,
    Column("call_id", Uuid, primary_key=True),
    Column("called_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("tenant", Text, nullable=False),
    Column("principal", Text, nullable=False),
    Column("key_id", Text, nullable=False),
    Column("method", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("request", Text, nullable=False),
    Column("trace_id", Text, nullable=False),
)

audit_outcomes = Table(
    "audit_outcomes",
    metadata,
    Column("call_id", Uuid, ForeignKey(audit_calls.c.call_id), primary_key=True),
    Column("ended_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("status", SmallInteger, nullable=False),
    Column("note", Text, nullable=False),
)


def _transaction(engine: AsyncEngine) -> AbstractAsyncContextManager[AsyncConnection]:
    return database.transaction(engine, DATABASE)


async def ping(engine: AsyncEngine) -> None:
    """Raises Unavailable where PostgreSQL does not answer, or lacks the gateway's tables."""
    async with _transaction(engine) as connection:
        await connection.execute(select(api_keys.c.key_id).limit(1))


class PostgresKeys:
    """`gateway.keys.KeyStore` in PostgreSQL."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def add(self, key: ApiKey) -> None:
        """Keeps a new key."""
        async with _transaction(self._engine) as connection:
            await connection.execute(insert(api_keys).values(_key_row(key)))

    async def find(self, key_id: str) -> ApiKey | None:
        """The key of that id, whatever its state."""
        async with _transaction(self._engine) as connection:
            row = (await connection.execute(select(api_keys).where(api_keys.c.key_id == key_id))).first()
        return None if row is None else _key(row)

    async def of_tenant(self, tenant: str) -> Sequence[ApiKey]:
        """The tenant's keys, newest first, at most 500."""
        newest_first = (
            select(api_keys)
            .where(api_keys.c.tenant == tenant)
            .order_by(api_keys.c.created_at.desc(), api_keys.c.key_id)
            .limit(LISTED_KEYS)
        )
        async with _transaction(self._engine) as connection:
            return [_key(row) for row in await connection.execute(newest_first)]

    async def revoke(self, tenant: str, key_id: str, at: datetime) -> bool:
        """Ends a key of the tenant; False where it has none of that id. Of two times the earlier one holds."""
        async with _transaction(self._engine) as connection:
            return (await connection.execute(_end(tenant, key_id, at))).first() is not None

    async def replace(self, key_id: str, new: ApiKey, at: datetime) -> bool:
        """Keeps `new` and ends its tenant's key `key_id`, both or neither; False where none such still works.

        One transaction: a new key whose answer was lost would work for ever, and nobody would have its secret. The
        condition is the statement's, so that a revocation at the same moment is not overtaken.
        """
        works = [or_(end.is_(None), end > new.created_at) for end in (api_keys.c.revoked_at, api_keys.c.expires_at)]
        async with _transaction(self._engine) as connection:
            if (await connection.execute(_end(new.identity.tenant, key_id, at).where(*works))).first() is None:
                return False
            await connection.execute(insert(api_keys).values(_key_row(new)))
        return True


class PostgresRecords:
    """`gateway.idempotency.Records` in PostgreSQL. All times are the database's, so that replicas agree on them."""

    def __init__(self, engine: AsyncEngine, kept: timedelta) -> None:
        self._engine = engine
        self._kept = kept

    async def begin(self, key: RequestKey) -> Attempt | StoredAnswer:
        """Takes the lease on a key that is new, free or out of date; else returns the answer, or raises (see Records).

        One statement decides, so that of two requests at the same moment exactly one gets the lease: the other's
        `INSERT` waits for the first one's commit, and then finds the lease taken.
        """
        records = idempotency_records.c
        new = insert(idempotency_records).values(
            tenant=key.tenant,
            principal=key.principal,
            route=key.route,
            key=key.key,
            fingerprint=key.fingerprint,
            attempt_id=Attempt.new().id,
            leased_until=func.now() + LEASE,
            expires_at=func.now() + self._kept,
        )
        out_of_date = records.expires_at < func.now()
        free = records.status.is_(None) & (records.leased_until < func.now())
        same_request = records.fingerprint == key.fingerprint
        leased = new.on_conflict_do_update(
            constraint=idempotency_records.primary_key,
            set_={
                "leased_until": new.excluded.leased_until,
                "expires_at": new.excluded.expires_at,
                "fingerprint": new.excluded.fingerprint,
                # The same request tried again keeps its id; one that came after the record's end is another request.
                "attempt_id": text(
                    "CASE WHEN idempotency_records.expires_at < now() "
                    "THEN excluded.attempt_id ELSE idempotency_records.attempt_id END"
                ),
                "status": None,
                "media_type": None,
                "body": None,
            },
            where=out_of_date | (free & same_request),
        ).returning(records.attempt_id)
        async with _transaction(self._engine) as connection:
            row = (await connection.execute(leased)).first()
            if row is not None:
                return Attempt(row.attempt_id)
            found = (await connection.execute(select(idempotency_records).where(_same_key(key)))).first()
        if found is None or (found.status is None and found.fingerprint == key.fingerprint):
            raise IdempotencyKeyInUse(key.key)
        if found.fingerprint != key.fingerprint:
            raise IdempotencyKeyReused(key.key)
        return StoredAnswer(found.status, found.media_type, found.body)

    async def complete(self, key: RequestKey, answer: StoredAnswer) -> None:
        """Stores the answer."""
        await self._update(key, status=answer.status, media_type=answer.media_type, body=answer.body)

    async def release(self, key: RequestKey) -> None:
        """Lets go of the lease without an answer."""
        await self._update(key, leased_until=func.now() - timedelta(microseconds=1))

    async def prune(self) -> int:
        """Deletes what is out of date; returns how many there were."""
        due = idempotency_records.c.expires_at < func.now()
        return await database.delete_due(self._engine, DATABASE, idempotency_records, due, PRUNED_AT_ONCE, MOST_BATCHES)

    async def _update(self, key: RequestKey, **values: Any) -> None:
        async with _transaction(self._engine) as connection:
            await connection.execute(update(idempotency_records).where(_same_key(key)).values(values))


class PostgresAudit:
    """`gateway.audit.AuditLog` in PostgreSQL. The service's role may add to both tables and read them, and no more."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def called(self, call: AuditCall) -> None:
        """Writes a call down."""
        async with _transaction(self._engine) as connection:
            await connection.execute(insert(audit_calls).values(asdict(call)))

    async def ended(self, call_id: UUID, status: int, note: str) -> None:
        """Writes down what came of it."""
        async with _transaction(self._engine) as connection:
            await connection.execute(insert(audit_outcomes).values(call_id=call_id, status=status, note=note))

    async def of_tenant(self, tenant: str, limit: int, before: UUID | None) -> Sequence[AuditRecord]:
        """The tenant's calls, newest first."""
        newest_first = (
            select(audit_calls, audit_outcomes.c.status, audit_outcomes.c.note)
            .outerjoin(audit_outcomes, audit_outcomes.c.call_id == audit_calls.c.call_id)
            .where(audit_calls.c.tenant == tenant, *([audit_calls.c.call_id < before] if before else []))
            .order_by(audit_calls.c.call_id.desc())
            .limit(limit)
        )
        async with _transaction(self._engine) as connection:
            rows = await connection.execute(newest_first)
            return [_audit_record(row) for row in rows]


def _audit_record(row: Row[Any]) -> AuditRecord:
    call = AuditCall(**{field.name: getattr(row, field.name) for field in fields(AuditCall)})
    return AuditRecord(call, row.called_at, row.status, row.note or "")


def _same_key(key: RequestKey) -> Any:
    records = idempotency_records.c
    return (
        (records.tenant == key.tenant)
        & (records.principal == key.principal)
        & (records.route == key.route)
        & (records.key == key.key)
    )


def _end(tenant: str, key_id: str, at: datetime) -> Any:
    """Gives a row where the tenant has a key of that id. Of two times the earlier one holds."""
    return (
        update(api_keys)
        .where(api_keys.c.tenant == tenant, api_keys.c.key_id == key_id)
        .values(revoked_at=func.least(api_keys.c.revoked_at, at))
        .returning(api_keys.c.key_id)
    )


def _key_row(key: ApiKey) -> dict[str, Any]:
    return {
        "key_id": key.key_id,
        "secret_hash": key.secret_hash,
        "tenant": key.identity.tenant,
        "principal": key.identity.principal,
        "roles": sorted(key.identity.roles),
        "created_at": key.created_at,
        "created_by": key.created_by,
        "expires_at": key.expires_at,
    }


def _key(row: Row[Any]) -> ApiKey:
    return ApiKey(
        key_id=row.key_id,
        secret_hash=row.secret_hash,
        identity=Identity(row.tenant, row.principal, frozenset(map(Role, row.roles))),
        created_at=row.created_at,
        created_by=row.created_by,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
    )
