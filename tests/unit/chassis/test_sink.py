"""Exactly-once files: what a sink writes again after a crash replaces what it wrote before."""

from datetime import UTC, datetime
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from kafka import TopicPartition

from casebook.behaviour.v1 import events_pb2 as behaviour_pb2
from chassis.events import Envelope
from chassis.settings import SinkSettings
from chassis.sink import Sink, Table

TOPIC = "behaviour.events.v1"
PARTITION = TopicPartition(TOPIC, 3)
START_MS = int(datetime(2026, 1, 5, 23, 59, 59, tzinfo=UTC).timestamp() * 1000)


def record(offset: int, value: bytes | None = None, **fields: object):
    """A Kafka record of one event; each is a second later than the one before."""
    message = behaviour_pb2.BehaviourEvent(user_id="ana", item_id=f"film-{offset}", action="ACTION_CLICK", **fields)
    time = datetime.fromtimestamp(START_MS / 1000 + offset, UTC)
    envelope = Envelope(f"e{offset}", message.DESCRIPTOR.full_name, "test", "cinema", time)
    return SimpleNamespace(
        topic=TOPIC,
        partition=3,
        offset=offset,
        key=b"key",
        value=message.SerializeToString() if value is None else value,
        headers=envelope.to_headers(),
        timestamp=START_MS + 1000 * offset,
    )


class FakeConsumer:
    def __init__(self) -> None:
        self.committed: dict[TopicPartition, int] = {}

    def commit(self, offsets, timeout_ms):
        self.committed |= {partition: offset.offset for partition, offset in offsets.items()}


class FakeProducer:
    def __init__(self) -> None:
        self.forwarded: list[tuple[str, dict[str, bytes]]] = []

    def forward(self, topic, key, value, headers):
        self.forwarded.append((topic, dict(headers)))


@pytest.fixture
def settings(tmp_path):
    return SinkSettings(sink_url=str(tmp_path), sink_batch_events=100)


def behaviour_sink(settings, producer=None) -> Sink:
    items = Table(
        behaviour_pb2.BehaviourEvent, (pa.field("item_id", pa.string()),), lambda message: {"item_id": message.item_id}
    )
    return Sink(settings, "recommender.sink", {TOPIC: items}, producer or FakeProducer())


def files(tmp_path):
    return sorted(tmp_path.glob("*/*/*.parquet"))


def items(tmp_path) -> list[str]:
    return [row["item_id"] for file in files(tmp_path) for row in pq.read_table(file).to_pylist()]


def test_the_offset_is_committed_after_the_file_is_there(tmp_path, settings):
    sink, consumer = behaviour_sink(settings), FakeConsumer()
    sink.take(PARTITION, [record(offset) for offset in range(3)])

    sink.write_due(consumer, everything=True)

    assert items(tmp_path) == ["film-0", "film-1", "film-2"]
    assert consumer.committed == {PARTITION: 3}


@pytest.mark.parametrize("second_batch", [2, 3, 5], ids=["shorter", "the same", "longer"])
def test_a_sink_that_died_before_its_commit_leaves_no_event_twice(tmp_path, settings, second_batch):
    died = behaviour_sink(settings)
    died.take(PARTITION, [record(offset) for offset in range(3)])
    died.write(TOPIC, died._batches[PARTITION].rows)

    sink, consumer = behaviour_sink(settings), FakeConsumer()
    for batch in (range(second_batch), range(second_batch, 6)):
        sink.take(PARTITION, [record(offset) for offset in batch])
        sink.write_due(consumer, everything=True)

    assert items(tmp_path) == [f"film-{offset}" for offset in range(6)]


def test_a_file_lies_under_the_day_of_its_first_event(tmp_path, settings):
    sink = behaviour_sink(settings)
    sink.take(PARTITION, [record(offset) for offset in range(3)])
    sink.write_due(FakeConsumer(), everything=True)

    [file] = files(tmp_path)
    assert file.parent == tmp_path / TOPIC / "date=2026-01-05"
    assert file.name == "00003-00000000000000000000-e0.parquet"


def test_a_full_batch_is_written_and_a_young_one_waits(tmp_path, settings):
    sink, consumer = behaviour_sink(settings), FakeConsumer()
    sink.take(PARTITION, [record(offset) for offset in range(99)])
    sink.write_due(consumer)
    assert not files(tmp_path)

    sink.take(PARTITION, [record(99)])
    sink.write_due(consumer)
    assert len(items(tmp_path)) == 100


def test_what_is_no_event_of_the_topic_goes_to_the_dead_letters(tmp_path, settings):
    producer, consumer = FakeProducer(), FakeConsumer()
    sink = behaviour_sink(settings, producer)
    sink.take(PARTITION, [record(0), record(1, value=b"\xff\xff"), record(2)])
    sink.write_due(consumer, everything=True)

    assert items(tmp_path) == ["film-0", "film-2"]
    assert consumer.committed == {PARTITION: 3}
    [(topic, headers)] = producer.forwarded
    assert topic == f"{TOPIC}.dlq"
    assert b"no casebook.behaviour.v1.BehaviourEvent" in headers["dlq_reason"]
