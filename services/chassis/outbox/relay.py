"""The relay: publishes what waits in the outbox, in order, and marks it."""

import threading
import time
from collections.abc import Iterable, Sequence
from datetime import timedelta
from itertools import groupby
from typing import Any

from opentelemetry.metrics import CallbackOptions, Observation
from sqlalchemy import Connection, Engine, Row, delete, func, select, text, update
from sqlalchemy.exc import SQLAlchemyError

from chassis import logs, telemetry
from chassis.errors import CasebookError
from chassis.events import Envelope, EventProducer
from chassis.outbox.table import OUTBOX
from chassis.retries import Retries

_log = logs.logger(__name__)

BATCH = 200
POLL_SECONDS = 0.2
"""How soon an event that was added to an empty outbox is seen."""
PRUNE_SECONDS = 60.0
KEEP_PUBLISHED = timedelta(hours=1)
"""Published events are kept this long, for people who ask what was sent."""
LEADER_LOCK = 0x0CA5EB01
"""The advisory lock that one relay of a database holds at a time; any fixed number would do."""


class Relay:
    """Publishes a database's outbox. Any number of relays may run: one publishes at a time, the others stand by.

    Only one publishes because order matters: two that skip each other's rows (FOR UPDATE SKIP LOCKED) would publish two
    events of one key at a time. The lock is the transaction's, so a relay that dies lets go of it with its connection.
    Retries have no limit, since an event in the outbox is a promise; back-off and the lag metrics bound the harm.
    """

    def __init__(self, engine: Engine, producer: EventProducer, *, service: str = "outbox") -> None:
        """`service` labels the metrics."""
        self._engine = engine
        self._producer = producer
        self._service = service
        self._retries = Retries()
        self._next_prune_at = 0.0

    def run(self, stop: threading.Event) -> None:
        """Relays until `stop` is set; what is in hand then is finished. Blocks: give it a thread of its own."""
        failures = 0
        try:
            while not stop.is_set():
                try:
                    published, waiting = self.relay_once()
                    self._prune_when_due()
                    failures = 0 if published == waiting else failures + 1
                except SQLAlchemyError as error:
                    failures += 1
                    published = 0
                    _log.warning("the outbox cannot be read", service=self._service, why=str(error))
                if failures:
                    stop.wait(self._retries.delay(failures))
                elif published < BATCH:
                    stop.wait(POLL_SECONDS)
        finally:
            _waiting.pop(self._service, None)

    def relay_once(self) -> tuple[int, int]:
        """Publishes one batch; returns how many were published, and how many of the batch were to be.

        Nothing is done, (0, 0), where another relay is at work.
        """
        with self._engine.begin() as connection:
            if not connection.scalar(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": LEADER_LOCK}):
                return 0, 0
            unpublished = select(OUTBOX).where(OUTBOX.c.published_at.is_(None)).order_by(OUTBOX.c.id).limit(BATCH)
            rows = connection.execute(unpublished).all()
            published = self._publish(rows)
            if published:
                mark = update(OUTBOX).where(OUTBOX.c.id.in_(published)).values(published_at=func.clock_timestamp())
                connection.execute(mark)
            self._observe(connection)
        return len(published), len(rows)

    def _publish(self, rows: Sequence[Row[Any]]) -> list[int]:
        """Publishes rows in rounds, one event of each key at a time; returns the ids that were acknowledged.

        A key stops at its first failure, so that no later event of it overtakes.
        """
        published: list[int] = []
        queues = _by_key(rows)
        while queues:
            begun = [(queue, self._producer.begin(queue[0].topic, queue[0].key, *_event(queue[0]))) for queue in queues]
            queues = []
            for queue, pending in begun:
                try:
                    pending.wait()
                except CasebookError as error:
                    _log.warning("an event waits in the outbox", event_id=queue[0].event_id, why=str(error))
                    continue
                published.append(queue[0].id)
                if len(queue) > 1:
                    queues.append(queue[1:])
        return published

    def _prune_when_due(self) -> None:
        if time.monotonic() < self._next_prune_at:
            return
        self._next_prune_at = time.monotonic() + PRUNE_SECONDS
        self.prune()

    def prune(self) -> None:
        """Deletes what was published longer than `KEEP_PUBLISHED` ago."""
        with self._engine.begin() as connection:
            connection.execute(delete(OUTBOX).where(OUTBOX.c.published_at < func.now() - KEEP_PUBLISHED))

    def _observe(self, connection: Connection) -> None:
        waiting = OUTBOX.c.published_at.is_(None)
        age = func.extract("epoch", func.clock_timestamp() - func.min(OUTBOX.c.added_at))
        row = connection.execute(select(func.count(), func.coalesce(age, 0)).select_from(OUTBOX).where(waiting)).one()
        _waiting[self._service] = (int(row[0]), float(row[1]))


def _by_key(rows: Sequence[Row[Any]]) -> list[list[Row[Any]]]:
    def topic_and_key(row: Row[Any]) -> tuple[str, str]:
        return row.topic, row.key

    return [list(group) for _, group in groupby(sorted(rows, key=topic_and_key), topic_and_key)]


def _event(row: Row[Any]) -> tuple[bytes, Envelope]:
    return row.payload, Envelope(
        id=row.event_id,
        type=row.event_type,
        source="outbox",
        tenant=row.tenant,
        time=row.occurred_at,
        traceparent=row.traceparent,
    )


_waiting: dict[str, tuple[int, float]] = {}


def _observe_waiting(_options: CallbackOptions) -> Iterable[Observation]:
    return [Observation(count, {"service": service}) for service, (count, _) in list(_waiting.items())]


def _observe_age(_options: CallbackOptions) -> Iterable[Observation]:
    return [Observation(age, {"service": service}) for service, (_, age) in list(_waiting.items())]


_meter = telemetry.meter("casebook.outbox")
_meter.create_observable_gauge(
    "casebook.outbox.waiting", callbacks=[_observe_waiting], description="Events that are not published yet."
)
_meter.create_observable_gauge(
    "casebook.outbox.oldest", unit="s", callbacks=[_observe_age], description="How long the oldest of them has waited."
)
