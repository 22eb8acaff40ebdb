"""`python -m cli.secret_files`: draws a system's secrets once, and lays them out as files, a folder for each reader.

For a system of containers: each mounts its own folder alone, so a gateway that is broken into knows neither the
recommender's database nor the owner of its own. What was drawn is kept in `$CASEBOOK_HOME/secrets`; to repeat this
changes nothing.
"""

import os
from pathlib import Path

from cli import databases
from cli.home import Home
from cli.postgres_server import SUPERUSER, postgres_url
from cli.redis_server import redis_url

GROUP_READS = 0o640
"""PostgreSQL's and Redis' containers run as users of their own, with this one's group beside theirs."""


def lay_out(home: Home, postgres: str, redis: str) -> dict[str, dict[str, str]]:
    """The content of each reader's files; `postgres` and `redis` are host:port.

    The files are named as the settings that they fill (`CASEBOOK_DATABASE_URL_FILE=…/database_url`).
    """
    shared = {
        "redis_url": redis_url(redis, home.secret("redis")),
        "token_keys": home.token_keys,
    }
    readers = {
        "postgres": {"password": home.secret("postgres")},
        "redis": {"password": home.secret("redis"), "redis.conf": f"requirepass {home.secret('redis')}\n"},
        "grafana": {"password": home.secret("grafana")},
        "databases": {"superuser_url": postgres_url(postgres, SUPERUSER, home.secret("postgres"), "postgres")},
        "operator": shared,
    }
    for service in databases.SERVICES:
        its = databases.of(home, service)
        url = postgres_url(postgres, its.service, its.service_password, its.name)
        owner_url = postgres_url(postgres, its.owner, its.owner_password, its.name)
        readers[service] = {**shared, "database_url": url}
        readers[f"{service}-migrate"] = {"database_url": url, "database_owner_url": owner_url}
    return readers


def write(folder: Path, readers: dict[str, dict[str, str]]) -> None:
    """Writes the files that differ from what they should be; whoever reads meanwhile sees the old one or the new."""
    for reader, files in readers.items():
        (folder / reader).mkdir(mode=0o750, parents=True, exist_ok=True)
        for name, content in files.items():
            file = folder / reader / name
            if file.exists() and file.read_text() == content:
                continue
            unfinished = file.with_name(f"{name}.new")
            unfinished.unlink(missing_ok=True)
            with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, GROUP_READS), "w") as out:
                out.write(content)
            unfinished.replace(file)


if __name__ == "__main__":
    home = Home.from_environment()
    write(home.path, lay_out(home, os.environ["CASEBOOK_POSTGRES"], os.environ["CASEBOOK_REDIS"]))
