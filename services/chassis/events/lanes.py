"""The records that a consumer holds, one lane a partition: handled in order, waiting together when the first fails."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from kafka import OffsetAndMetadata, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord


@dataclass(slots=True)
class Lane:
    """One partition's records, in order; the first is the one to handle."""

    records: deque[ConsumerRecord] = field(default_factory=deque)
    attempts: int = 0
    """Attempts at the first record so far."""
    failures: int = 0
    """Those of them that failed for another reason than an outage."""
    unavailable_since: float = 0.0
    """Monotonic; when the first record met an outage first."""
    burials: int = 0
    """Attempts at writing the first record to the dead-letter topic."""
    not_before: float = 0.0
    """Monotonic; the first record waits until then."""
    cause_of_death: str = ""
    """Set once the first record is to be written to the dead-letter topic."""

    def advance(self) -> None:
        """The first record is settled."""
        self.records.popleft()
        self.attempts = self.failures = self.burials = 0
        self.unavailable_since = self.not_before = 0.0
        self.cause_of_death = ""

    def keep_first(self) -> int | None:
        """Drops all but the first record; returns the offset to fetch from again, None where nothing was dropped."""
        if len(self.records) <= 1:
            return None
        first = self.records[0]
        self.records.clear()
        self.records.append(first)
        return int(first.offset) + 1


class Lanes:
    """All lanes, the bound on what they hold, and the offsets that are settled and not yet committed."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._by_partition: dict[TopicPartition, Lane] = {}
        self.settled: dict[TopicPartition, OffsetAndMetadata] = {}

    def __iter__(self) -> Iterator[Lane]:
        return iter(list(self._by_partition.values()))

    @property
    def room(self) -> int:
        """How many more records may be taken."""
        return max(0, self._limit - sum(len(lane.records) for lane in self._by_partition.values()))

    def held(self, partition: TopicPartition) -> int:
        """How many records of a partition are held."""
        lane = self._by_partition.get(partition)
        return len(lane.records) if lane else 0

    def oldest(self, partition: TopicPartition) -> float | None:
        """When the first record held of a partition was published, in seconds since the epoch."""
        lane = self._by_partition.get(partition)
        return lane.records[0].timestamp / 1000.0 if lane and lane.records else None

    def add(self, partition: TopicPartition, records: Iterable[ConsumerRecord]) -> None:
        """Appends records just fetched."""
        self._by_partition.setdefault(partition, Lane()).records.extend(records)

    def ready(self, now: float) -> list[tuple[TopicPartition, Lane]]:
        """Lanes whose first record may be handled now."""
        return [(tp, lane) for tp, lane in self._by_partition.items() if lane.records and lane.not_before <= now]

    def waiting(self, now: float) -> dict[TopicPartition, Lane]:
        """Lanes whose first record waits for its next attempt."""
        return {tp: lane for tp, lane in self._by_partition.items() if lane.records and lane.not_before > now}

    def settle(self, partition: TopicPartition) -> None:
        """The first record has had its effect, or lies in the dead-letter topic: its offset may be committed."""
        lane = self._by_partition[partition]
        self.settled[partition] = OffsetAndMetadata(lane.records[0].offset + 1, "", -1)
        lane.advance()

    def clear(self) -> None:
        """The group is being rebalanced: whoever gets a partition starts at its committed offset."""
        self._by_partition.clear()
        self.settled.clear()
