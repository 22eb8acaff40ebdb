"""Tokens between services: signed, short-lived, rotated without a stop."""

import time

import jwt
import pytest

from chassis.errors import PermissionDenied, Unauthenticated
from chassis.identity import Identity, Role, TokenKeys, acting_as, current_identity, require

OLD, NEW = "k1:" + "o" * 32, "k2:" + "n" * 32
ANNA = Identity("acme", "anna", frozenset({Role.OPERATOR}))


def test_a_token_brings_back_the_identity():
    keys = TokenKeys.parse(OLD)

    assert keys.verify(keys.sign(ANNA)) == ANNA


def test_keys_rotate_without_a_stop():
    signed_with_old = TokenKeys.parse(OLD).sign(ANNA)

    both = TokenKeys.parse(f"{NEW},{OLD}")

    assert both.verify(signed_with_old) == ANNA
    assert jwt.get_unverified_header(both.sign(ANNA))["kid"] == "k2"
    with pytest.raises(Unauthenticated, match="'k1', which is not known"):
        TokenKeys.parse(NEW).verify(signed_with_old)


@pytest.mark.parametrize(
    ("claims", "says"),
    [
        ({"exp": 1}, "expired"),
        ({"iss": "another"}, "issuer"),
        ({"roles": ["emperor"]}, "emperor"),
        ({"tenant": None}, "tenant"),
    ],
)
def test_a_token_that_breaks_a_rule_is_refused(claims, says):
    whole = {
        "iss": "casebook",
        "sub": "anna",
        "tenant": "acme",
        "roles": ["viewer"],
        "iat": int(time.time()),
        "exp": time.time() + 60,
        **claims,
    }
    token = jwt.encode({k: v for k, v in whole.items() if v is not None}, "o" * 32, "HS256", headers={"kid": "k1"})

    with pytest.raises(Unauthenticated, match=f"(?i){says}"):
        TokenKeys.parse(OLD).verify(token)


def test_a_token_signed_with_another_secret_is_refused():
    token = TokenKeys.parse("k1:" + "x" * 32).sign(ANNA)

    with pytest.raises(Unauthenticated, match="Signature"):
        TokenKeys.parse(OLD).verify(token)


def test_an_unsigned_token_is_refused():
    token = jwt.encode({"sub": "anna"}, None, "none", headers={"kid": "k1"})

    with pytest.raises(Unauthenticated):
        TokenKeys.parse(OLD).verify(token)


def test_a_token_kept_from_before_still_ends(monkeypatch):
    keys = TokenKeys.parse(OLD)
    token = keys.sign(ANNA, ttl_seconds=60)
    assert keys.verify(token) == ANNA
    later = time.time() + 61
    monkeypatch.setattr("chassis.identity.time.time", lambda: later)

    kept = keys._verified[token]

    assert kept[0] <= later, "the kept entry must not outlive the token"


@pytest.mark.parametrize("text", ["", "k1", "k1:short", "k1:" + "a" * 31])
def test_a_weak_or_missing_key_is_refused_by_name(text):
    with pytest.raises(ValueError, match=r"token key"):
        TokenKeys.parse(text)


def test_the_identity_is_bound_to_the_call():
    with pytest.raises(Unauthenticated):
        current_identity()
    with acting_as(ANNA):
        assert current_identity() == ANNA


@pytest.mark.parametrize(
    ("held", "needed", "allowed"),
    [
        (Role.VIEWER, Role.VIEWER, True),
        (Role.VIEWER, Role.OPERATOR, False),
        (Role.OPERATOR, Role.VIEWER, True),
        (Role.OPERATOR, Role.REVIEWER, False),
        (Role.REVIEWER, Role.OPERATOR, False),
        (Role.ADMIN, Role.REVIEWER, True),
    ],
)
def test_roles_include_others(held, needed, allowed):
    with acting_as(Identity("acme", "anna", frozenset({held}))):
        if allowed:
            assert require(needed).principal == "anna"
        else:
            with pytest.raises(PermissionDenied, match=f"role {needed}"):
                require(needed)
