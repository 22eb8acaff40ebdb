"""The gRPC client: a deadline, the caller's identity and its trace on every call; retries for idempotent calls only."""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import grpc
from opentelemetry.trace import SpanKind, Status, StatusCode

from chassis import logs, telemetry, tls
from chassis.errors import DeadlineExceeded
from chassis.identity import Identity, TokenKeys, current_identity_or_none
from chassis.rpc.deadline import remaining_seconds
from chassis.settings import Settings

MAX_ATTEMPTS = 3
RENEWAL_SECONDS = 60.0
"""How often a client looks whether its certificates have been renewed."""

_log = logs.logger(__name__)
_tracer = telemetry.tracer(__name__)
_duration = telemetry.latency_histogram(
    "casebook.rpc.client.duration", "Time from a call to its answer, retries included"
)


def connect(
    address: str, settings: Settings, idempotent: Sequence[str] = (), service_identity: Identity | None = None
) -> grpc.aio.Channel:
    """A channel to `address` ("host:port"), which spreads its calls over all addresses that the name resolves to.

    It uses TLS where the settings name an authority (`tls_ca_file`), and then makes unary calls only.

    `idempotent` names the methods ("package.Service/Method") that are tried again when a server is not available; any
    other call is sent once. A call made outside of any request acts under `service_identity`.
    """
    keys = TokenKeys.parse(settings.token_keys.get_secret_value())
    target = address if "://" in address or address.startswith("unix:") else f"dns:///{address}"
    options = [
        ("grpc.service_config", json.dumps(_service_config(idempotent))),
        ("grpc.enable_retries", 1),
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", settings.max_message_bytes),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 5_000),
        ("grpc.keepalive_permit_without_calls", 1),
        # A name is looked up anew when a connection ends, but by gRPC's default at most every 30 s: a replica that
        # takes the place of the only other one would be found that much too late.
        ("grpc.dns_min_time_between_resolutions_ms", 1_000),
        # The channel's own back-off between attempts to connect.
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.min_reconnect_backoff_ms", 200),
        ("grpc.max_reconnect_backoff_ms", 5_000),
    ]
    interceptors = [CallInterceptor(keys, settings.default_deadline_seconds, service_identity)]
    if not settings.tls_ca_file:
        return grpc.aio.insecure_channel(target, options, interceptors=interceptors)
    if settings.tls_server_name:
        options.append(("grpc.ssl_target_name_override", settings.tls_server_name))

    def secured(pem: tls.Pem) -> grpc.aio.Channel:
        return grpc.aio.secure_channel(target, tls.channel_credentials(pem), options, interceptors=interceptors)

    return RenewedChannel(secured, lambda: tls.client_pem(settings))


class RenewedChannel:
    """A channel that is opened anew when the files of its certificates have changed, for unary calls.

    gRPC's Python reads a client's certificates once, when the channel is made: a process that runs for longer than they
    are valid would be refused at its next connection.
    """

    def __init__(self, secured: Callable[[tls.Pem], grpc.aio.Channel], read: Callable[[], tls.Pem]) -> None:
        self._secured = secured
        self._read = read
        self._pem = read()
        self._channel = secured(self._pem)
        self._look_at = time.monotonic() + RENEWAL_SECONDS
        self._closing: set[asyncio.Task[None]] = set()

    def unary_unary(self, *arguments: Any, **options: Any) -> Callable[..., Any]:
        """A method, called over whichever channel is the present one."""
        channel = self._channel
        method = channel.unary_unary(*arguments, **options)

        def call(*request: Any, **call_options: Any) -> Any:
            nonlocal channel, method
            self._renew_when_due()
            if channel is not self._channel:
                channel = self._channel
                method = channel.unary_unary(*arguments, **options)
            return method(*request, **call_options)

        return call

    async def close(self, grace: float | None = None) -> None:
        """Ends the channel, and those before it."""
        await asyncio.gather(self._channel.close(grace), *self._closing)

    async def __aenter__(self) -> "RenewedChannel":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _renew_when_due(self) -> None:
        if time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + RENEWAL_SECONDS
        try:
            pem = self._read()
        except OSError as error:
            _log.error("the client's certificates cannot be read again: those before stay", why=str(error))
            return
        if pem == self._pem:
            return
        _log.info("the client's certificates have been renewed")
        # The calls in flight end on the channel that they began on.
        old = asyncio.get_running_loop().create_task(self._channel.close(RENEWAL_SECONDS))
        self._closing.add(old)
        old.add_done_callback(self._closing.discard)
        self._pem, self._channel = pem, self._secured(pem)


def _service_config(idempotent: Sequence[str]) -> dict[str, Any]:
    names = [{"service": service, "method": method} for service, method in (name.split("/") for name in idempotent)]
    retry = {
        "maxAttempts": MAX_ATTEMPTS,
        "initialBackoff": "0.05s",
        "maxBackoff": "1s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    config: dict[str, Any] = {
        "loadBalancingConfig": [{"round_robin": {}}],
        # Retries stop when more than a few calls fail, so that they never add to an overload (gRFC A6).
        "retryThrottling": {"maxTokens": 20, "tokenRatio": 0.2},
    }
    if names:
        config["methodConfig"] = [{"name": names, "retryPolicy": retry}]
    return config


class CallInterceptor(grpc.aio.UnaryUnaryClientInterceptor):
    """Adds the token, the trace and the deadline to a call, and measures it."""

    def __init__(self, keys: TokenKeys, default_deadline_seconds: float, service_identity: Identity | None) -> None:
        self._keys = keys
        self._default_deadline = default_deadline_seconds
        self._service_identity = service_identity

    async def intercept_unary_unary(
        self,
        continuation: Callable[[grpc.aio.ClientCallDetails, Any], Any],
        client_call_details: grpc.aio.ClientCallDetails,
        request: Any,
    ) -> Any:
        """The call with all that it needs. Raises DeadlineExceeded, before anything is sent, when no time is left."""
        path = client_call_details.method
        path = path.decode() if isinstance(path, bytes) else path
        service, _, method = path.lstrip("/").partition("/")
        timeout = min(
            self._default_deadline if client_call_details.timeout is None else client_call_details.timeout,
            remaining_seconds(self._default_deadline),
        )
        if timeout <= 0:
            raise DeadlineExceeded(f"{service}/{method}")
        started = time.perf_counter()
        code = grpc.StatusCode.OK
        with _tracer.start_as_current_span(
            f"{service}/{method}", kind=SpanKind.CLIENT, record_exception=False, set_status_on_exception=False
        ) as span:
            details = grpc.aio.ClientCallDetails(
                client_call_details.method,
                timeout,
                self._metadata(client_call_details.metadata),
                client_call_details.credentials,
                client_call_details.wait_for_ready,
            )
            try:
                call = await continuation(details, request)
                await call
            except grpc.aio.AioRpcError as error:
                code = error.code()
                span.set_status(Status(StatusCode.ERROR, error.details() or code.name))
                raise
            else:
                return call
            finally:
                _duration.record(
                    time.perf_counter() - started, {"rpc_service": service, "method": method, "code": code.name}
                )

    def _metadata(self, given: grpc.aio.Metadata | None) -> grpc.aio.Metadata:
        metadata = grpc.aio.Metadata(*(given or ()))
        identity = current_identity_or_none() or self._service_identity
        if identity is not None:
            metadata.add("authorization", f"Bearer {self._keys.sign(identity)}")
        traceparent = telemetry.current_traceparent()
        if traceparent:
            metadata.add("traceparent", traceparent)
        return metadata
