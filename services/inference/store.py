"""Where releases are held: PostgreSQL for all replicas together, or this process's memory where there is but one."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Double,
    Identity,
    MetaData,
    Row,
    Table,
    Text,
    delete,
    func,
    make_url,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from chassis import database
from chassis.errors import NotFound
from inference.releases import (
    REPLICA_TTL_SECONDS,
    Acknowledgement,
    Action,
    Change,
    Edit,
    Release,
    changed,
)

CHANNEL = "casebook_releases"
POLL_SECONDS = 2.0
"""A notification that got lost (a fail-over, a pooler in between) is made up for after this long."""
RECONNECT_SECONDS = (0.2, 5.0)
"""The first and the longest pause before listening is tried again."""

_METADATA = MetaData()
_RELEASE = ("stable", "canary", "canary_share", "shadow", "previous", "generation", "changed_by", "changed_at")


def _release_columns() -> list[Column[Any]]:
    types: dict[str, Any] = {"canary_share": Double, "generation": BigInteger, "changed_at": DateTime(timezone=True)}
    return [Column(name, types.get(name, Text)) for name in _RELEASE]


_RELEASES = Table("releases", _METADATA, Column("model", Text, primary_key=True), *_release_columns())
_CHANGES = Table(
    "release_changes",
    _METADATA,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("model", Text),
    Column("action", Text),
    Column("reason", Text),
    *_release_columns(),
)
_REPLICAS = Table(
    "replicas", _METADATA, Column("replica", Text, primary_key=True), Column("seen_at", DateTime(timezone=True))
)
_ACKNOWLEDGEMENTS = Table(
    "acknowledgements",
    _METADATA,
    Column("replica", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("generation", BigInteger),
    Column("error", Text),
    Column("seen_at", DateTime(timezone=True)),
)
_log = logging.getLogger(__name__)


class PostgresReleaseStore:
    """Releases in PostgreSQL. A change notifies every replica; a poll makes up for a notification that got lost.

    Times of replicas are the database's, so that their clocks need not agree.
    """

    def __init__(self, url: str) -> None:
        self._engine: AsyncEngine = database.connect(url)
        self._url = make_url(url)

    async def bootstrap(self, versions: Mapping[str, str], by: str) -> None:
        """Several replicas may do this at a time: the first one's row stands."""
        async with self._transaction() as connection:
            for model, version in versions.items():
                release = Release(model, version, changed_by=by, changed_at=datetime.now(UTC))
                row = {"model": model, **_columns(release)}
                created = insert(_RELEASES).values(row).on_conflict_do_nothing().returning(_RELEASES.c.model)
                if (await connection.execute(created)).first() is not None:
                    await _record(connection, Action.BOOTSTRAP, release, "the model had no release")

    async def releases(self) -> dict[str, Release]:
        """Every model's release, by model."""
        async with self._transaction() as connection:
            return {row.model: _release(row) for row in await connection.execute(select(_RELEASES))}

    async def change(self, model: str, action: Action, edit: Edit, by: str, reason: str) -> Release:
        """Locks the row meanwhile, so that of two operators the second edits what the first has left."""
        async with self._transaction() as connection:
            found = select(_RELEASES).where(_RELEASES.c.model == model).with_for_update()
            row = (await connection.execute(found)).first()
            if row is None:
                raise NotFound("release of model", model)
            after = changed(_release(row), edit, by, datetime.now(UTC))
            await connection.execute(update(_RELEASES).where(_RELEASES.c.model == model).values(_columns(after)))
            await _record(connection, action, after, reason)
            return after

    async def changes(self, model: str, limit: int) -> list[Change]:
        """The newest changes, newest first."""
        newest = select(_CHANGES).order_by(_CHANGES.c.id.desc()).limit(limit)
        if model:
            newest = newest.where(_CHANGES.c.model == model)
        async with self._transaction() as connection:
            rows = await connection.execute(newest)
            return [Change(Action(row.action), _release(row), row.reason) for row in rows]

    async def watch(self) -> AsyncGenerator[None, None]:
        """Yields at once, on each notification, and every `POLL_SECONDS`; goes on when the database is away."""
        pause, longest = RECONNECT_SECONDS
        while True:
            try:
                connection = await database.connect_alone(self._url)
                async with connection:
                    await connection.execute(f"LISTEN {CHANNEL}")
                    pause = RECONNECT_SECONDS[0]
                    while True:
                        yield
                        async for _ in connection.notifies(timeout=POLL_SECONDS, stop_after=1):
                            pass
            except psycopg.OperationalError as error:
                _log.warning("releases can't be watched, what is known goes on serving: %s", error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, longest)

    async def acknowledge(self, acknowledgement: Acknowledgement) -> None:
        """Replaces what this replica said of this model before."""
        new = {
            "generation": acknowledgement.generation,
            "error": acknowledgement.error,
            "seen_at": func.now(),
        }
        key = {"replica": acknowledgement.replica, "model": acknowledgement.model}
        row = insert(_ACKNOWLEDGEMENTS).values({**key, **new})
        async with self._transaction() as connection:
            await connection.execute(row.on_conflict_do_update(index_elements=list(key), set_=new))

    async def heartbeat(self, replica: str) -> None:
        """Also clears away replicas that ended without a word an hour ago."""
        row = insert(_REPLICAS).values(replica=replica, seen_at=func.now())
        long_gone = select(_REPLICAS.c.replica).where(_REPLICAS.c.seen_at < func.now() - timedelta(hours=1))
        async with self._transaction() as connection:
            await connection.execute(
                row.on_conflict_do_update(index_elements=["replica"], set_={"seen_at": func.now()})
            )
            gone = (await connection.execute(long_gone)).scalars().all()
            await _forget(connection, *gone)

    async def leave(self, replica: str) -> None:
        """Removes what this replica has said."""
        async with self._transaction() as connection:
            await _forget(connection, replica)

    async def replicas(self) -> dict[str, list[Acknowledgement]]:
        """What the replicas seen within `REPLICA_TTL_SECONDS` have acknowledged, by model."""
        fresh = func.now() - timedelta(seconds=REPLICA_TTL_SECONDS)
        said = (
            select(_ACKNOWLEDGEMENTS, _REPLICAS.c.seen_at.label("replica_seen_at"))
            .join(_REPLICAS, _REPLICAS.c.replica == _ACKNOWLEDGEMENTS.c.replica)
            .where(_REPLICAS.c.seen_at > fresh)
            .order_by(_ACKNOWLEDGEMENTS.c.replica)
        )
        by_model: dict[str, list[Acknowledgement]] = {}
        async with self._transaction() as connection:
            for row in await connection.execute(said):
                heard = Acknowledgement(row.replica, row.model, row.generation, row.error, row.replica_seen_at)
                by_model.setdefault(row.model, []).append(heard)
        return by_model

    async def close(self) -> None:
        """Closes the pool."""
        await self._engine.dispose()

    def _transaction(self) -> AbstractAsyncContextManager[AsyncConnection]:
        return database.transaction(self._engine, "the database of releases")


