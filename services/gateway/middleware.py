"""The outermost layer: headers that every answer carries, and an answer for what nobody caught."""

import logging
from collections.abc import Mapping

from opentelemetry import trace
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chassis import logs, telemetry
from gateway import problems

SECURITY_HEADERS: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
STRICT_TRANSPORT_SECURITY = "max-age=31536000; includeSubDomains"

_log = logs.logger(__name__)


class EdgeHeaders:
    """Adds the security headers, the trace's id, and what the edge has put into `request.state.headers`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                _add_headers(MutableHeaders(scope=message), scope)
                if _log.isEnabledFor(logging.DEBUG):
                    _log.debug("a request is answered", path=scope["path"], status=message["status"])
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except Exception as error:
            if started:
                raise
            trace.get_current_span().record_exception(error)
            _log.exception("a request failed on an unexpected error", path=scope["path"])
            detail = "an unexpected error, which has been logged with this trace id; nothing else is known of it here"
            problem = problems.Problem(problems.INTERNAL, detail, scope["path"])
            await problem(scope, receive, send_with_headers)


def _add_headers(headers: MutableHeaders, scope: Scope) -> None:
    for name, value in SECURITY_HEADERS.items():
        headers.setdefault(name, value)
    if scope["scheme"] == "https":
        headers["Strict-Transport-Security"] = STRICT_TRANSPORT_SECURITY
    headers.update(scope.get("state", {}).get("headers", {}))
    if trace_id := problems.trace_id():
        headers["X-Trace-Id"] = trace_id
        headers["Traceparent"] = telemetry.current_traceparent()
