"""PostgreSQL: bounded pools with timeouts; migrations run once, as the owner; the service runs as a lesser role."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from importlib import resources
from typing import Any

from psycopg.errors import UndefinedTable
from sqlalchemy import (
    URL,
    ColumnElement,
    Connection,
    Delete,
    Engine,
    Table,
    create_engine,
    delete,
    event,
    make_url,
    select,
    text,
    tuple_,
)
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from chassis import logs
from chassis.connections import BoundedAsyncConnection, BoundedConnection
from chassis.errors import Unavailable

POOL_SIZE = 5
POOL_OVERFLOW = 5
POOL_WAIT_SECONDS = 5.0
POOL: dict[str, Any] = {
    "pool_size": POOL_SIZE,
    "max_overflow": POOL_OVERFLOW,
    "pool_timeout": POOL_WAIT_SECONDS,
    "pool_pre_ping": True,
}
CONNECT_TIMEOUT_SECONDS = 5
STATEMENT_TIMEOUT_MS = 5_000
SILENCE_SECONDS = 2.0
"""Past a statement's time limit. By then a server that is there has said something."""
TCP = {
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
"""A host that has gone is noticed in 10 s while something is on its way to it, in 25 s while nothing is."""
RETRY_AFTER_SECONDS = 2.0
"""When a caller is to come back that a database did not answer."""
MIGRATION_LOCK = 0x0CA5EB00
"""The advisory lock that keeps two `migrate` processes apart; any fixed number would do."""

_log = logs.logger(__name__)


def connect(url: str) -> AsyncEngine:
    """A pool for asyncio code; `url` is "postgresql://user:password@host:port/database"."""
    arguments = _arguments(STATEMENT_TIMEOUT_MS) | {"async_creator_fn": _open}
    return create_async_engine(_psycopg(url), connect_args=arguments, **POOL)


def connect_blocking(url: str, statement_timeout_ms: int = STATEMENT_TIMEOUT_MS) -> Engine:
    """The same for code that runs in a thread."""
    engine = create_engine(_psycopg(url), connect_args=_arguments(statement_timeout_ms), **POOL)

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: object, _record: object, arguments: list[Any], named: dict[str, Any]) -> BoundedConnection:
        connection = BoundedConnection.connect(*arguments, **named)
        connection.patience_seconds = _patience(statement_timeout_ms)
        return connection

    return engine


async def connect_alone(url: URL) -> BoundedAsyncConnection:
    """One connection beside the pools, in autocommit mode. Raises psycopg's errors."""
    address = url.set(drivername="postgresql").render_as_string(hide_password=False)
    return await _open(address, autocommit=True, **_arguments(STATEMENT_TIMEOUT_MS))


@asynccontextmanager
async def transaction(engine: AsyncEngine, database: str) -> AsyncIterator[AsyncConnection]:
    """One transaction. Raises Unavailable, naming `database`, where PostgreSQL does not answer in time.

    In time: a connection of the pool's in 5 s, a new one in 5 s, each statement in 5 s by the server's clock, and where
    the server is silent in 7 s by ours (connections.py). A task that is cancelled meanwhile ends at once.
    """
    with answering(database):
        async with engine.begin() as connection:
            yield connection


@contextmanager
def transaction_blocking(engine: Engine, database: str) -> Iterator[Connection]:
    """The same for a thread."""
    with answering(database), engine.begin() as connection:
        yield connection


