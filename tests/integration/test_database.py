"""Migrations run as the owner; the service then runs as a role that can touch rows and nothing else."""

import sys
import threading
import time

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DataError, OperationalError, ProgrammingError

from chassis import database
from chassis.errors import Unavailable
from tests.fixtures.infrastructure import Postgres
from tests.fixtures.proxy import proxy_before
from tests.fixtures.serving import until

ENVIRONMENT = """
from alembic import context
context.configure(connection=context.config.attributes["connection"])
with context.begin_transaction():
    context.run_migrations()
"""
REVISION = """
import sqlalchemy as sa
from alembic import op
revision, down_revision = "0001", None
def upgrade():
    number = sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True)
    op.create_table("things", number, sa.Column("name", sa.Text))
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with one migration, as each service has them."""
    versions = tmp_path / "migrated_example" / "migrations" / "versions"
    versions.mkdir(parents=True)
    (tmp_path / "migrated_example" / "__init__.py").touch()
    (versions.parent / "env.py").write_text(ENVIRONMENT)
    (versions / "0001_things.py").write_text(REVISION)
    monkeypatch.syspath_prepend(tmp_path)
    yield "migrated_example"
    sys.modules.pop("migrated_example", None)


def test_the_service_reads_and_writes_rows_and_alters_nothing(postgres, package):
    urls = postgres.create_database("migrated")
    database.migrate(package, urls.owner, urls.service)

    engine = database.connect_blocking(urls.service)
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO things (name) VALUES ('a')"))
        assert connection.execute(text("SELECT name FROM things")).scalar_one() == "a"
    for forbidden in ("DROP TABLE things", "ALTER TABLE things ADD COLUMN x int", "CREATE TABLE more (x int)"):
        with pytest.raises(ProgrammingError, match=r"must be owner|permission denied"), engine.begin() as connection:
            connection.execute(text(forbidden))
    engine.dispose()


def test_migrating_again_and_from_two_sides_at_once_changes_nothing(postgres, package):
    urls = postgres.create_database("migrated")
    failures = []

    def migrate():
        try:
            database.migrate(package, urls.owner, urls.service)
        except Exception as error:  # noqa: BLE001 - carried over to the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=migrate) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    migrate()

    assert failures == []


def test_a_statement_has_a_time_limit(postgres):
    urls = postgres.create_database("limited")
    engine = database.connect_blocking(urls.owner, statement_timeout_ms=100)

    with pytest.raises(OperationalError, match="statement timeout"), engine.connect() as connection:
        connection.execute(text("SELECT pg_sleep(30)"))
    engine.dispose()


async def test_asyncio_code_has_the_same_pool(postgres):
    urls = postgres.create_database("pooled")
    engine = database.connect(urls.owner)

    async with engine.connect() as connection:
        assert (await connection.execute(text("SELECT 1"))).scalar_one() == 1
    await engine.dispose()


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("SELECT pg_terminate_backend(pg_backend_pid())", Unavailable),
        ("SET statement_timeout = 20; SELECT pg_sleep(30)", Unavailable),
        ("SELECT 1/0", DataError),
    ],
    ids=["lost connection", "time limit", "a value that is refused"],
)
def test_a_database_that_does_not_answer_is_told_from_a_value_that_it_refuses(postgres, statement, error):
    engine = database.connect_blocking(postgres.create_database("failing").service)

    with pytest.raises(error), database.transaction_blocking(engine, "the things' database") as connection:
        connection.execute(text(statement))
    engine.dispose()


def test_a_table_that_is_still_to_be_made_is_waited_for_and_a_wrong_statement_is_not(postgres, package):
    urls = postgres.create_database("migrated")
    engine = database.connect_blocking(urls.owner)

    with pytest.raises(Unavailable), database.transaction_blocking(engine, "things") as connection:
        connection.execute(text("SELECT name FROM things"))
    database.migrate(package, urls.owner, urls.service)
    with pytest.raises(ProgrammingError), database.transaction_blocking(engine, "things") as connection:
        connection.execute(text("SELECT colour FROM things"))
    engine.dispose()


