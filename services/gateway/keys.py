"""API keys: `cb_<id>_<secret>`, an id to look up and a secret to prove.

At rest a key is the SHA-256 of its secret. bcrypt or Argon2 are for passwords, whose few bits must be made dear to
guess; a secret of 256 random bits cannot be guessed at any price, and a slow hash costs every request 50 to 100 ms.
"""

import hashlib
import hmac
import secrets
import string
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from chassis.errors import FailedPrecondition, NotFound, Unauthenticated
from chassis.identity import Identity

ID_LENGTH = 12
SECRET_LENGTH = 43
"""Letters and digits: log2(62^43) = 256 bits."""
CACHED_KEYS = 10_000
_ALPHABET = string.ascii_letters + string.digits
_REFUSED = "the API key is not known, has expired, or was revoked"


@dataclass(frozen=True, slots=True)
class Credential:
    """A key as its holder has it."""

    key_id: str
    secret: str

    @classmethod
    def new(cls) -> "Credential":
        """A fresh one, from the system's source of randomness."""
        return cls(_random(ID_LENGTH).lower(), _random(SECRET_LENGTH))

    @classmethod
    def parse(cls, text: str) -> "Credential":
        """Reads "cb_<id>_<secret>". Raises Unauthenticated where it is not of that form."""
        scheme, _, rest = text.partition("_")
        key_id, _, secret = rest.partition("_")
        well_formed = (key_id + secret).isascii() and (key_id + secret).isalnum()
        if scheme != "cb" or len(key_id) != ID_LENGTH or len(secret) != SECRET_LENGTH or not well_formed:
            raise Unauthenticated("an API key has the form cb_<id>_<secret>")
        return cls(key_id, secret)

    @property
    def secret_hash(self) -> bytes:
        """What is stored: SHA-256, 32 bytes."""
        return hashlib.sha256(self.secret.encode()).digest()

    def __str__(self) -> str:
        return f"cb_{self.key_id}_{self.secret}"

    def __repr__(self) -> str:
        return f"Credential({self.key_id})"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as the gateway has it."""

    key_id: str
    secret_hash: bytes
    identity: Identity
    created_at: datetime
    created_by: str
    expires_at: datetime | None = None
    revoked_at: datetime | None = None

    def opened_by(self, credential: Credential, now: datetime) -> bool:
        """Whether the secret fits, and the key has not ended."""
        return hmac.compare_digest(self.secret_hash, credential.secret_hash) and not self.has_ended(now)

    def has_ended(self, now: datetime) -> bool:
        """Whether the key is revoked or expired. A revocation may lie ahead."""
        return any(end is not None and end <= now for end in (self.revoked_at, self.expires_at))


class KeyStore(Protocol):
    """Where keys are kept."""

    async def add(self, key: ApiKey) -> None:
        """Keeps a new key."""

    async def find(self, key_id: str) -> ApiKey | None:
        """The key of that id, whatever its state."""

    async def of_tenant(self, tenant: str) -> Sequence[ApiKey]:
        """The tenant's keys, newest first, at most 500."""

    async def revoke(self, tenant: str, key_id: str, at: datetime) -> bool:
        """Ends a key of the tenant; False where it has none of that id. Of two times the earlier one holds."""

    async def replace(self, key_id: str, new: ApiKey, at: datetime) -> bool:
        """Keeps `new` and ends its tenant's key `key_id`, both or neither; False where none such still works."""


class KeyRing:
    """Turns what a client shows into who it is, and asks the store at most once per key and `trust_seconds`."""

    def __init__(
        self,
        store: KeyStore,
        trust_seconds: float,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._trust_seconds = trust_seconds
        self._clock = clock
        self._monotonic = monotonic
        # An id that is not known is remembered too, so that a client with a dead key doesn't cost a query a request.
        self._known: OrderedDict[str, tuple[float, ApiKey | None]] = OrderedDict()

    async def authenticate(self, credential: Credential) -> ApiKey:
        """The key that the credential opens. Raises Unauthenticated, in the same words whatever was wrong with it."""
        key = await self._find(credential.key_id)
        if key is None or not key.opened_by(credential, self._clock()):
            raise Unauthenticated(_REFUSED)
        return key

    async def create(self, owner: Identity, created_by: str, expires_at: datetime | None) -> tuple[Credential, ApiKey]:
        """A new key that acts as `owner`."""
        credential, key = self._make(owner, created_by, expires_at)
        await self._store.add(key)
        return credential, key

    async def register(self, credential: Credential, owner: Identity, created_by: str) -> ApiKey:
        """The key of a credential that was made elsewhere, added where it is not there yet."""
        known = await self._store.find(credential.key_id)
        if known is not None:
            return known
        key = ApiKey(credential.key_id, credential.secret_hash, owner, self._clock(), created_by)
        await self._store.add(key)
        return key

    async def of_tenant(self, tenant: str) -> Sequence[ApiKey]:
        """The tenant's keys, newest first, at most 500."""
        return await self._store.of_tenant(tenant)

    async def revoke(self, tenant: str, key_id: str, grace: timedelta = timedelta(0)) -> None:
        """Ends a key after `grace`: here to the moment, on other replicas within `trust_seconds`. Raises NotFound."""
        if not await self._store.revoke(tenant, key_id, self._clock() + grace):
            raise NotFound("API key", key_id)
        self._known.pop(key_id, None)

    async def rotate(
        self, tenant: str, key_id: str, rotated_by: str, expires_at: datetime | None, grace: timedelta
    ) -> tuple[Credential, ApiKey]:
        """A new key in place of one that works, which goes on for `grace`. Raises NotFound, FailedPrecondition."""
        old = await self._store.find(key_id)
        if old is None or old.identity.tenant != tenant:
            raise NotFound("API key", key_id)
        credential, new = self._make(old.identity, rotated_by, expires_at)
        if not await self._store.replace(key_id, new, new.created_at + grace):
            raise FailedPrecondition(f"API key {key_id}", "it has ended: create another one")
        self._known.pop(key_id, None)
        return credential, new

    def _make(self, owner: Identity, created_by: str, expires_at: datetime | None) -> tuple[Credential, ApiKey]:
        credential = Credential.new()
        return credential, ApiKey(
            credential.key_id, credential.secret_hash, owner, self._clock(), created_by, expires_at
        )

    async def _find(self, key_id: str) -> ApiKey | None:
        trusted_until, key = self._known.get(key_id, (0.0, None))
        if self._monotonic() < trusted_until:
            return key
        key = await self._store.find(key_id)
        self._known[key_id] = (self._monotonic() + self._trust_seconds, key)
        self._known.move_to_end(key_id)
        if len(self._known) > CACHED_KEYS:
            self._known.popitem(last=False)
        return key


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))
