"""`Idempotency-Key`: a request that is sent again is answered again, and done once.

After draft-ietf-httpapi-idempotency-key-header. The first request with a key takes a lease on its record; its answer is
stored and given to whoever sends the same request later. A second one that comes while the first still runs is told to
wait. A request that failed lets go of the lease and keeps its id, so that the next attempt makes the same event ids,
and consumers see one event.
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from fastapi import Request

from chassis.errors import InvalidField
from chassis.events import new_event_id
from chassis.identity import Identity

HEADER = "Idempotency-Key"
REPLAYED_HEADER = "Idempotency-Replayed"
PATTERN = r"^[\x21-\x7e]{1,255}$"
NOISE_BYTES = 10


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request, or several tries at the same one. `id` is a UUIDv7."""

    id: UUID

    @classmethod
    def new(cls) -> "Attempt":
        """A request that nobody will try again under the same key."""
        return cls(UUID(new_event_id()))

    def event_id(self, index: int) -> str:
        """The id of this attempt's `index`-th event: the attempt's time, and noise that follows from its id."""
        digest = hashlib.sha256(self.id.bytes + index.to_bytes(4, "big")).digest()
        noise = int.from_bytes(digest[:NOISE_BYTES], "big")
        milliseconds, rand_a, rand_b = self.id.int >> 80, noise >> 68, noise & (1 << 62) - 1
        return str(UUID(int=milliseconds << 80 | 7 << 76 | rand_a << 64 | 2 << 62 | rand_b))


@dataclass(frozen=True, slots=True)
class RequestKey:
    """What makes two requests the same one, and `fingerprint`, which must then be equal too."""

    tenant: str
    principal: str
    route: str
    key: str
    fingerprint: bytes

    @classmethod
    def of(cls, request: Request, route: str, body: bytes, identity: Identity) -> "RequestKey | None":
        """The request's key; None where it has none. Raises InvalidField."""
        key = request.headers.get(HEADER)
        if key is None:
            return None
        if not re.fullmatch(PATTERN, key):
            raise InvalidField(HEADER, "1 to 255 visible ASCII characters", key)
        fingerprint = hashlib.sha256(f"{request.url.path}?{request.url.query}\n".encode() + body).digest()
        return cls(identity.tenant, identity.principal, f"{request.method} {route}", key, fingerprint)


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """The answer that the first request got."""

    status: int
    media_type: str
    body: bytes


class Records(Protocol):
    """Where keys and answers are kept."""

    async def begin(self, key: RequestKey) -> Attempt | StoredAnswer:
        """Takes the lease, or returns the answer that is there already.

        Raises IdempotencyKeyReused where the fingerprint differs, IdempotencyKeyInUse where another holds the lease.
        """

    async def complete(self, key: RequestKey, answer: StoredAnswer) -> None:
        """Stores the answer."""

    async def release(self, key: RequestKey) -> None:
        """Lets go of the lease without an answer: the request may be tried again at once."""
