"""Problem details (RFC 9457): the one place where an error becomes an HTTP answer.

Every answer that is not a success has the same shape, whether the gateway refused the request or a service did: the
services' errors arrive as `CasebookError`s (`chassis.errors`) and are mapped by their class.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import grpc
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from opentelemetry import trace
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from chassis import errors, logs

MEDIA_TYPE = "application/problem+json"
DEFAULT_RETRY_SECONDS = 1.0
SHOWN_CHARACTERS = 100

_log = logs.logger(__name__)


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of problem: `type` is `urn:casebook:problem:<name>`, which a program compares."""

    name: str
    status: int
    title: str


class BodyTooLarge(errors.CasebookError):
    """The request's body is over the limit."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"the body is larger than {limit} bytes; send less in one request", limit=limit)


class UnsupportedMediaType(errors.CasebookError):
    """The body is of another kind than the route reads."""

    def __init__(self, received: str, expected: str = "application/json") -> None:
        super().__init__(f"the body must be {expected} (received {received or 'no Content-Type'})")


class IdempotencyKeyReused(errors.CasebookError):
    """The key came before, with another body."""

    def __init__(self, key: str) -> None:
        super().__init__(f"Idempotency-Key {key!r} came with another body before; a new request needs a new key")


class IdempotencyKeyInUse(errors.CasebookError):
    """The first request with this key has not been answered yet."""

    def __init__(self, key: str) -> None:
        super().__init__(f"the first request with Idempotency-Key {key!r} is still running")
        self.retry_after_seconds = DEFAULT_RETRY_SECONDS


class UpstreamFailed(errors.CasebookError):
    """A service failed in a way that it does not explain to callers."""


INVALID = Kind("invalid-request", 422, "The request breaks a limit")
MALFORMED = Kind("malformed-request", 400, "The request cannot be read")
INTERNAL = Kind("internal", 500, "The gateway failed")

KINDS: Mapping[type[errors.CasebookError], Kind] = {
    errors.InvalidField: INVALID,
    errors.Unauthenticated: Kind("unauthenticated", 401, "A valid API key is needed"),
    errors.PermissionDenied: Kind("permission-denied", 403, "The API key may not do this"),
    errors.NotFound: Kind("not-found", 404, "There is no such thing"),
    errors.Conflict: Kind("conflict", 409, "Another change came first"),
    errors.FailedPrecondition: Kind("failed-precondition", 409, "The thing is not in a state that allows this"),
    IdempotencyKeyInUse: Kind("idempotency-key-in-use", 409, "The first request with this key is still running"),
    BodyTooLarge: Kind("body-too-large", 413, "The request is too large"),
    UnsupportedMediaType: Kind("unsupported-media-type", 415, "The body is of another kind"),
    IdempotencyKeyReused: Kind("idempotency-key-reused", 422, "The key came with another request before"),
    errors.LimitExceeded: Kind("limit-exceeded", 429, "A limit has been reached"),
    UpstreamFailed: Kind("upstream-failed", 502, "A service behind the gateway failed"),
    errors.Unavailable: Kind("unavailable", 503, "A service does not answer now"),
    errors.DeadlineExceeded: Kind("deadline-exceeded", 504, "The time for this request has run out"),
}

DEADLINE_STATUS = KINDS[errors.DeadlineExceeded].status

_WAITING_HELPS = {429, 503}


class Problem(Response):
    """A problem details answer."""

    media_type = MEDIA_TYPE

    def __init__(
        self,
        kind: Kind,
        detail: str,
        instance: str,
        errors: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        document: dict[str, Any] = {
            "type": f"urn:casebook:problem:{kind.name}",
            "title": kind.title,
            "status": kind.status,
            "detail": detail,
            "instance": instance,
            "trace_id": trace_id(),
        }
        if errors:
            document["errors"] = list(errors)
        # ASCII: a lone surrogate that a client sent can be shown back to it, where UTF-8 has no bytes for it.
        super().__init__(json.dumps(document, ensure_ascii=True), kind.status, headers)


def trace_id() -> str:
    """The running trace's id, 32 hexadecimal digits; empty where traces go nowhere."""
    context = trace.get_current_span().get_span_context()
    return f"{context.trace_id:032x}" if context.is_valid else ""


