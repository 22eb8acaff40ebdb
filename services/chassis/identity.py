"""Who is asking: a tenant, a principal and its roles, in a short-lived signed token between services.

The gateway turns an API key into an `Identity`; from there on it travels in gRPC metadata as a JSON Web Token
(RFC 7519, HS256) that every service verifies. Several keys may verify at a time, so keys rotate without a stop: add
the new one behind the old, then swap them, then drop the old.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import StrEnum

import jwt

from chassis.errors import PermissionDenied, Unauthenticated

ISSUER = "casebook"
ALGORITHM = "HS256"
MINIMUM_SECRET_BYTES = 32
SYSTEM_TENANT = "system"
"""The tenant of work that is nobody's: loading models, building an index."""


class Role(StrEnum):
    """What a principal may do. Operator includes viewer; admin includes all."""

    VIEWER = "viewer"
    REVIEWER = "reviewer"
    OPERATOR = "operator"
    ADMIN = "admin"


_INCLUDED = {
    Role.VIEWER: frozenset({Role.VIEWER}),
    Role.REVIEWER: frozenset({Role.REVIEWER, Role.VIEWER}),
    Role.OPERATOR: frozenset({Role.OPERATOR, Role.VIEWER}),
    Role.ADMIN: frozenset(Role),
}


@dataclass(frozen=True, slots=True)
class Identity:
    """Who is asking, and for which tenant. Every row, object path and event carries the tenant."""

    tenant: str
    principal: str
    roles: frozenset[Role] = field(default_factory=frozenset)

    def may(self, role: Role) -> bool:
        """Whether one of the identity's roles is or includes `role`."""
        return any(role in _INCLUDED[held] for held in self.roles)


def service_identity(service: str, tenant: str = SYSTEM_TENANT) -> Identity:
    """The identity that a service acts under when no caller stands behind what it does."""
    return Identity(tenant, f"service:{service}", frozenset({Role.OPERATOR}))


class TokenKeys:
    """The keys that sign and verify tokens between services."""

    def __init__(self, keys: dict[str, str]) -> None:
        self._keys = keys
        self._signing_id = next(iter(keys))
        self._verified: dict[str, tuple[float, Identity]] = {}
        self._signed: dict[Identity, tuple[float, str]] = {}

    @classmethod
    def parse(cls, text: str) -> "TokenKeys":
        """Reads "id:secret[,id:secret]"; a secret has at least 32 bytes (RFC 7518, section 3.2).

        Raises ValueError, which names the key and never its secret.
        """
        keys: dict[str, str] = {}
        for entry in filter(None, text.split(",")):
            key_id, _, secret = entry.strip().partition(":")
            if len(secret.encode()) < MINIMUM_SECRET_BYTES:
                raise ValueError(f"token key {key_id!r}: the secret needs at least {MINIMUM_SECRET_BYTES} bytes")
            keys[key_id] = secret
        if not keys:
            raise ValueError("no token key: set CASEBOOK_TOKEN_KEYS to id:secret")
        return cls(keys)

    def sign(self, identity: Identity, ttl_seconds: float = 300.0) -> str:
        """A token for `identity`; the same one is handed out until half its life is over (signing costs 20 µs)."""
        now = time.time()
        kept = self._signed.get(identity)
        if kept and kept[0] > now:
            return kept[1]
        claims = {
            "iss": ISSUER,
            "sub": identity.principal,
            "tenant": identity.tenant,
            "roles": sorted(identity.roles),
            "iat": int(now),
            "exp": now + ttl_seconds,
        }
        token = jwt.encode(claims, self._keys[self._signing_id], ALGORITHM, headers={"kid": self._signing_id})
        _bound(self._signed)
        self._signed[identity] = (now + ttl_seconds / 2, token)
        return token

    def verify(self, token: str) -> Identity:
        """The identity in the token; a token that was good a moment ago is not computed again until it ends.

        Raises Unauthenticated with the reason.
        """
        kept = self._verified.get(token)
        if kept and kept[0] > time.time():
            return kept[1]
        try:
            key_id = jwt.get_unverified_header(token).get("kid", "")
            if key_id not in self._keys:
                raise Unauthenticated(f"the token is signed with key {key_id!r}, which is not known here")
            claims = jwt.decode(
                token,
                self._keys[key_id],
                algorithms=[ALGORITHM],
                issuer=ISSUER,
                options={"require": ["exp", "sub", "tenant", "roles"]},
            )
            roles = frozenset(Role(role) for role in claims["roles"])
        except (jwt.InvalidTokenError, ValueError) as error:
            raise Unauthenticated(str(error)) from error
        identity = Identity(claims["tenant"], claims["sub"], roles)
        _bound(self._verified)
        self._verified[token] = (float(claims["exp"]), identity)
        return identity


_current: ContextVar[Identity | None] = ContextVar("identity", default=None)


def current_identity() -> Identity:
    """The identity that the running call or event acts under. Raises Unauthenticated outside of one."""
    identity = _current.get()
    if identity is None:
        raise Unauthenticated("this runs outside of any call")
    return identity


def current_identity_or_none() -> Identity | None:
    """The same, None outside of a call."""
    return _current.get()


@contextmanager
def acting_as(identity: Identity) -> Iterator[Identity]:
    """What runs inside acts under `identity`, the calls that it makes included."""
    token = _current.set(identity)
    try:
        yield identity
    finally:
        _current.reset(token)


def require(role: Role) -> Identity:
    """The current identity, which must hold `role`. Raises PermissionDenied, naming the role."""
    identity = current_identity()
    if not identity.may(role):
        held = ", ".join(sorted(identity.roles)) or "none"
        raise PermissionDenied(f"the role {role.value}", f"{identity.principal} holds {held}")
    return identity


def _bound(cache: dict[str, tuple[float, Identity]] | dict[Identity, tuple[float, str]], size: int = 4096) -> None:
    if len(cache) >= size:
        cache.clear()
