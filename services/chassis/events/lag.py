"""How far a member of a consumer group is behind on each of its partitions, asked of the broker now and then."""

import time
from collections.abc import Callable

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from chassis import logs
from chassis.events import metrics

LAG_SECONDS = 5.0
"""How often the broker is asked: it is a request for each measurement."""

_log = logs.logger(__name__)


class LagMeter:
    """Measures one member's lag. Used by the consumer's own thread alone."""

    def __init__(
        self, group: str, held: Callable[[TopicPartition], int], oldest: Callable[[TopicPartition], float | None]
    ) -> None:
        """`held` says how many records of a partition are fetched and not settled; `oldest`, when the first of them was
        published, in seconds since the epoch, and None where there is none.
        """
        self._group = group
        self._held = held
        self._oldest = oldest
        self._next_at = 0.0

    def observe(self, consumer: KafkaConsumer) -> None:
        """Measures where it is time to. A broker that does not answer is logged, and the last lag stands."""
        if time.monotonic() < self._next_at:
            return
        self._next_at = time.monotonic() + LAG_SECONDS
        try:
            ends = consumer.end_offsets(list(consumer.assignment()), timeout_ms=1000)
            positions = {partition: consumer.position(partition, timeout_ms=1000) for partition in ends}
        except KafkaError as error:
            _log.warning("the lag is not known", group=self._group, why=str(error))
            return
        for partition, end in ends.items():
            behind = end - (positions[partition] or 0) + self._held(partition)
            metrics.set_lag(self._group, partition.topic, partition.partition, behind, self._oldest(partition))

    def forget(self) -> None:
        """The partitions have gone, or may go, to another member, which measures them from now on."""
        metrics.forget_lag(self._group)