def from_error(error: errors.CasebookError, instance: str) -> Problem:
    """The problem that a `CasebookError` is, with `Retry-After` where waiting helps."""
    kind = KINDS.get(type(error), INTERNAL)
    headers = {}
    if error.retry_after_seconds is not None or kind.status in _WAITING_HELPS:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_seconds or DEFAULT_RETRY_SECONDS)))
    if kind.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Bearer realm="casebook"'
    listed = []
    if isinstance(error, errors.InvalidField):
        listed.append({"field": error.field, "limit": error.metadata.get("why", ""), "message": error.message})
    return Problem(kind, error.message, instance, listed, headers)


def from_rpc(error: grpc.RpcError) -> errors.CasebookError:
    """What a failed gRPC call means for the client.

    A service that refuses the gateway's own token, or fails without a reason of its own, is not the client's fault.
    """
    translated = errors.from_rpc_error(error)
    if type(translated) in KINDS and not isinstance(translated, errors.Unauthenticated):
        return translated
    return UpstreamFailed(translated.message)


def from_validation(error: RequestValidationError, instance: str) -> Problem:
    """The fields that break a limit, each with the limit and what was received."""
    found = error.errors()
    if found and found[0]["type"] == "json_invalid":
        position = found[0]["loc"][-1]
        return Problem(MALFORMED, f"the body is not JSON: {found[0]['ctx']['error']} at {position}", instance)
    listed = [_field_error(entry) for entry in found]
    return Problem(INVALID, "; ".join(entry["message"] for entry in listed[:3]), instance, listed)


def from_http(error: HTTPException, instance: str) -> Problem:
    """What the framework itself refuses: an unknown path, a method that the path does not have, an unreadable body."""
    status = HTTPStatus(error.status_code)
    kind = MALFORMED if status == HTTPStatus.BAD_REQUEST else Kind(_slug(status.phrase), status, status.phrase)
    return Problem(kind, error.detail, instance, headers=error.headers)


def status_of(error: Exception) -> int:
    """The status that the error will be answered with."""
    if isinstance(error, grpc.RpcError):
        error = from_rpc(error)
    if isinstance(error, errors.CasebookError):
        return KINDS.get(type(error), INTERNAL).status
    if isinstance(error, RequestValidationError):
        return from_validation(error, "").status_code
    if isinstance(error, ClientDisconnect):
        return MALFORMED.status
    return error.status_code if isinstance(error, HTTPException) else INTERNAL.status


def install(app: FastAPI) -> None:
    """Maps every error that a route may raise."""

    @app.exception_handler(errors.CasebookError)
    async def casebook_error(request: Request, error: errors.CasebookError) -> Problem:
        return from_error(error, request.url.path)

    @app.exception_handler(grpc.RpcError)
    async def rpc_error(request: Request, error: grpc.RpcError) -> Problem:
        translated = from_rpc(error)
        _log.warning("a service answered with an error", error=translated.message, kind=type(translated).__name__)
        return from_error(translated, request.url.path)

    @app.exception_handler(RequestValidationError)
    async def validation_error(request: Request, error: RequestValidationError) -> Problem:
        return from_validation(error, request.url.path)

    @app.exception_handler(ClientDisconnect)
    async def broken_off(request: Request, _: ClientDisconnect) -> Problem:
        # Most often nobody is there to read it; it is for the access log and the metrics, as no fault of this side.
        return Problem(MALFORMED, "the request ended before its body was whole", request.url.path)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Problem:
        return from_http(error, request.url.path)


def _field_error(entry: Mapping[str, Any]) -> dict[str, str]:
    place, *names = entry["loc"]
    field = ".".join(str(name) for name in names) or str(place)
    limit = ", ".join(f"{name} {value}" for name, value in entry.get("ctx", {}).items() if name != "error")
    received = _shown(entry.get("input"))
    message = f"{field}: {entry['msg']}" + ("" if entry["type"] == "missing" else f" (received {received})")
    return {"field": field, "in": str(place), "limit": limit or entry["msg"], "received": received, "message": message}


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 3]}..."


def _slug(phrase: str) -> str:
    return phrase.lower().replace(" ", "-")
