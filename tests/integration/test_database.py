"""Migrations run as the owner; the service then runs as a role that can touch rows and nothing else."""

import sys
import threading

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DataError, OperationalError, ProgrammingError

from chassis import database
from chassis.errors import Unavailable

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