@asynccontextmanager
async def within(seconds: float, database: str) -> AsyncIterator[None]:
    """Raises Unavailable, naming `database`, where the block takes longer."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise Unavailable(database, f"no answer within {seconds:g} s", RETRY_AFTER_SECONDS) from error


@contextmanager
def answering(database: str) -> Iterator[None]:
    """Turns what PostgreSQL fails with into Unavailable, a table that `migrate` has yet to make among it.

    A row that it refuses is the caller's fault and stays; so does a statement that it refuses, which no retry mends.
    """
    try:
        yield
    except (DataError, IntegrityError):
        raise
    except (DBAPIError, PoolTimeout, OSError) as error:
        if isinstance(error, ProgrammingError) and not isinstance(error.orig, UndefinedTable):
            raise
        # Addresses and users are for the log: the error's text goes to whoever called.
        _log.warning("a database does not answer", database=database, why=str(error).strip().partition("\n")[0])
        raise Unavailable(database, type(error).__name__, RETRY_AFTER_SECONDS) from error


def delete_some(table: Table, due: ColumnElement[bool], most: int) -> Delete:
    """Deletes at most `most` of the rows that are due, and passes over those that another transaction holds.

    What has been due for long may be more than one statement can delete in its time, and would be tried in vain.
    """
    key = table.primary_key.columns
    # A CTE that locks is evaluated once: a plan that evaluated a subquery anew for each row would delete more.
    some = select(*key).where(due).limit(most).with_for_update(skip_locked=True).cte("some")
    return delete(table).where(tuple_(*key).in_(select(*some.c)))


async def delete_due(
    engine: AsyncEngine, database: str, table: Table, due: ColumnElement[bool], at_once: int, most_batches: int
) -> int:
    """Deletes the rows that are due, `at_once` in a transaction and `most_batches` at most; returns how many.

    The next round goes on where this one stops. Raises Unavailable, naming `database`; what was deleted by then is.
    """
    deleted = 0
    for _ in range(most_batches):
        async with transaction(engine, database) as connection:
            batch = (await connection.execute(delete_some(table, due, at_once))).rowcount
        deleted += batch
        if batch < at_once:
            break
    return deleted


def migrate(package: str, owner_url: str, service_url: str, append_only: Sequence[str] = ()) -> None:
    """Brings the database to the newest revision of `<package>/migrations`, as its owner.

    The role in `service_url` is created where it is missing and may then read and write every table's rows, and nothing
    more: a service that is broken into can't drop or alter a table. The rows of the tables in `append_only` it may add
    and read, not change or delete. Several of these may start at a time; one works.
    """
    # Imported here: only `migrate` needs Alembic, and every other process would start later for it.
    from alembic import command
    from alembic.config import Config

    engine = connect_blocking(owner_url, statement_timeout_ms=0)
    config = Config()
    config.set_main_option("script_location", str(resources.files(package) / "migrations"))
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        _grant(connection, make_url(service_url), append_only)
    engine.dispose()


def _grant(connection: Connection, service: URL, append_only: Sequence[str]) -> None:
    """Creates the service's role where it is missing, and grants it rows only (a test may run as the owner)."""
    quote = connection.dialect.identifier_preparer.quote
    owner = connection.execute(text("SELECT current_user")).scalar_one()
    if service.username is None or service.username == owner:
        return
    role = quote(service.username)
    known = connection.execute(text("SELECT 1 FROM pg_roles WHERE rolname = :name"), {"name": service.username})
    if known.first() is None:
        literal = text("SELECT quote_literal(:password)")
        password = connection.execute(literal, {"password": str(service.password or "")}).scalar_one()
        connection.exec_driver_sql(f"CREATE ROLE {role} LOGIN PASSWORD {password}".replace("%", "%%"))
    connection.exec_driver_sql(f"GRANT USAGE ON SCHEMA public TO {role}")
    connection.exec_driver_sql(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}")
    connection.exec_driver_sql(f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}")
    for table in append_only:
        connection.exec_driver_sql(f"REVOKE UPDATE, DELETE ON TABLE {quote(table)} FROM {role}")


def _psycopg(url: str) -> URL:
    return make_url(url).set(drivername="postgresql+psycopg")


async def _open(*arguments: Any, **named: Any) -> BoundedAsyncConnection:
    connection = await BoundedAsyncConnection.connect(*arguments, **named)
    connection.patience_seconds = _patience(STATEMENT_TIMEOUT_MS)
    return connection


def _patience(statement_timeout_ms: int) -> float | None:
    return statement_timeout_ms / 1000 + SILENCE_SECONDS if statement_timeout_ms else None


def _arguments(statement_timeout_ms: int) -> dict[str, Any]:
    """What libpq is told. A statement that nobody waits for any more ends within a second (PostgreSQL 14 and later)."""
    options = f"-c statement_timeout={statement_timeout_ms} -c client_connection_check_interval=1000"
    return TCP | {"connect_timeout": CONNECT_TIMEOUT_SECONDS, "options": options}
