"""Following a compacted topic: every replica reads all of it from the start, then goes on as it grows."""

import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Generic

from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord
from kafka.errors import KafkaError

from chassis import logs
from chassis.events import metrics, tracing
from chassis.events.connection import client_options, connect_consumer
from chassis.events.envelope import Envelope, Event, M, PoisonMessage, decode
from chassis.events.lag import LagMeter
from chassis.identity import acting_as, service_identity
from chassis.retries import Retries
from chassis.settings import Settings

_log = logs.logger(__name__)


class TopicFollower(Generic[M]):
    """Keeps what this process holds in memory the same as a topic. It has no group, so it commits nothing.

    Its metrics are those of a consumer, under the group "<service>.follower": each replica has a lag of its own.
    `caught_up` is set once everything that the topic held when it started has been applied.
    """

    def __init__(
        self,
        settings: Settings,
        topic: str,
        message_class: type[M],
        function: Callable[[Event[M]], None],
        *,
        service: str = "follower",
        retries: Retries = Retries(outage_seconds=60.0),  # noqa: B008 - frozen
    ) -> None:
        """`function` is called for each event in order, by the thread of `run`; a repeated one must change nothing."""
        self.caught_up = threading.Event()
        self._settings = settings
        self._topic = topic
        self._message_class = message_class
        self._function = function
        self._service = service
        self._group = f"{service}.follower"
        self._retries = retries
        self._goal: dict[TopicPartition, int] = {}

    def run(self, stop: threading.Event) -> None:
        """Follows until `stop` is set.

        A poison message is skipped, counted and logged: the next one of its key replaces it. Raises what `function`
        raises once its retries are spent, since a replica that skipped an event would answer from a state that never
        was.
        """
        consumer = connect_consumer(
            stop,
            self._topic,
            **client_options(self._settings, self._group),
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            metadata_max_age_ms=10_000,
        )
        if consumer is None:
            return
        lag = LagMeter(self._group, held=lambda _: 0, oldest=lambda _: None)
        try:
            while not stop.is_set():
                for records in consumer.poll(timeout_ms=500).values():
                    for record in records:
                        self._apply(record, stop)
                        if stop.is_set():
                            return
                if not self.caught_up.is_set():
                    self._compare_with_goal(consumer)
                lag.observe(consumer)
        finally:
            lag.forget()
            consumer.close(timeout_ms=2000)

    def _apply(self, record: ConsumerRecord, stop: threading.Event) -> None:
        attempts = 0
        started = time.monotonic()
        while True:
            attempts += 1
            try:
                return self._attempt(record, attempts)
            except PoisonMessage as error:
                metrics.skipped.add(1, {"topic": record.topic, "service": self._service})
                where = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
                _log.error("a poison message was skipped", why=error.reason, service=self._service, **where)
                return None
            except Exception:
                out_of_time = time.monotonic() - started > self._retries.outage_seconds
                if attempts >= self._retries.attempts or out_of_time:
                    raise
                _log.warning("an attempt at an event failed", topic=record.topic, offset=record.offset, exc_info=True)
            if stop.wait(self._retries.delay(attempts)):
                return None

    def _attempt(self, record: ConsumerRecord, attempts: int) -> None:
        began, outcome = time.monotonic(), "retried"
        try:
            self._call(record, attempts)
            outcome = "done"
        except PoisonMessage:
            outcome = "dead"
            raise
        finally:
            labels = {"topic": record.topic, "group": self._group, "outcome": outcome}
            metrics.process_duration.record(time.monotonic() - began, labels)

    def _call(self, record: ConsumerRecord, attempts: int) -> None:
        envelope = Envelope.from_headers(record.headers)
        key = (record.key or b"").decode(errors="replace")
        message = decode(self._message_class, envelope, record.value)
        event = Event(record.topic, record.partition, record.offset, key, envelope, message, attempts)
        span = tracing.process_span(record.topic, "", record.partition, record.offset, key, envelope, attempts)
        # A replica that starts reads the past, whose traces are over: it adds nothing to them.
        with (
            acting_as(service_identity(self._service, envelope.tenant)),
            span if self.caught_up.is_set() else nullcontext(),
        ):
            self._function(event)
        if self.caught_up.is_set():
            age = (datetime.now(UTC) - envelope.time).total_seconds()
            metrics.event_age.record(max(0.0, age), {"topic": record.topic, "group": self._group})

    def _compare_with_goal(self, consumer: KafkaConsumer) -> None:
        try:
            assigned = consumer.assignment()
            if not self._goal and assigned:
                self._goal = consumer.end_offsets(list(assigned), timeout_ms=2000)
            reached = [(consumer.position(tp, timeout_ms=2000) or 0) >= end for tp, end in self._goal.items()]
        except KafkaError as error:
            _log.warning("how far the topic reaches is not known yet", topic=self._topic, why=str(error))
            return
        if reached and all(reached):
            _log.info("caught up", topic=self._topic, events=sum(self._goal.values()))
            self.caught_up.set()
