"""The audit of what administrators and operators ask for: who, what, when, under which trace, with what outcome.

A call is written down before it runs, and one that cannot be written down does not run. Its outcome is a second row,
because nobody here may change a row: where the gateway dies in between, the call stands there without one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from chassis.events import new_event_id
from gateway.keys import ApiKey

TABLES = ("audit_calls", "audit_outcomes")
SHOWN_CHARACTERS = 2000
"""So much of a request's body is kept; those that are audited hold no secrets."""


@dataclass(frozen=True, slots=True)
class AuditCall:
    """What was asked for. `call_id` is a UUIDv7, so that calls sort by their time."""

    call_id: UUID
    tenant: str
    principal: str
    key_id: str
    method: str
    path: str
    request: str
    trace_id: str

    @classmethod
    def of(cls, key: ApiKey, method: str, path: str, body: bytes, trace_id: str) -> "AuditCall":
        """A call that is about to run."""
        return cls(
            call_id=UUID(new_event_id()),
            tenant=key.identity.tenant,
            principal=key.identity.principal,
            key_id=key.key_id,
            method=method,
            path=_storable(path),
            request=_storable(body.decode(errors="replace")),
            trace_id=trace_id,
        )


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """A call, and what came of it: nothing is known where `status` is None."""

    call: AuditCall
    called_at: datetime
    status: int | None
    note: str


class AuditLog(Protocol):
    """Where the record is kept."""

    async def called(self, call: AuditCall) -> None:
        """Writes a call down. Raises Unavailable."""

    async def ended(self, call_id: UUID, status: int, note: str) -> None:
        """Writes down what came of it. Raises Unavailable."""

    async def of_tenant(self, tenant: str, limit: int, before: UUID | None) -> Sequence[AuditRecord]:
        """The tenant's calls, newest first; those before a call, for the next page. Raises Unavailable."""


def _storable(text: str) -> str:
    """PostgreSQL's text holds no NUL."""
    return text[:SHOWN_CHARACTERS].replace("\x00", "\ufffd")
