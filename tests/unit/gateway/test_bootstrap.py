"""The first API key: made once, for its owner's eyes, and found again."""

import stat

import pytest

from chassis.errors import FailedPrecondition, Unauthenticated
from chassis.identity import Role
from gateway.bootstrap import bootstrap
from gateway.keys import Credential, KeyRing
from tests.unit.gateway.parts import Clock, MemoryKeys


@pytest.fixture
def path(tmp_path):
    return tmp_path / "secrets" / "api-key"


def ring(store=None):
    return KeyRing(store or MemoryKeys(), trust_seconds=0, clock=Clock())


async def test_the_first_key_is_an_administrators(path):
    keys = ring()

    await bootstrap(keys, path, "demo")

    key = await keys.authenticate(Credential.parse(path.read_text().strip()))
    assert (key.identity.tenant, key.identity.roles) == ("demo", {Role.ADMIN})


async def test_only_its_owner_may_read_the_file(path):
    await bootstrap(ring(), path, "demo")

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_second_run_changes_nothing(path):
    store = MemoryKeys()
    first = await bootstrap(ring(store), path, "demo")
    text = path.read_text()

    second = await bootstrap(ring(store), path, "demo")

    assert second == first
    assert path.read_text() == text
    assert len(store.keys) == 1


async def test_the_key_in_the_file_survives_an_emptied_database(path):
    await bootstrap(ring(), path, "demo")
    emptied = ring()

    await bootstrap(emptied, path, "demo")

    await emptied.authenticate(Credential.parse(path.read_text().strip()))


async def test_a_revoked_key_stays_revoked(path):
    keys = ring()
    key = await bootstrap(keys, path, "demo")
    await keys.revoke("demo", key.key_id)

    with pytest.raises(FailedPrecondition, match="remove the file to get another"):
        await bootstrap(keys, path, "demo")


async def test_a_file_that_holds_something_else_is_left_alone(path):
    path.parent.mkdir()
    path.write_text("my notes")

    with pytest.raises(Unauthenticated):
        await bootstrap(ring(), path, "demo")

    assert path.read_text() == "my notes"