@pytest.fixture
def impatient(monkeypatch):
    """Silence is borne for a second."""
    monkeypatch.setattr(database, "STATEMENT_TIMEOUT_MS", 700)
    monkeypatch.setattr(database, "SILENCE_SECONDS", 0.3)


async def test_a_server_that_falls_silent_in_the_middle_of_a_transaction_is_unavailable(postgres, impatient):
    with proxy_before(postgres.create_database("silent").service) as (proxy, address):
        engine = database.connect(address)
        started = time.monotonic()

        async def ask_twice() -> None:
            async with database.transaction(engine, "things") as connection:
                await connection.execute(text("SELECT 1"))
                proxy.fall_silent()
                await connection.execute(text("SELECT 1"))

        with pytest.raises(Unavailable, match="things"):
            await ask_twice()
        assert 1.0 <= time.monotonic() - started < 4.0
        await engine.dispose()


def test_a_server_that_falls_silent_is_unavailable_to_a_thread_too(postgres):
    with proxy_before(postgres.create_database("silent").service) as (proxy, address):
        engine = database.connect_blocking(address, statement_timeout_ms=300)
        started = time.monotonic()

        def ask_twice() -> None:
            with database.transaction_blocking(engine, "things") as connection:
                connection.execute(text("SELECT 1"))
                proxy.fall_silent()
                connection.execute(text("SELECT 1"))

        with pytest.raises(Unavailable, match="things"):
            ask_twice()
        assert 2.3 <= time.monotonic() - started < 5.0
        engine.dispose()


async def test_a_pooled_connection_whose_server_has_fallen_silent_costs_one_wait_and_a_new_one(
    postgres, impatient, monkeypatch
):
    monkeypatch.setattr(database, "CONNECT_TIMEOUT_SECONDS", 2)  # psycopg's least
    with proxy_before(postgres.create_database("silent").service) as (proxy, address):
        engine = database.connect(address)
        async with database.transaction(engine, "things") as connection:
            await connection.execute(text("SELECT 1"))
        proxy.fall_silent()
        started = time.monotonic()

        with pytest.raises(Unavailable, match="things"):
            async with database.transaction(engine, "things"):
                pass

        assert 3.0 <= time.monotonic() - started < 6.0
        await engine.dispose()


async def test_whoever_gives_up_waiting_is_not_kept_by_a_silent_server(postgres):
    with proxy_before(postgres.create_database("silent").service) as (proxy, address):
        engine = database.connect(address)
        started = time.monotonic()

        async def ask() -> None:
            async with database.within(0.3, "things"), database.transaction(engine, "things") as connection:
                proxy.fall_silent()
                await connection.execute(text("SELECT 1"))

        with pytest.raises(Unavailable, match=r"no answer within 0\.3 s"):
            await ask()
        assert time.monotonic() - started < 1.5
        await engine.dispose()


async def test_a_server_that_answers_late_or_much_is_not_silent(postgres, impatient):
    engine = database.connect(postgres.create_database("slow").service)

    async with database.transaction(engine, "things") as connection:
        for _ in range(3):
            await connection.execute(text("SELECT pg_sleep(0.5)"))
        many = (await connection.execute(text("SELECT repeat('x', 1000) FROM generate_series(1, 5000)"))).all()

    assert len(many) == 5_000
    await engine.dispose()


async def test_a_statement_that_nobody_waits_for_any_more_ends_and_lets_go_of_its_locks(postgres: Postgres):
    engine = database.connect(postgres.create_database("abandoned").owner)
    running = text("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(4.5)%'")

    with pytest.raises(Unavailable):
        async with database.within(0.3, "things"), database.transaction(engine, "things") as connection:
            await connection.execute(text("SELECT pg_sleep(4.5)"))

    async def ended() -> bool:
        async with engine.connect() as connection:
            return (await connection.execute(running)).scalar_one() == 0

    assert await until("the statement to end", ended, 4) < 3.0
    await engine.dispose()
