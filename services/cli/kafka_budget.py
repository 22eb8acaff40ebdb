"""What the mock broker may still take: the books that are kept of each partition.

librdkafka's mock keeps the newest 5 MiB (and 100,000 batches) of a partition and drops the oldest beyond that without a
word. So every batch is entered here before it is passed on, and refused where the mock would drop for it what a reader
still needs.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field

# The mock's own limits are 5,242,880 bytes and 100,000 batches (measured; see infra/embedded/README.md).
BYTES_LIMIT = 4 * 1024 * 1024
BATCHES_LIMIT = 90_000


@dataclass(slots=True)
class PartitionBooks:
    """The newest batches of one partition, the first one that a reader still needs included."""

    readers: dict[str, int] = field(default_factory=dict)
    """The offset that each reader takes next: a group's committed offset, a connection's last fetched one."""
    batches: list[tuple[int, int]] = field(default_factory=list)
    """(first offset, bytes), by offset."""
    held_bytes: int = 0
    reserved: list[int] = field(default_factory=list)
    """Bytes of each batch that is on its way to the mock."""

    def reserve(self, size: int) -> bool:
        """Makes room for a batch of `size` bytes. False where unread batches are in its way: it must be refused."""
        while not self._fits(size) and self._oldest_is_read():
            self.held_bytes -= self.batches.pop(0)[1]
        if not self._fits(size):
            return False
        self.reserved.append(size)
        return True

    def appended(self, size: int, first_offset: int) -> None:
        """The mock has taken a reserved batch."""
        self.released(size)
        bisect.insort(self.batches, (first_offset, size))
        self.held_bytes += size

    def released(self, size: int) -> None:
        """The mock has not taken a reserved batch."""
        self.reserved.remove(size)

    def _fits(self, size: int) -> bool:
        return (
            self.held_bytes + sum(self.reserved) + size <= BYTES_LIMIT
            and len(self.batches) + len(self.reserved) < BATCHES_LIMIT
        )

    def _oldest_is_read(self) -> bool:
        # The newest batch is never given up: where it ends is not known until the next one begins.
        return len(self.batches) > 1 and bool(self.readers) and self.batches[1][0] <= min(self.readers.values())


class Budget:
    """The books of all partitions."""

    def __init__(self, groups_by_topic: dict[str, tuple[str, ...]]) -> None:
        """`groups_by_topic` names the groups that will read a topic, so that what is written before their first commit
        is kept for them.
        """
        self._groups = groups_by_topic
        self.partitions: dict[tuple[str, int], PartitionBooks] = {}

    def books(self, topic: str, partition: int) -> PartitionBooks:
        """The books of a partition, opened when it is first seen."""
        key = (topic, partition)
        if key not in self.partitions:
            self.partitions[key] = PartitionBooks(readers=dict.fromkeys(self._groups.get(topic, ()), 0))
        return self.partitions[key]

    def forget(self, reader: str) -> None:
        """A reader without a group has gone: nothing is kept for it."""
        for books in self.partitions.values():
            books.readers.pop(reader, None)
