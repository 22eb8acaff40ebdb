"""The relay: publishes what waits in the outbox, in order, and marks it."""

import random
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from typing import Any

from opentelemetry.metrics import CallbackOptions, Observation
from sqlalchemy import ColumnElement, Connection, Engine, Row, func, select, text, update
from sqlalchemy.exc import SQLAlchemyError

from chassis import logs, telemetry
from chassis.database import delete_some
from chassis.errors import CasebookError
from chassis.events import Envelope, EventProducer
from chassis.events.outages import PAUSE_SECONDS
from chassis.outbox.table import OUTBOX
from chassis.retries import Retries

_log = logs.logger(__name__)

BATCH = 200
POLL_SECONDS = 0.2
"""How soon an event that was added to an empty outbox is seen."""
PRUNE_SECONDS = 60.0
KEEP_PUBLISHED = timedelta(hours=1)
"""Published events are kept this long, for people who ask what was sent."""
PRUNED_AT_ONCE = 1_000
LEADER_LOCK = 0x0CA5EB01
"""The advisory lock that one relay of a database holds at a time; any fixed number would do."""


@dataclass(slots=True)
class _Apart:
    """A topic that has not taken all of its events: it is tried apart from the others."""

    behind: int = 0
    """Events have been tried up to this id; next time some are tried that lie behind it. 0: it begins anew."""
    failures: int = 0
    """How often all that waits was tried since something of it went out, that time counted: it is tried less and less
    often."""
    due_at: float = 0.0


