"""The secrets of a system of containers: each reader's folder, and nothing of another's in it."""

from pathlib import Path

import pytest

from cli import databases
from cli.home import Home
from cli.secret_files import lay_out, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, lay_out(Home(tmp_path), "postgres:5432", "redis:6379"))
    return tmp_path


def content(folder: Path) -> dict[str, str]:
    return {str(file.relative_to(folder)): file.read_text() for file in folder.glob("*/*")}


def test_a_second_run_changes_nothing(folder: Path) -> None:
    first = content(folder)

    write(folder, lay_out(Home(folder), "postgres:5432", "redis:6379"))

    assert content(folder) == first


@pytest.mark.parametrize("service", databases.SERVICES)
def test_a_service_knows_neither_its_database_s_owner_nor_another_s_database(folder: Path, service: str) -> None:
    known = "".join(file.read_text() for file in (folder / service).iterdir())

    others = [of for name in databases.SERVICES if name != service for of in [databases.of(Home(folder), name)]]
    assert databases.of(Home(folder), service).service_password in known
    assert databases.of(Home(folder), service).owner_password not in known
    assert not any(its.service_password in known or its.owner_password in known for its in others)


def test_only_owner_and_group_may_read(folder: Path) -> None:
    assert all(file.stat().st_mode & 0o007 == 0 for file in folder.glob("*/*"))
