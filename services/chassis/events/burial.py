"""What a dead letter carries: the record as it was, and why it died, in headers beside its own."""

from datetime import UTC, datetime

from kafka.consumer.fetcher import ConsumerRecord

from chassis.events.envelope import Headers

SUFFIX = ".dlq"
REASON_CHARACTERS = 1000


def topic_of(topic: str) -> str:
    """Where the dead letters of a topic lie."""
    return topic + SUFFIX


def headers_of(record: ConsumerRecord, group: str, reason: str, attempts: int) -> Headers:
    """The record's own headers, and why it died, where it came from, and how often it was tried."""
    # Kafka lets a header be null; kafka-python reads such a one and writes none.
    kept = [(name, value or b"") for name, value in record.headers if not name.startswith("dlq_")]
    texts = {
        "dlq_reason": reason[:REASON_CHARACTERS],
        "dlq_topic": record.topic,
        "dlq_partition": str(record.partition),
        "dlq_offset": str(record.offset),
        "dlq_group": group,
        "dlq_attempts": str(attempts),
        "dlq_time": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }
    return [*kept, *((name, text.encode()) for name, text in texts.items())]
