"""The gRPC server: identity, deadline, span, metrics and error mapping for every call, in one interceptor."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from grpc_status import rpc_status
from opentelemetry import trace
from opentelemetry.trace import SpanKind, Status, StatusCode
from prometheus_client import Gauge, Histogram

from chassis import logs, telemetry, tls
from chassis.errors import CasebookError, DeadlineExceeded, Unauthenticated, Unavailable, to_status
from chassis.identity import TokenKeys, acting_as
from chassis.rpc.deadline import deadline
from chassis.settings import Settings

OPEN_SERVICES = (
    "grpc.health.v1.Health",
    "grpc.reflection.v1alpha.ServerReflection",
    "grpc.reflection.v1.ServerReflection",
)
"""Probes and tools ask these without an identity."""

OUR_FAULTS = frozenset(
    {
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.DATA_LOSS,
    }
)
"""As in infra/prometheus/rules/slo.yaml."""

Handler = Callable[[Any, grpc.aio.ServicerContext], Awaitable[Any]]

_log = logs.logger(__name__)
_tracer = telemetry.tracer(__name__)
# Straight in the registry behind /metrics, their labels bound once a method: an OpenTelemetry instrument hashes its
# attributes at every record, and a call makes three.
_METHOD = ("rpc_service", "method")  # "service" is the label that Prometheus gives to the whole process
_duration = Histogram(
    "casebook_rpc_server_duration_seconds",
    "Time from a call's start to its status",
    (*_METHOD, "code"),
    buckets=telemetry.LATENCY_BUCKETS,
)
_in_flight = Gauge("casebook_rpc_server_in_flight", "Calls now", _METHOD)


def create_server(
    settings: Settings, keys: TokenKeys, has_started: Callable[[], bool] = lambda: True
) -> grpc.aio.Server:
    """A server that is not bound or started yet; its servicers raise `CasebookError`s and read `current_identity()`.

    Before `has_started` is true, open services alone answer; other calls are UNAVAILABLE.
    """
    return grpc.aio.server(
        interceptors=[CallInterceptor(keys, settings.default_deadline_seconds, has_started)],
        maximum_concurrent_rpcs=settings.max_concurrent_rpcs,
        options=[
            ("grpc.max_receive_message_length", settings.max_message_bytes),
            ("grpc.max_send_message_length", settings.max_message_bytes),
            # A port that another process holds is an error, not a second listener beside it.
            ("grpc.so_reuseport", 0),
            # Clients ping every 30 s on an idle channel (chassis.rpc.client); more often is abuse.
            ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
            ("grpc.keepalive_permit_without_calls", 1),
            # Channels are renewed now and then, so that new replicas get their share of long-lived clients.
            ("grpc.max_connection_age_ms", int(settings.connection_age_seconds * 1000)),
            ("grpc.max_connection_age_grace_ms", 30_000),
        ],
    )


def listen(server: grpc.aio.Server, settings: Settings) -> int:
    """Binds the server to `grpc_listen`, over TLS where the settings name a certificate; returns the port."""
    credentials = tls.server_credentials(settings)
    port: int = (
        server.add_insecure_port(settings.grpc_listen)
        if credentials is None
        else server.add_secure_port(settings.grpc_listen, credentials)
    )
    return port


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wraps each method once; a call then costs one dictionary look-up here and the wrapper itself."""

    def __init__(self, keys: TokenKeys, default_deadline_seconds: float, has_started: Callable[[], bool]) -> None:
        self._keys = keys
        self._default_deadline = default_deadline_seconds
        self._has_started = has_started
        self._wrapped: dict[str, grpc.RpcMethodHandler] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler:
        """The method's handler with everything around it; streams and open services pass as they are."""
        path = handler_call_details.method
        wrapped = self._wrapped.get(path)
        if wrapped is not None:
            return wrapped
        handler = await continuation(handler_call_details)
        service, _, method = path.lstrip("/").partition("/")
        if handler is None or handler.unary_unary is None or service in OPEN_SERVICES:
            return handler
        wrapped = grpc.unary_unary_rpc_method_handler(
            self._around(handler.unary_unary, service, method),
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )
        self._wrapped[path] = wrapped
        return wrapped

    def _around(self, handler: Handler, service: str, method: str) -> Handler:
        durations: dict[grpc.StatusCode, Histogram] = {}
        running = _in_flight.labels(service, method)
        span_name = f"{service}/{method}"

        async def call(request: Any, context: grpc.aio.ServicerContext) -> Any:
            started = time.perf_counter()
            running.inc()
            code = grpc.StatusCode.OK
            metadata = dict(context.invocation_metadata() or ())
            parent = telemetry.context_from(metadata)
            with _tracer.start_as_current_span(
                span_name, parent, SpanKind.SERVER, record_exception=False, set_status_on_exception=False
            ) as span:
                try:
                    return await self._run(handler, request, context, metadata)
                except CasebookError as error:
                    code = error.code
                    span.set_status(Status(StatusCode.ERROR, error.message))
                    await context.abort_with_status(rpc_status.to_status(to_status(error)))
                except asyncio.CancelledError:
                    code = grpc.StatusCode.CANCELLED
                    raise
                except grpc.aio.AbortError:
                    code = context.code() or grpc.StatusCode.UNKNOWN
                    raise
                except Exception as error:  # noqa: BLE001 - the last line of defence; the caller gets no internals
                    code = grpc.StatusCode.INTERNAL
                    span.record_exception(error)
                    span.set_status(Status(StatusCode.ERROR, "unhandled"))
                    _log.exception("a call failed on an unexpected error", method=span_name)
                    await context.abort(code, f"{span_name} failed on an unexpected error; trace {_trace_id(span)}")
                finally:
                    running.dec()
                    if code not in durations:
                        durations[code] = _duration.labels(service, method, code.name)
                    seconds = time.perf_counter() - started
                    durations[code].observe(seconds, _exemplar(span))
                    span.set_attribute("rpc.grpc.status_code", code.value[0])
                    _log_end(span_name, code, seconds)

        return call

    async def _run(
        self, handler: Handler, request: Any, context: grpc.aio.ServicerContext, metadata: dict[str, str]
    ) -> Any:
        scheme, _, token = metadata.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated("the call carries no bearer token in its metadata")
        identity = self._keys.verify(token)
        if not self._has_started():
            raise Unavailable("this replica", "it is starting", retry_after_seconds=1.0)
        given = context.time_remaining()
        if given is not None:
            # gRPC itself cancels the handler when a deadline that came with the call has passed.
            with acting_as(identity), deadline(given):
                return await handler(request, context)
        try:
            async with asyncio.timeout(self._default_deadline):
                with acting_as(identity), deadline(self._default_deadline):
                    return await handler(request, context)
        except TimeoutError:
            raise DeadlineExceeded(f"a call without a deadline gets {self._default_deadline} s") from None


def _log_end(method: str, code: grpc.StatusCode, seconds: float) -> None:
    """The line that a trace's id finds; a call that went well is logged at DEBUG alone."""
    if code in OUR_FAULTS:
        _log.warning("a call failed", method=method, code=code.name, milliseconds=round(seconds * 1000, 1))
    elif _log.isEnabledFor(logging.DEBUG):
        _log.debug("a call ended", method=method, code=code.name, milliseconds=round(seconds * 1000, 1))


def _exemplar(span: trace.Span) -> dict[str, str] | None:
    """Leads from the metric to the trace; None where that is not recorded."""
    return {"trace_id": _trace_id(span)} if span.get_span_context().trace_flags.sampled else None


def _trace_id(span: trace.Span) -> str:
    return f"{span.get_span_context().trace_id:032x}"
