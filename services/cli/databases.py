"""`python -m cli.databases create`: a database, an owner that migrates it and a lesser role that serves from it.

Every service that keeps state has its own. The server's superuser is `CASEBOOK_SUPERUSER_URL`, or stands in the file
that `CASEBOOK_SUPERUSER_URL_FILE` names.
"""

import sys
from dataclasses import dataclass

from cli.home import Home

SERVICES = ("gateway", "inference", "recommender", "support")


@dataclass(frozen=True, slots=True)
class Database:
    """Names and passwords of one service's database."""

    name: str
    owner_password: str
    service_password: str

    @property
    def owner(self) -> str:
        """The role that owns the database and runs its migrations."""
        return f"{self.name}_owner"

    @property
    def service(self) -> str:
        """The role that the running service connects as; the migrations grant it what it needs."""
        return f"{self.name}_service"


def of(home: Home, service: str) -> Database:
    """The database of a service, with passwords that are drawn once and kept in the data folder."""
    return Database(service, home.secret(f"{service}-owner"), home.secret(f"{service}-service"))


def create(superuser_url: str, database: Database) -> None:
    """Makes the roles and the database where they are missing, and sets the passwords; may be repeated."""
    import psycopg
    from psycopg import sql

    with psycopg.connect(superuser_url, autocommit=True, connect_timeout=5) as connection:
        for role, password in (
            (database.owner, database.owner_password),
            (database.service, database.service_password),
        ):
            known = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).fetchone()
            statement = sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}" if known else "CREATE ROLE {} LOGIN PASSWORD {}")
            connection.execute(statement.format(sql.Identifier(role), sql.Literal(password)))
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (database.name,)).fetchone():
            connection.execute(
                sql.SQL("CREATE DATABASE {} OWNER {}").format(
                    sql.Identifier(database.name), sql.Identifier(database.owner)
                )
            )
        # Every role may connect to every database by default; here only its own two may.
        connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(database.name)))
        connection.execute(
            sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(
                sql.Identifier(database.name), sql.Identifier(database.service)
            )
        )


if __name__ == "__main__":
    from chassis.settings import secret

    superuser_url = secret("CASEBOOK_SUPERUSER_URL")
    if not superuser_url:
        sys.exit("CASEBOOK_SUPERUSER_URL, or CASEBOOK_SUPERUSER_URL_FILE, must name the server's superuser")
    for name in SERVICES:
        create(superuser_url, of(Home.from_environment(), name))