class Relay:
    """Publishes a database's outbox. Any number of relays may run: one publishes at a time, the others stand by.

    Only one publishes because order matters: two that skip each other's rows (FOR UPDATE SKIP LOCKED) would publish two
    events of one key at a time. The lock is the transaction's, so a relay that dies lets go of it with its connection.
    Retries have no limit, since an event in the outbox is a promise; back-off and the lag metrics bound the harm.

    What cannot be written holds up nothing else, however much of it waits. A topic that fails is tried apart, so that
    an event of another one waits for one attempt at most, the producer's deadline. Of such a topic the oldest events
    are tried each time, and some from behind them, further behind each time: one partition alone may stand still.
    """

    def __init__(self, engine: Engine, producer: EventProducer, *, service: str = "outbox") -> None:
        """`service` labels the metrics."""
        self._engine = engine
        self._producer = producer
        self._service = service
        self._retries = Retries()
        # Half of a delay at least is waited: longer than the producer refuses a topic that has just failed.
        self._topic_retries = Retries(shortest_seconds=2 * PAUSE_SECONDS)
        self._apart: dict[str, _Apart] = {}
        self._next_prune_at = 0.0

    def run(self, stop: threading.Event) -> None:
        """Relays until `stop` is set; what is in hand then is finished. Blocks: give it a thread of its own."""
        failures = 0
        try:
            while not stop.is_set():
                try:
                    published, _ = self.relay_once()
                    self._prune_when_due()
                    failures = 0
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
        """Publishes one batch, and one of a topic that is tried apart, where one is due.

        Returns how many were published, and how many were to be. Nothing is done, (0, 0), where another relay is at
        work.
        """
        with self._engine.begin() as connection:
            if not connection.scalar(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": LEADER_LOCK}):
                return 0, 0
            rows = _oldest(connection, BATCH, OUTBOX.c.topic.not_in(list(self._apart)))
            due = self._due()
            if due is not None:
                rows += self._read_apart(connection, due)
            published = self._publish(rows)
            if published:
                mark = update(OUTBOX).where(OUTBOX.c.id.in_(published)).values(published_at=func.clock_timestamp())
                connection.execute(mark)
            self._set_apart(rows, published, due)
            self._observe(connection)
        return len(published), len(rows)

    def _due(self) -> str | None:
        """The topic that has been due for longest to be tried apart."""
        topic = min(self._apart, key=lambda each: self._apart[each].due_at, default=None)
        return topic if topic is not None and self._apart[topic].due_at <= time.monotonic() else None

    def _read_apart(self, connection: Connection, topic: str) -> list[Row[Any]]:
        """Half a batch of the oldest, and a batch from behind what has been tried."""
        mine, apart = OUTBOX.c.topic == topic, self._apart[topic]
        oldest = _oldest(connection, BATCH // 2, mine)
        if not oldest:
            return []
        tried = max(apart.behind, oldest[-1].id)
        behind = _oldest(connection, BATCH, mine & (OUTBOX.c.id > tried))
        apart.behind = behind[-1].id if len(behind) == BATCH else 0
        # Asked after they were read: of an event of theirs that was added before, and is committed only now, it knows.
        waiting = OUTBOX.c.published_at.is_(None) & (OUTBOX.c.id <= tried)
        same = mine & OUTBOX.c.key.in_([row.key for row in behind])
        overtaken = set(connection.scalars(select(OUTBOX.c.key).where(waiting, same).distinct()))
        return oldest + [row for row in behind if row.key not in overtaken]

    def _set_apart(self, rows: Sequence[Row[Any]], published: Sequence[int], due: str | None) -> None:
        """Notes which topics failed, and lets one that did not go with the others again."""
        acknowledged = set(published)
        failed = {row.topic for row in rows if row.id not in acknowledged}
        if due is not None and due not in failed:
            del self._apart[due]
        for topic in failed:
            apart = self._apart.setdefault(topic, _Apart())
            if any(row.topic == topic and row.id in acknowledged for row in rows):
                apart.failures = 1
            elif apart.behind == 0:  # all that waits has been tried once more
                apart.failures += 1
            apart.due_at = time.monotonic() + self._topic_retries.delay(apart.failures)

    def _publish(self, rows: Sequence[Row[Any]]) -> list[int]:
        """Publishes rows in rounds, one event of each key at a time; returns the ids that were acknowledged.

        A key stops at its first failure, so that no later event of it overtakes.
        """
        published: list[int] = []
        failures: dict[str, list[str]] = {}
        queues = _by_key(rows)
        # Of a topic that failed the producer lets one event through, as a probe: not the same one each time.
        random.shuffle(queues)
        while queues:
            begun = [(queue, self._producer.begin(queue[0].topic, queue[0].key, *_event(queue[0]))) for queue in queues]
            queues = []
            for queue, pending in begun:
                try:
                    pending.wait()
                except CasebookError as error:
                    failures.setdefault(queue[0].topic, []).append(str(error))
                    continue
                published.append(queue[0].id)
                if len(queue) > 1:
                    queues.append(queue[1:])
        for topic, why in failures.items():
            _log.warning("events wait in the outbox", topic=topic, keys=len(why), why=why[0])
        return published

    def _prune_when_due(self) -> None:
        if time.monotonic() >= self._next_prune_at and self.prune() < PRUNED_AT_ONCE:
            self._next_prune_at = time.monotonic() + PRUNE_SECONDS

    def prune(self) -> int:
        """Deletes what was published longer than `KEEP_PUBLISHED` ago, at most `PRUNED_AT_ONCE`; returns how many."""
        old = OUTBOX.c.published_at < func.now() - KEEP_PUBLISHED
        with self._engine.begin() as connection:
            return connection.execute(delete_some(OUTBOX, old, PRUNED_AT_ONCE)).rowcount

    def _observe(self, connection: Connection) -> None:
        waiting = OUTBOX.c.published_at.is_(None)
        age = func.extract("epoch", func.clock_timestamp() - func.min(OUTBOX.c.added_at))
        row = connection.execute(select(func.count(), func.coalesce(age, 0)).select_from(OUTBOX).where(waiting)).one()
        _waiting[self._service] = (int(row[0]), float(row[1]))


def _oldest(connection: Connection, most: int, condition: ColumnElement[bool]) -> list[Row[Any]]:
    waiting = select(OUTBOX).where(OUTBOX.c.published_at.is_(None), condition)
    return list(connection.execute(waiting.order_by(OUTBOX.c.id).limit(most)))


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
