"""API keys and the audit."""

from datetime import datetime
from typing import Annotated

from pydantic import ConfigDict, Field

from chassis.identity import Role
from gateway.schemas.fields import Answer, Id, Request

GraceSeconds = Annotated[int, Field(ge=0, le=30 * 86_400, description="How long the key works yet, in seconds.")]


class NewKey(Request):
    """A key for an application or a person of your own tenant."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"principal": "storefront", "roles": ["viewer"]}]})

    principal: Id = Field(description="Who acts with this key, as it will stand in every record.")
    roles: list[Role] = Field(min_length=1, max_length=len(Role))
    expires_in_days: int | None = Field(None, ge=1, le=3650, description="Without it: never.")


class Rotation(Request):
    """How long the old key goes on beside the new one, and how long the new one lives."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"grace_seconds": 3600}]})

    grace_seconds: GraceSeconds = 86_400
    expires_in_days: int | None = Field(None, ge=1, le=3650, description="Of the new key; without it: never.")


class Key(Answer):
    """An API key without its secret, which only its holder has."""

    key_id: str
    """The part of the key between its two underscores."""
    tenant: str
    principal: str
    roles: list[Role]
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    revoked_at: datetime | None
    """When it was, or will be, revoked."""


class CreatedKey(Key):
    """A new key. The secret is in this answer and nowhere else: it cannot be shown again."""

    key: str


class Keys(Answer):
    """Your tenant's keys, newest first, at most 500."""

    keys: list[Key]


class AuditRecord(Answer):
    """Something that an administrator or operator asked for."""

    call_id: str
    called_at: datetime
    principal: str
    key_id: str
    method: str
    path: str
    request: str
    """The body, at most 2,000 characters of it."""
    status: int | None
    """What it was answered with; null while it runs, and where the gateway died before it had an answer."""
    note: str
    """What came of it, where the request does not say."""
    trace_id: str


class AuditRecords(Answer):
    """Your tenant's record, newest first. `before` asks for the next page with the last `call_id`."""

    records: list[AuditRecord]