class MemoryReleaseStore:
    """The same for one replica alone. It forgets when the process stops."""

    def __init__(self) -> None:
        self._releases: dict[str, Release] = {}
        self._changes: list[Change] = []
        self._acknowledgements: dict[tuple[str, str], Acknowledgement] = {}
        self._ready: set[str] = set()
        self._changed = asyncio.Event()

    async def bootstrap(self, versions: Mapping[str, str], by: str) -> None:
        """Gives models without a release one."""
        for model, version in versions.items():
            if model not in self._releases:
                release = Release(model, version, changed_by=by, changed_at=datetime.now(UTC))
                self._keep(Action.BOOTSTRAP, release, "the model had no release")

    async def releases(self) -> dict[str, Release]:
        """Every model's release, by model."""
        return dict(self._releases)

    async def change(self, model: str, action: Action, edit: Edit, by: str, reason: str) -> Release:
        """Edits one release and records it."""
        before = self._releases.get(model)
        if before is None:
            raise NotFound("release of model", model)
        after = changed(before, edit, by, datetime.now(UTC))
        self._keep(action, after, reason)
        return after

    async def changes(self, model: str, limit: int) -> list[Change]:
        """The newest changes, newest first."""
        return [change for change in reversed(self._changes) if model in ("", change.after.model)][:limit]

    async def watch(self) -> AsyncGenerator[None, None]:
        """Yields at once, after each change, and every `POLL_SECONDS`."""
        while True:
            self._changed.clear()
            yield
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), POLL_SECONDS)

    async def acknowledge(self, acknowledgement: Acknowledgement) -> None:
        """Replaces what the replica said before."""
        self._acknowledgements[acknowledgement.replica, acknowledgement.model] = acknowledgement

    async def heartbeat(self, replica: str) -> None:
        """Counts the replica from now on."""
        self._ready.add(replica)

    async def leave(self, replica: str) -> None:
        """Counts it no more."""
        self._ready.discard(replica)

    async def replicas(self) -> dict[str, list[Acknowledgement]]:
        """What has been acknowledged, by model."""
        by_model: dict[str, list[Acknowledgement]] = {}
        for said in self._acknowledgements.values():
            if said.replica in self._ready:
                by_model.setdefault(said.model, []).append(said)
        return by_model

    async def close(self) -> None:
        """Nothing is open."""

    def _keep(self, action: Action, release: Release, reason: str) -> None:
        self._releases[release.model] = release
        self._changes.append(Change(action, release, reason))
        self._changed.set()


def _columns(release: Release) -> dict[str, Any]:
    return {name: getattr(release, name) for name in _RELEASE}


def _release(row: Row[Any]) -> Release:
    return Release(row.model, **{name: getattr(row, name) for name in _RELEASE})


async def _record(connection: AsyncConnection, action: Action, after: Release, reason: str) -> None:
    """Adds the change to the record, and tells every replica once the transaction has been committed."""
    row = {"model": after.model, "action": action.value, "reason": reason, **_columns(after)}
    await connection.execute(insert(_CHANGES).values(row))
    await connection.execute(text("SELECT pg_notify(:channel, :model)"), {"channel": CHANNEL, "model": after.model})


async def _forget(connection: AsyncConnection, *replicas: str) -> None:
    if replicas:
        await connection.execute(delete(_ACKNOWLEDGEMENTS).where(_ACKNOWLEDGEMENTS.c.replica.in_(replicas)))
        await connection.execute(delete(_REPLICAS).where(_REPLICAS.c.replica.in_(replicas)))
