"""API keys: who is let in, for how long, and what is kept of a key."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from chassis.errors import FailedPrecondition, NotFound, Unauthenticated
from chassis.identity import Identity, Role
from gateway.keys import CACHED_KEYS, Credential, KeyRing
from tests.unit.gateway.parts import Clock, MemoryKeys

SHOP = Identity("acme", "storefront", frozenset({Role.VIEWER}))
SECRET = "s" * 43


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store():
    return MemoryKeys()


@pytest.fixture
def ring(store, clock):
    return KeyRing(store, trust_seconds=10, clock=clock, monotonic=clock.monotonic)


async def test_a_key_opens_what_it_was_made_for(ring):
    credential, _ = await ring.create(SHOP, "admin", expires_at=None)

    key = await ring.authenticate(Credential.parse(str(credential)))

    assert key.identity == SHOP


@pytest.mark.parametrize(
    "text",
    [
        "",
        "cb_",
        "sk_aaaaaaaaaaaa_" + SECRET,
        "cb_aaaaaaaaaaaa_" + SECRET[1:],
        "cb_aaaaaaaaaaa_" + SECRET,
        "cb_aaaaaaaaaaaa_" + SECRET[1:] + "_",
        "cb_aaaaaaaaaaaa_" + SECRET[1:] + "é",
    ],
)
def test_what_is_not_of_the_form_is_refused_without_a_look_up(text):
    with pytest.raises(Unauthenticated, match="cb_<id>_<secret>"):
        Credential.parse(text)


async def test_the_right_id_with_another_secret_is_refused(ring):
    credential, _ = await ring.create(SHOP, "admin", expires_at=None)

    with pytest.raises(Unauthenticated):
        await ring.authenticate(replace(credential, secret=SECRET))


async def test_an_unknown_key_and_a_wrong_secret_are_refused_in_the_same_words(ring):
    credential, _ = await ring.create(SHOP, "admin", expires_at=None)

    with pytest.raises(Unauthenticated) as unknown:
        await ring.authenticate(Credential("x" * 12, SECRET))
    with pytest.raises(Unauthenticated) as wrong:
        await ring.authenticate(replace(credential, secret=SECRET))

    assert str(unknown.value) == str(wrong.value)


async def test_a_key_ends_when_it_expires_even_while_it_is_trusted(ring, clock):
    credential, _ = await ring.create(SHOP, "admin", expires_at=clock() + timedelta(seconds=5))
    await ring.authenticate(credential)

    clock.pass_seconds(5)

    with pytest.raises(Unauthenticated):
        await ring.authenticate(credential)


async def test_a_revoked_key_ends_at_once_where_it_was_revoked(ring):
    credential, key = await ring.create(SHOP, "admin", expires_at=None)
    await ring.authenticate(credential)

    await ring.revoke("acme", key.key_id)

    with pytest.raises(Unauthenticated):
        await ring.authenticate(credential)


async def test_a_key_revoked_on_another_replica_ends_when_the_trust_does(ring, store, clock):
    credential, key = await ring.create(SHOP, "admin", expires_at=None)
    await ring.authenticate(credential)

    await store.revoke("acme", key.key_id, clock())
    clock.pass_seconds(9.9)
    await ring.authenticate(credential)
    clock.pass_seconds(0.1)

    with pytest.raises(Unauthenticated):
        await ring.authenticate(credential)


async def test_a_key_that_is_revoked_with_grace_works_until_the_grace_is_over(ring, clock):
    credential, key = await ring.create(SHOP, "admin", expires_at=None)

    await ring.revoke("acme", key.key_id, grace=timedelta(seconds=60))
    clock.pass_seconds(59)
    await ring.authenticate(credential)
    clock.pass_seconds(1)

    with pytest.raises(Unauthenticated):
        await ring.authenticate(credential)


async def test_a_grace_may_be_cut_short_and_not_drawn_out(ring, clock):
    credential, key = await ring.create(SHOP, "admin", expires_at=None)

    for grace in (60, 5, 60):
        await ring.revoke("acme", key.key_id, grace=timedelta(seconds=grace))
    clock.pass_seconds(5)

    with pytest.raises(Unauthenticated):
        await ring.authenticate(credential)


async def test_while_a_key_is_rotated_both_work_for_the_same_identity(ring, clock):
    old, key = await ring.create(SHOP, "admin", expires_at=None)

    new, made = await ring.rotate("acme", key.key_id, "admin", None, grace=timedelta(seconds=60))

    assert made.identity == SHOP
    assert [(await ring.authenticate(each)).identity for each in (old, new)] == [SHOP, SHOP]
    clock.pass_seconds(60)
    await ring.authenticate(new)
    with pytest.raises(Unauthenticated):
        await ring.authenticate(old)


async def test_a_key_that_has_ended_or_is_anothers_is_not_rotated(ring, clock):
    _, key = await ring.create(SHOP, "admin", expires_at=clock() + timedelta(seconds=5))

    with pytest.raises(NotFound):
        await ring.rotate("other", key.key_id, "admin", None, timedelta(0))
    clock.pass_seconds(5)
    with pytest.raises(FailedPrecondition, match="it has ended"):
        await ring.rotate("acme", key.key_id, "admin", None, timedelta(0))


async def test_a_key_that_ends_while_it_is_rotated_is_not_replaced(ring, store, clock, monkeypatch):
    _, key = await ring.create(SHOP, "admin", expires_at=None)
    as_it_was = await store.find(key.key_id)
    await store.revoke("acme", key.key_id, clock())
    monkeypatch.setattr(MemoryKeys, "find", lambda *_: asyncio.sleep(0, as_it_was))

    with pytest.raises(FailedPrecondition, match="it has ended"):
        await ring.rotate("acme", key.key_id, "admin", None, timedelta(0))

    assert list(store.keys) == [key.key_id]


async def test_a_tenant_cannot_revoke_another_tenants_key(ring):
    credential, key = await ring.create(SHOP, "admin", expires_at=None)

    with pytest.raises(NotFound):
        await ring.revoke("other", key.key_id)

    await ring.authenticate(credential)


async def test_the_store_is_asked_once_for_known_and_unknown_keys(ring, store):
    credential, _ = await ring.create(SHOP, "admin", expires_at=None)
    for _ in range(3):
        await ring.authenticate(credential)
        with pytest.raises(Unauthenticated):
            await ring.authenticate(Credential("x" * 12, SECRET))

    assert store.asked == 2


async def test_made_up_ids_cannot_fill_the_memory(ring):
    for number in range(CACHED_KEYS + 10):
        with pytest.raises(Unauthenticated):
            await ring.authenticate(Credential(f"{number:012}", SECRET))

    assert len(ring._known) == CACHED_KEYS


async def test_the_secret_is_neither_kept_nor_shown(ring, store):
    credential, key = await ring.create(SHOP, "admin", expires_at=None)

    assert credential.secret.encode() not in key.secret_hash
    assert len(key.secret_hash) == 32
    assert credential.secret not in repr(credential)
    assert credential.secret not in repr(store)
