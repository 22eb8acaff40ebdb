"""What every request to the API passes before its route sees it: deadline, key, rate limit, size, idempotency key."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from fastapi import Request, Response
from fastapi.routing import APIRoute
from fastapi.security.utils import get_authorization_scheme_param
from starlette.types import Message, Receive

from chassis import logs
from chassis.errors import DeadlineExceeded, InvalidField, LimitExceeded, Unauthenticated, Unavailable
from chassis.identity import acting_as, current_identity
from chassis.rpc.deadline import deadline
from gateway import dependencies, idempotency, problems
from gateway.audit import AuditCall, AuditLog
from gateway.idempotency import Attempt, RequestKey, StoredAnswer
from gateway.keys import ApiKey, Credential
from gateway.problems import BodyTooLarge, UnsupportedMediaType
from gateway.settings import GatewaySettings

TIMEOUT_HEADER = "X-Request-Timeout-Ms"
READING = frozenset({"GET", "HEAD"})
Handler = Callable[[Request], Coroutine[Any, Any, Response]]

_log = logs.logger(__name__)


class EdgeRoute(APIRoute):
    """A route of the API. Who is not let in costs no more than a look-up: the body is read after key and rate limit."""

    def get_route_handler(self) -> Handler:
        """The route's own handler with the edge around it."""
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            return await self.guard(request, handle)

        return guarded

    async def guard(self, request: Request, handle: Handler) -> Response:
        """Runs the route for who is let in."""
        settings = dependencies.of(request).settings
        seconds = _seconds_given(request, settings, settings.default_deadline_seconds)
        async with within(seconds, f"{request.method} {self.path_format}"):
            key = await _admit(request)
            body = await _read_body(request)
            with acting_as(key.identity):
                return await self.answer(Request(request.scope, _replaying(body)), body, handle)

    async def answer(self, request: Request, body: bytes, handle: Handler) -> Response:
        """Runs the route."""
        request.state.attempt = Attempt.new()
        return await handle(request)


class IdempotentRoute(EdgeRoute):
    """A route whose effect happens once for each `Idempotency-Key`."""

    async def answer(self, request: Request, body: bytes, handle: Handler) -> Response:
        """Runs the route, or repeats the answer that it gave."""
        key = RequestKey.of(request, self.path_format, body, current_identity())
        if key is None:
            return await super().answer(request, body, handle)
        records = dependencies.of(request).records
        begun = await _begin(records, key)
        if isinstance(begun, StoredAnswer):
            replayed = {idempotency.REPLAYED_HEADER: "true"}
            return Response(begun.body, begun.status, replayed, begun.media_type)
        request.state.attempt = begun
        try:
            response = await handle(request)
        except BaseException:  # an error, or the deadline's cancellation
            await _release(records, key)
            raise
        await _complete(records, key, response)
        return response


class AuditedRoute(EdgeRoute):
    """A route whose changes, and attempts at them, are written down."""

    async def answer(self, request: Request, body: bytes, handle: Handler) -> Response:
        """Runs the route between the two rows of its record."""
        return await _audited(request, body, handle, super().answer)


class AuditedIdempotentRoute(IdempotentRoute):
    """The same for a route that takes an `Idempotency-Key`; an answer that is repeated is written down as well."""

    async def answer(self, request: Request, body: bytes, handle: Handler) -> Response:
        """Runs the route between the two rows of its record."""
        return await _audited(request, body, handle, super().answer)


class AuditedLinesRoute(EdgeRoute):
    """A route that reads or writes a file a line at a time (lines.py); its changes are written down, without the file.

    The client's time is for each part of the file, `request.state.seconds`: a file may take longer than any request.
    """

    async def guard(self, request: Request, handle: Handler) -> Response:
        """Runs the route for who is let in; the body is the route's to read."""
        settings = dependencies.of(request).settings
        request.state.seconds = _seconds_given(request, settings, settings.max_deadline_seconds)
        async with within(request.state.seconds, f"{request.method} {self.path_format}"):
            key = await _admit(request)
        with acting_as(key.identity):
            return await _audited(request, b"", handle, self.answer)


@asynccontextmanager
async def within(seconds: float, what: str) -> AsyncIterator[None]:
    """What runs inside has so much time, and the calls that it makes what is left of it. Raises DeadlineExceeded."""
    try:
        async with asyncio.timeout(seconds):
            with deadline(seconds):
                yield
    except TimeoutError:
        raise DeadlineExceeded(f"{what} within {seconds:g} s") from None


