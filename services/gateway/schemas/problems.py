"""Problems, and health."""

from typing import Literal

from pydantic import Field

from gateway.schemas.fields import Answer


class FieldError(Answer):
    """A field that breaks its limit."""

    field: str
    limit: str
    message: str
    received: str | None = None


class ProblemDetails(Answer):
    """RFC 9457 problem details."""

    type: str
    """`urn:casebook:problem:<name>`, for programs."""
    title: str
    status: int
    detail: str
    """What was wrong this time, and the way out."""
    instance: str
    """The request's path."""
    trace_id: str
    """The trace to look at, or to name in a report."""
    errors: list[FieldError] = Field([])


class Health(Answer):
    """Whether the process lives, or may be sent work."""

    status: Literal["live", "ready", "not ready"]
    reasons: dict[str, str] = Field({})
