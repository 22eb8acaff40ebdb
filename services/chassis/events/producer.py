"""Publishing: over when the broker has acknowledged, or refused in words that the caller can act on."""

import asyncio
import math
import threading
import time as clock
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from google.protobuf.message import Message
from kafka import KafkaProducer
from kafka.errors import BrokerResponseError, KafkaError

from chassis import logs, telemetry
from chassis.errors import LimitExceeded, Unavailable
from chassis.events import tracing
from chassis.events.connection import client_options
from chassis.events.envelope import Envelope, Headers, new_event_id
from chassis.events.outages import PAUSE_SECONDS, Outages
from chassis.events.pending import SLACK_SECONDS, Pending
from chassis.settings import Settings

_log = logs.logger(__name__)

MAX_IN_FLIGHT = 2000
"""Events that await their acknowledgement; one more is refused at once (kafka-python's own buffer has no bound)."""
MAX_EVENT_BYTES = 1_000_000
"""What one event may take with key and headers. Kafka's own default is 1 MiB a batch."""
MAX_REQUEST_BYTES = 1024 * 1024
"""The rest is for the `dlq_` headers of a dead letter."""


class EventProducer:
    """Publishes typed events. Safe to share between threads and tasks; one a process is enough.

    It connects when first used, so that a service starts while Kafka is away and says so through its readiness. Where a
    topic could not be written to a moment ago, events are refused at once, but for one a second that goes as a probe.
    """

    def __init__(self, settings: Settings, source: str) -> None:
        self._settings = settings
        self._source = source
        self._deadline = settings.default_deadline_seconds
        self._in_flight = threading.BoundedSemaphore(MAX_IN_FLIGHT)
        self._connecting = threading.Lock()
        self._kafka: KafkaProducer | None = None
        self._unreachable_at = -math.inf
        self._outages = Outages(probe_seconds=self._deadline + SLACK_SECONDS)
        # kafka-python's send() blocks while it asks for a topic's partitions: never on the event loop.
        self._threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="kafka-publish")

    async def publish(
        self,
        topic: str,
        key: str,
        message: Message,
        tenant: str,
        *,
        event_id: str | None = None,
        time: datetime | None = None,
    ) -> None:
        """Publishes and returns once the broker has acknowledged with all in-sync replicas.

        `key` decides the partition, and so what keeps its order. Raises Unavailable where there is no acknowledgement
        within the deadline (the event may yet have been written: publish again under the same `event_id`, which
        consumers deduplicate by), LimitExceeded where the event is larger than `MAX_EVENT_BYTES`.
        """
        envelope = self.envelope(message, tenant, event_id, time)
        loop = asyncio.get_running_loop()
        pending = await loop.run_in_executor(
            self._threads, self.begin, topic, key, message.SerializeToString(), envelope
        )
        # Shielded: a caller that gives up must not settle what the acknowledgement will settle.
        await asyncio.shield(asyncio.wrap_future(pending.outcome))

    def publish_blocking(
        self,
        topic: str,
        key: str,
        message: Message,
        tenant: str,
        *,
        event_id: str | None = None,
        time: datetime | None = None,
    ) -> None:
        """The same for a thread."""
        envelope = self.envelope(message, tenant, event_id, time)
        self.begin(topic, key, message.SerializeToString(), envelope).wait()

    def envelope(
        self, message: Message, tenant: str, event_id: str | None = None, time: datetime | None = None
    ) -> Envelope:
        """The envelope of an event that is published now, in the running trace."""
        return Envelope(
            id=event_id or new_event_id(),
            type=message.DESCRIPTOR.full_name,
            source=self._source,
            tenant=tenant,
            time=time or datetime.now(UTC),
            traceparent=telemetry.current_traceparent(),
        )

    def begin(self, topic: str, key: str, payload: bytes, envelope: Envelope) -> Pending:
        """Hands an event over and returns before it is acknowledged, for who publishes many (the outbox's relay).

        The span of publishing is a child of `envelope.traceparent`. Blocks while a topic's partitions are asked for.
        """
        span = tracing.start_send_span(topic, key, envelope)
        headers = replace(envelope, traceparent=tracing.traceparent_of(span) or envelope.traceparent).to_headers()
        pending = Pending(topic, self._deadline, span)
        size = event_bytes(key, payload, headers)
        if size > MAX_EVENT_BYTES:
            pending.fail(LimitExceeded(f"an event of {size} bytes for {topic}", f"{MAX_EVENT_BYTES} bytes"))
        else:
            self._send(topic, key.encode(), payload, headers, pending)
        return pending

    def forward(self, topic: str, key: bytes | None, value: bytes | None, headers: Headers) -> None:
        """Writes a record as it is, with its own headers: to a dead-letter topic, and back. Raises Unavailable."""
        pending = Pending(topic, self._deadline)
        if key is None and value is None:
            value = b""  # Kafka takes a record without either; kafka-python does not write it
        self._send(topic, key, value, headers, pending)
        pending.wait()

    def close(self) -> None:
        """Waits for what is in flight, which is acknowledged or fails within the deadline, then lets go."""
        with self._connecting:
            kafka, self._kafka = self._kafka, None
        self._threads.shutdown(wait=False, cancel_futures=True)
        if kafka is not None:
            try:
                kafka.close(timeout=self._deadline + 1)
            except KafkaError as error:
                _log.warning("not every event was acknowledged at the close", why=str(error))

    def _send(self, topic: str, key: bytes | None, value: bytes | None, headers: Headers, pending: Pending) -> None:
        if not self._in_flight.acquire(blocking=False):
            why = f"{MAX_IN_FLIGHT} events await their acknowledgement"
            pending.fail(Unavailable("kafka", why, retry_after_seconds=1.0))
            return
        pending.outcome.add_done_callback(lambda _outcome: self._in_flight.release())
        try:
            entered = self._outages.enter(topic)
        except Unavailable as error:
            pending.fail(error)
            return

        def acknowledged(metadata: Any) -> None:
            self._outages.succeeded(topic)
            pending.succeed(metadata)

        def failed(error: Exception) -> None:
            # A broker that answers is not away, whatever it says.
            if not isinstance(error, BrokerResponseError):
                self._outages.failed(topic, entered)
            pending.fail(error)

        try:
            record = self._connected(entered).send(topic, value, key=key, headers=headers)
        except (KafkaError, Unavailable) as error:
            failed(error)
        else:
            record.add_callback(acknowledged)
            record.add_errback(failed)

    def _connected(self, entered: float) -> KafkaProducer:
        with self._connecting:
            if self._kafka is None:
                if self._unreachable_at > entered:  # whoever connected while this one waited for the lock has failed
                    raise Unavailable("kafka", "no broker answers", retry_after_seconds=PAUSE_SECONDS)
                self._kafka = self._connect()
            return self._kafka

    def _connect(self) -> KafkaProducer:
        milliseconds = int(self._deadline * 1000)
        try:
            return KafkaProducer(
                **client_options(self._settings, self._source) | {"bootstrap_timeout_ms": milliseconds},
                metrics_enabled=False,
                acks="all",
                # kafka-python 3.0.12 never sends again once a batch that it had retried has expired: it drops its
                # producer id and does not ask for another (TransactionManager.reset_producer_id). Seen by killing
                # the broker. One request in flight keeps the order; what a retry repeats, event ids deduplicate.
                enable_idempotence=False,
                max_in_flight_requests_per_connection=1,
                delivery_timeout_ms=milliseconds,
                request_timeout_ms=milliseconds,
                max_block_ms=milliseconds,
                max_request_size=MAX_REQUEST_BYTES,
            )
        except KafkaError:
            self._unreachable_at = clock.monotonic()
            raise


def event_bytes(key: str, payload: bytes, headers: Headers) -> int:
    """What an event takes in the log, a little over: its parts and the framing of a batch of one."""
    framing = 61 + 21 + 5 * len(headers)
    return framing + len(key.encode()) + len(payload) + sum(len(name) + len(value) for name, value in headers)
