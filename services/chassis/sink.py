"""The training sink: a service's topics as partitioned Parquet through fsspec.

Exactly-once effect by file names: a file is named by the partition, offset and id of its first event, and is written
before the offset is committed. A sink that dies in between reads the same events again and writes the same file anew. A
file holds one partition's events without gaps, in `<topic>/date=<day of its first event>/`. An event that was published
twice stands there twice, under one `event_id`: readers keep one.
"""

import io
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
from google.protobuf.message import Message
from kafka import ConsumerRebalanceListener, KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord
from kafka.errors import KafkaError

from chassis import logs, telemetry
from chassis.events import EventProducer, PoisonMessage, burial
from chassis.events import metrics as event_metrics
from chassis.events.connection import client_options, connect_consumer
from chassis.events.envelope import Envelope, decode
from chassis.events.lag import LagMeter
from chassis.settings import SinkSettings

POLL_MS = 500

_log = logs.logger(__name__)
_meter = telemetry.meter("casebook.sink")
_written = _meter.create_counter("casebook.sink.events", description="Events written, by topic.")
_files = _meter.create_counter("casebook.sink.files", description="Files written, by topic.")

_ENVELOPE = (
    pa.field("event_id", pa.string(), nullable=False),
    pa.field("tenant", pa.string(), nullable=False),
    pa.field("published_at", pa.timestamp("us", tz="UTC")),
    pa.field("partition", pa.int32()),
    pa.field("offset", pa.int64()),
)


@dataclass(frozen=True, slots=True)
class Table:
    """How the events of a topic become rows."""

    message_class: type[Message]
    fields: tuple[pa.Field, ...]
    """The columns behind those of the envelope, which every table begins with."""
    row: Callable[[Any], dict[str, Any]]
    """The message's columns. Raises ValueError for what this version cannot read."""

    @property
    def schema(self) -> pa.Schema:
        """All columns."""
        return pa.schema([*_ENVELOPE, *self.fields])


@dataclass(slots=True)
class _Batch:
    """A partition's rows on their way into a file."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    begun_at: float = field(default_factory=time.monotonic)
    next_offset: int = 0


class Sink:
    """One member of the sink's consumer group. `run` blocks until it is told to stop."""

    def __init__(
        self, settings: SinkSettings, group: str, tables: Mapping[str, Table], producer: EventProducer
    ) -> None:
        """`tables` by topic; `producer` writes what is no event of its topic to the dead-letter topic."""
        self._settings = settings
        self._group = group
        self._tables = tables
        self._producer = producer
        self._files, self._root = fsspec.core.url_to_fs(settings.sink_url)
        self._batches: dict[TopicPartition, _Batch] = {}
        self._lag = LagMeter(group, self._held, self._oldest)

    def run(self, stop: threading.Event) -> None:
        """Consumes until `stop` is set, then writes what it holds. Waits for a broker where none answers."""
        consumer = connect_consumer(
            stop,
            **client_options(self._settings, self._group),
            group_id=self._group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_poll_records=self._settings.sink_batch_events,
        )
        if consumer is None:
            return
        try:
            consumer.subscribe(list(self._tables), listener=_OnRebalance(self._batches, self._lag))
            while not stop.is_set():
                for partition, records in consumer.poll(timeout_ms=POLL_MS).items():
                    self.take(partition, records)
                self.write_due(consumer)
                self._lag.observe(consumer)
            self.write_due(consumer, everything=True)
        finally:
            consumer.close(timeout_ms=2000)
            self._lag.forget()

    def take(self, partition: TopicPartition, records: list[ConsumerRecord]) -> None:
        """Turns records into rows of the partition's batch."""
        batch = self._batches.setdefault(partition, _Batch())
        if not batch.rows:
            batch.begun_at = time.monotonic()
        for record in records:
            try:
                batch.rows.append(self.row_of(record))
            except PoisonMessage as error:
                headers = burial.headers_of(record, self._group, error.reason, 1)
                self._producer.forward(burial.topic_of(record.topic), record.key, record.value, headers)
                event_metrics.dead_letters.add(1, {"topic": record.topic, "group": self._group})
            batch.next_offset = record.offset + 1

    def write_due(self, consumer: KafkaConsumer, *, everything: bool = False) -> None:
        """Writes the batches that are full or old enough, and commits each after its file is there."""
        now = time.monotonic()
        for partition, batch in list(self._batches.items()):
            full = len(batch.rows) >= self._settings.sink_batch_events
            if not (everything or full or now - batch.begun_at >= self._settings.sink_batch_seconds):
                continue
            started = time.monotonic()
            if batch.rows:
                self.write(partition.topic, batch.rows)
            event_metrics.process_duration.record(
                time.monotonic() - started, {"topic": partition.topic, "group": self._group, "outcome": "done"}
            )
            try:
                consumer.commit({partition: OffsetAndMetadata(batch.next_offset, "", -1)}, timeout_ms=5000)
            except KafkaError as error:
                # The file stands; whoever reads these events again writes it again under the same name.
                _log.warning("offsets are not committed", topic=partition.topic, why=str(error))
            self._batches.pop(partition, None)

    def write(self, topic: str, rows: list[dict[str, Any]]) -> str:
        """Writes one file, whole or not at all; returns its path."""
        first = rows[0]
        day = first["published_at"].astimezone(UTC).date().isoformat()
        name = f"{first['partition']:05d}-{first['offset']:020d}-{first['event_id']}.parquet"
        path = f"{self._root}/{topic}/date={day}/{name}"
        content = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows, self._tables[topic].schema), content, compression="zstd")
        self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
        with self._files.transaction, self._files.open(path, "wb") as file:
            file.write(content.getvalue())
        _written.add(len(rows), {"topic": topic})
        _files.add(1, {"topic": topic})
        return path

    def row_of(self, record: ConsumerRecord) -> dict[str, Any]:
        """A record as a row of its topic's table. Raises PoisonMessage."""
        table = self._tables[record.topic]
        envelope = Envelope.from_headers(record.headers)
        try:
            row = table.row(decode(table.message_class, envelope, record.value))
        except ValueError as error:  # an enumeration's value that this version does not know
            raise PoisonMessage(str(error)) from error
        return row | {
            "event_id": envelope.id,
            "tenant": envelope.tenant,
            "published_at": datetime.fromtimestamp(record.timestamp / 1000, UTC),
            "partition": record.partition,
            "offset": record.offset,
        }

    def _held(self, partition: TopicPartition) -> int:
        return len(self._batches[partition].rows) if partition in self._batches else 0

    def _oldest(self, partition: TopicPartition) -> float | None:
        published: datetime | None = self._batches[partition].rows[0]["published_at"] if self._held(partition) else None
        return published.timestamp() if published else None


class _OnRebalance(ConsumerRebalanceListener):
    """Lets go of what is not written when partitions may move: whoever gets them reads it again."""

    def __init__(self, batches: dict[TopicPartition, _Batch], lag: LagMeter) -> None:
        self._batches = batches
        self._lag = lag

    def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Partitions may go to another member."""
        self._batches.clear()
        self._lag.forget()

    def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Partitions have come; they start at their committed offsets."""