async def _audited(
    request: Request,
    body: bytes,
    handle: Handler,
    answer: Callable[[Request, bytes, Handler], Coroutine[Any, Any, Response]],
) -> Response:
    if request.method in READING:
        return await answer(request, body, handle)
    audit_log = dependencies.of(request).audit
    call = AuditCall.of(request.state.api_key, request.method, request.url.path, body, problems.trace_id())
    await audit_log.called(call)
    status = problems.DEADLINE_STATUS  # what a request that is cancelled is answered with
    try:
        response = await answer(request, body, handle)
        status = response.status_code
    except Exception as error:
        status = problems.status_of(error)
        raise
    else:
        return response
    finally:
        note = getattr(request.state, "audit_note", "")
        # Shielded: the deadline that ends the request must not end the record of it.
        await asyncio.shield(_record_outcome(audit_log, call.call_id, status, note))


async def _record_outcome(audit_log: AuditLog, call_id: UUID, status: int, note: str) -> None:
    try:
        await audit_log.ended(call_id, status, note)
    except Unavailable as error:
        _log.error("an outcome was not recorded", call_id=str(call_id), status=status, reason=error.message)


async def _admit(request: Request) -> ApiKey:
    """Whose key it is, once there is room for its request."""
    key = await _authenticate(request)
    request.state.api_key = key
    await _limit_rate(request, key)
    return key


async def _authenticate(request: Request) -> ApiKey:
    scheme, text = get_authorization_scheme_param(request.headers.get("Authorization"))
    if scheme.lower() != "bearer" or not text:
        raise Unauthenticated("send an API key: `Authorization: Bearer cb_...`")
    return await dependencies.of(request).keys.authenticate(Credential.parse(text))


async def _limit_rate(request: Request, key: ApiKey) -> None:
    limiter = dependencies.of(request).rate_limiter
    decision = await limiter.take(key.key_id)
    if decision is None:
        return
    request.state.headers = {"RateLimit-Policy": limiter.quota.policy, "RateLimit": decision.header}
    if not decision.allowed:
        quota = limiter.quota
        limit = f"{quota.per_second:g} requests a second, {quota.burst} at once"
        raise LimitExceeded(f"API key {key.key_id}", limit, decision.retry_after_seconds)


async def _read_body(request: Request) -> bytes:
    """The whole body. One that is over the limit is not read to its end, whether it said its length or not."""
    limit = dependencies.of(request).settings.max_body_bytes
    announced = request.headers.get("Content-Length", "")
    if announced.isdigit() and int(announced) > limit:
        raise BodyTooLarge(limit)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise BodyTooLarge(limit)
    content_type = request.headers.get("Content-Type", "")
    if body and content_type.partition(";")[0].strip().lower() != "application/json":
        raise UnsupportedMediaType(content_type)
    return bytes(body)


def _replaying(body: bytes) -> Receive:
    """An ASGI `receive` that gives a body which has been read already."""

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


def _seconds_given(request: Request, settings: GatewaySettings, default: float) -> float:
    text = request.headers.get(TIMEOUT_HEADER)
    if text is None:
        return min(default, settings.max_deadline_seconds)
    longest = int(settings.max_deadline_seconds * 1000)
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= longest):
        raise InvalidField(TIMEOUT_HEADER, f"a whole number from 1 to {longest}", text)
    return int(text) / 1000


async def _begin(records: idempotency.Records, key: RequestKey) -> Attempt | StoredAnswer:
    taking = asyncio.ensure_future(records.begin(key))
    try:
        return await asyncio.shield(taking)
    except asyncio.CancelledError:
        # The deadline came while the lease was being taken. Whoever tries again would find it taken, by nobody.
        # PostgreSQL answers, or gives up, within its own time limits.
        await asyncio.wait({taking})
        if taking.exception() is None and isinstance(taking.result(), Attempt):
            await _release(records, key)
        raise


async def _release(records: idempotency.Records, key: RequestKey) -> None:
    try:
        await records.release(key)
    except Unavailable as error:
        _log.warning("an idempotency key stays taken until its lease ends", reason=error.message)


async def _complete(records: idempotency.Records, key: RequestKey, response: Response) -> None:
    try:
        await records.complete(key, StoredAnswer(response.status_code, response.media_type or "", bytes(response.body)))
    except Unavailable as error:
        # What was asked for has been done, so the client hears of its success. Sent again, the request runs once more
        # after the lease, under the same ids.
        _log.warning("an answer was not stored under its idempotency key", reason=error.message)
