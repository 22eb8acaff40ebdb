"""Consuming: at least once, in order, with bounded retries and a dead-letter topic.

One thread polls and handles, one record of each partition in turn. An offset is committed after the effect, so a
consumer that dies repeats what it had not committed; the effect deduplicates by event id (chassis/inbox.py, or one Lua
script in Redis). More throughput comes from more processes in the group, up to the number of partitions.

A record that fails waits with its partition while the others go on; the consumer keeps polling meanwhile, which is what
keeps it in its group (`max.poll.interval.ms`). A partition that waits holds its first record alone: the rest is fetched
again, so a stuck partition takes no room from the others.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic

from kafka import ConsumerRebalanceListener, KafkaConsumer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord
from kafka.errors import (
    CommitFailedError,
    IllegalGenerationError,
    KafkaError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)

from chassis import faults, logs
from chassis.errors import CasebookError, Unavailable
from chassis.events import burial, metrics, tracing
from chassis.events.connection import client_options, connect_consumer
from chassis.events.envelope import Envelope, Event, M, PoisonMessage, decode
from chassis.events.lag import LagMeter
from chassis.events.lanes import Lane, Lanes
from chassis.events.producer import EventProducer
from chassis.faults import Fault
from chassis.identity import acting_as, service_identity
from chassis.retries import Retries
from chassis.settings import Settings

_log = logs.logger(__name__)

POLL_SECONDS = 0.5
"""The longest that a poll waits for records, and so the longest that a stop goes unnoticed."""
SLICE_SECONDS = 1.0
"""How long records are handled before offsets are committed and the group is polled again."""
MAX_POLL_INTERVAL_SECONDS = 300.0
"""One attempt of a handler may take this long; past it the group gives its partitions to others."""

_MEMBERSHIP_LOST = (CommitFailedError, IllegalGenerationError, RebalanceInProgressError, UnknownMemberIdError)


@dataclass(frozen=True, slots=True)
class Handler(Generic[M]):
    """What a topic carries, and the function that has its effect.

    The function returns when the effect is durable. It raises PoisonMessage for what can never succeed, Unavailable
    when something that it needs does not answer, anything else for a failure that is worth a few more attempts.
    """

    message_class: type[M]
    function: Callable[[Event[M]], None]


class EventConsumer:
    """One member of a consumer group. `run` blocks until it is told to stop, and is called from a thread of its own."""

    def __init__(
        self,
        settings: Settings,
        group: str,
        handlers: Mapping[str, Handler[Any]],
        *,
        producer: EventProducer | None = None,
        retries: Retries = Retries(),  # noqa: B008 - frozen
        max_in_flight: int = 256,
    ) -> None:
        """`group` is named "<service>.<purpose>"; handlers act as "service:<service>" of the event's tenant.

        `producer` writes to the dead-letter topics `<topic>.dlq`; one is made where none is given. `max_in_flight`
        bounds the records that are fetched and not settled yet.
        """
        self.group = group
        self.partitions = 0
        """How many partitions this member holds now; 0 before it has joined its group."""
        self._settings = settings
        self._service = group.partition(".")[0]
        self._handlers = dict(handlers)
        self._producer = producer or EventProducer(settings, source=self._service)
        self._owns_producer = producer is None
        self._retries = retries
        self._lanes = Lanes(max_in_flight)
        self._lag = LagMeter(group, self._lanes.held, self._lanes.oldest)

    def run(self, stop: threading.Event) -> None:
        """Consumes until `stop` is set; then finishes the record in hand, commits, and leaves the group.

        Waits for a broker where none answers. Raises kafka.errors.KafkaError for what no waiting mends (a group that it
        may not join): the process is to end and be seen.
        """
        try:
            while not stop.is_set():
                if self._lost:
                    stop.wait(POLL_SECONDS)
                else:
                    self._consume(stop)
        finally:
            if self._owns_producer:
                self._producer.close()

    @property
    def _lost(self) -> bool:
        return faults.ordered(Fault.LOST_CONSUMER, self.group) is not None

    def _consume(self, stop: threading.Event) -> None:
        """One membership of the group, from joining it to leaving it."""
        consumer = connect_consumer(
            stop,
            **client_options(self._settings, self.group),
            group_id=self.group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_poll_interval_ms=int(MAX_POLL_INTERVAL_SECONDS * 1000),
            session_timeout_ms=10_000,
            heartbeat_interval_ms=1000,
            metadata_max_age_ms=10_000,  # a topic that is made later is found within ten seconds, not five minutes
        )
        if consumer is None:
            return
        try:
            consumer.subscribe(list(self._handlers), listener=_OnRebalance(self, self._lanes, self._lag))
            while not stop.is_set() and not self._lost:
                self._take(consumer)
                self._handle_for_a_slice(stop)
                self._commit(consumer)
                self._lag.observe(consumer)
        finally:
            consumer.close(timeout_ms=5000)
            self._lag.forget()

    def _take(self, consumer: KafkaConsumer) -> None:
        """Polls for as many records as there is room for; a full consumer polls all the same, to stay in its group."""
        now = time.monotonic()
        waiting = self._lanes.waiting(now)
        for partition, lane in waiting.items():
            if dropped := lane.keep_first():
                consumer.seek(partition, dropped)
        room = self._lanes.room
        assigned = consumer.assignment()
        paused = set(assigned) if room == 0 else waiting.keys() & assigned
        consumer.resume(*(consumer.paused() - paused))
        consumer.pause(*paused)
        if self._lanes.ready(now):
            timeout = 0.0
        else:
            timeout = min([POLL_SECONDS, *(lane.not_before - now for lane in waiting.values())])
        fetched = consumer.poll(timeout_ms=int(timeout * 1000), max_records=max(1, room))
        for partition, records in fetched.items():
            self._lanes.add(partition, records)

    def _handle_for_a_slice(self, stop: threading.Event) -> None:
        if faults.ordered(Fault.STALE_FEATURES, self.group):
            stop.wait(POLL_SECONDS)
            return
        until = time.monotonic() + SLICE_SECONDS
        while ready := self._lanes.ready(time.monotonic()):
            for partition, lane in ready:
                self._handle_first(partition, lane)
                if stop.is_set() or time.monotonic() > until:
                    return

    def _handle_first(self, partition: TopicPartition, lane: Lane) -> None:
        record = lane.records[0]
        if not lane.cause_of_death:
            started = time.monotonic()
            outcome = self._attempt(record, lane)
            labels = {"topic": record.topic, "group": self.group, "outcome": outcome}
            metrics.process_duration.record(time.monotonic() - started, labels)
            if outcome == "done":
                self._lanes.settle(partition)
        if lane.cause_of_death and self._bury(record, lane):
            self._lanes.settle(partition)

    def _attempt(self, record: ConsumerRecord, lane: Lane) -> str:
        """One attempt at a record; says how it ended: done, retried or dead."""
        lane.attempts += 1
        try:
            self._call(record, lane.attempts)
        except PoisonMessage as error:
            lane.cause_of_death = error.reason
        except Exception as error:  # noqa: BLE001 - whatever a handler raises is a failed attempt, and bounded
            self._postpone(record, lane, error)
        else:
            return "done"
        return "dead" if lane.cause_of_death else "retried"

    def _call(self, record: ConsumerRecord, attempts: int) -> None:
        """Runs the topic's handler under the event's tenant, in a span of the producer's trace."""
        handler = self._handlers[record.topic]
        envelope = Envelope.from_headers(record.headers)
        key = (record.key or b"").decode(errors="replace")
        with (
            acting_as(service_identity(self._service, envelope.tenant)),
            tracing.process_span(record.topic, self.group, record.partition, record.offset, key, envelope, attempts),
        ):
            message = decode(handler.message_class, envelope, record.value)
            handler.function(Event(record.topic, record.partition, record.offset, key, envelope, message, attempts))
            if _log.isEnabledFor(logging.DEBUG):
                _log.debug("an event was handled", topic=record.topic, group=self.group, event_id=envelope.id)
        age = (datetime.now(UTC) - envelope.time).total_seconds()
        metrics.event_age.record(max(0.0, age), {"topic": record.topic, "group": self.group})

    def _postpone(self, record: ConsumerRecord, lane: Lane, error: Exception) -> None:
        """Sets the time of the next attempt, or the cause of death where there is none."""
        now = time.monotonic()
        if isinstance(error, Unavailable):
            lane.unavailable_since = lane.unavailable_since or now
            exhausted = now - lane.unavailable_since >= self._retries.outage_seconds
        else:
            lane.failures += 1
            exhausted = lane.failures >= self._retries.attempts
        why = f"{type(error).__name__}: {error}"
        where = {"topic": record.topic, "partition": record.partition, "offset": record.offset, "group": self.group}
        if exhausted:
            lane.cause_of_death = why
            _log.error("gave up on an event", why=why, attempts=lane.attempts, **where, exc_info=error)
        else:
            lane.not_before = now + self._retries.delay(lane.attempts)
            _log.warning("an attempt at an event failed", why=why, attempts=lane.attempts, **where)

    def _bury(self, record: ConsumerRecord, lane: Lane) -> bool:
        """Writes the record to its dead-letter topic. While that fails, the record is not settled and waits."""
        headers = burial.headers_of(record, self.group, lane.cause_of_death, lane.attempts)
        try:
            self._producer.forward(burial.topic_of(record.topic), record.key, record.value, headers)
        except CasebookError:
            lane.burials += 1
            lane.not_before = time.monotonic() + self._retries.delay(lane.burials)
            _log.exception("a dead letter cannot be written; its event waits", topic=record.topic, group=self.group)
            return False
        metrics.dead_letters.add(1, {"topic": record.topic, "group": self.group})
        return True

    def _commit(self, consumer: KafkaConsumer) -> None:
        if not self._lanes.settled:
            return
        try:
            consumer.commit(dict(self._lanes.settled), timeout_ms=5000)
        except _MEMBERSHIP_LOST as error:
            # The next poll joins the group again and starts at the committed offsets: what is repeated is deduplicated.
            _log.warning("offsets were not committed: the group moved on", group=self.group, why=str(error))
        except KafkaError as error:
            _log.warning("offsets are not committed yet", group=self.group, why=str(error))
        else:
            self._lanes.settled.clear()


class _OnRebalance(ConsumerRebalanceListener):
    """Lets go of all records when partitions may move: whoever gets one starts at its committed offset.

    kafka-python calls it while the consumer's thread waits inside `poll` or `close`: nothing else touches the lanes.
    """

    def __init__(self, consumer: EventConsumer, lanes: Lanes, lag: LagMeter) -> None:
        self._consumer = consumer
        self._lanes = lanes
        self._lag = lag

    def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Partitions may go to another member."""
        self._lanes.clear()
        self._consumer.partitions = 0
        self._lag.forget()

    def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Partitions have come; they start at their committed offsets."""
        self._consumer.partitions = len(assigned)
        _log.info("partitions assigned", group=self._consumer.group, partitions=len(assigned))
