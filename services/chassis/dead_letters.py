"""Dead-letter topics: what lies there and why, and the way back."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime

from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord
from kafka.errors import KafkaError

from chassis.errors import InvalidField, NotFound, Unavailable
from chassis.events.burial import topic_of
from chassis.events.connection import client_options
from chassis.events.producer import EventProducer
from chassis.settings import Settings

MAX_LIMIT = 10_000
POLL_MILLISECONDS = 1000


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One event that was given up: where it lies, what it is, and why it died."""

    topic: str
    """The topic that it came from; it lies in `<topic>.dlq`."""
    partition: int
    """Its partition in the dead-letter topic, not in its own."""
    offset: int
    event_id: str
    event_type: str
    tenant: str
    key: str
    reason: str
    group: str
    """The consumer group that gave it up."""
    attempts: int
    died_at: datetime | None
    original_partition: int
    original_offset: int


@dataclass(frozen=True, slots=True)
class Filter:
    """Which dead letters are meant; every given field must fit."""

    event_id: str = ""
    tenant: str = ""
    group: str = ""
    reason_contains: str = ""
    partition: int | None = None
    """In the dead-letter topic."""
    offset: int | None = None
    """In the dead-letter topic."""

    def fits(self, letter: DeadLetter) -> bool:
        """Whether the letter is meant."""
        return (
            self.event_id in ("", letter.event_id)
            and self.tenant in ("", letter.tenant)
            and self.group in ("", letter.group)
            and self.reason_contains in letter.reason
            and self.partition in (None, letter.partition)
            and self.offset in (None, letter.offset)
        )


def list_letters(settings: Settings, topic: str, *, limit: int = 100, only: Filter = Filter()) -> list[DeadLetter]:
    """The dead letters of `topic`, oldest first, at most `limit`.

    A dead-letter topic is a log: what was replayed stays in it until its retention ends. Raises NotFound where the
    topic has no dead-letter topic, Unavailable where no broker answers.
    """
    return [letter for letter, _ in _read(settings, topic, limit, only)]


def replay(
    settings: Settings,
    producer: EventProducer,
    topic: str,
    *,
    limit: int = 100,
    only: Filter = Filter(),
) -> list[DeadLetter]:
    """Publishes dead letters to the topic they came from, as they were, and returns them.

    The event keeps its id, so a consumer that has seen it deduplicates; it loses its `dlq_` headers, so its attempts
    start anew. All groups of the topic get it. Raises as `list_letters`, and Unavailable where one cannot be published:
    those before it have been, and repeating them does no harm.
    """
    replayed = []
    for letter, record in _read(settings, topic, limit, only):
        headers = [(name, value) for name, value in record.headers if not name.startswith("dlq_")]
        producer.forward(topic, record.key, record.value, headers)
        replayed.append(letter)
    return replayed


def _read(settings: Settings, topic: str, limit: int, only: Filter) -> Iterator[tuple[DeadLetter, ConsumerRecord]]:
    if not 1 <= limit <= MAX_LIMIT:
        raise InvalidField("limit", f"must be from 1 to {MAX_LIMIT}", limit)
    found = 0
    try:
        for record in _records(settings, topic_of(topic)):
            letter = _letter(topic, record)
            if only.fits(letter):
                yield letter, record
                found += 1
                if found == limit:
                    return
    except KafkaError as error:
        raise Unavailable("kafka", str(error)) from error


def _records(settings: Settings, topic: str) -> Iterator[ConsumerRecord]:
    """All that a topic held when the reading began, one partition after the other."""
    options = client_options(settings, "casebook.dlq")
    with closing(KafkaConsumer(**options, group_id=None, enable_auto_commit=False)) as consumer:
        partitions = [TopicPartition(topic, partition) for partition in sorted(consumer.partitions_for_topic(topic))]
        if not partitions:
            raise NotFound("topic", topic)
        starts, ends = consumer.beginning_offsets(partitions, 5000), consumer.end_offsets(partitions, 5000)
        for partition in partitions:
            if starts[partition] < ends[partition]:
                consumer.assign([partition])
                consumer.seek(partition, starts[partition])
                yield from _until(consumer, partition, ends[partition])


def _until(consumer: KafkaConsumer, partition: TopicPartition, end: int) -> Iterator[ConsumerRecord]:
    silent_polls = 0
    while consumer.position(partition, timeout_ms=5000) < end:
        records = consumer.poll(timeout_ms=POLL_MILLISECONDS).get(partition, [])
        silent_polls = 0 if records else silent_polls + 1
        if silent_polls > 10:
            raise Unavailable("kafka", f"{partition.topic}[{partition.partition}] does not answer")
        yield from (record for record in records if record.offset < end)


def _letter(topic: str, record: ConsumerRecord) -> DeadLetter:
    texts = {name: value.decode(errors="replace") for name, value in record.headers if value is not None}
    died_at = texts.get("dlq_time")
    return DeadLetter(
        topic=topic,
        partition=record.partition,
        offset=record.offset,
        event_id=texts.get("ce_id", ""),
        event_type=texts.get("ce_type", ""),
        tenant=texts.get("ce_tenant", ""),
        key=(record.key or b"").decode(errors="replace"),
        reason=texts.get("dlq_reason", ""),
        group=texts.get("dlq_group", ""),
        attempts=int(texts.get("dlq_attempts", 0)),
        died_at=datetime.fromisoformat(died_at) if died_at else None,
        original_partition=int(texts.get("dlq_partition", -1)),
        original_offset=int(texts.get("dlq_offset", -1)),
    )
