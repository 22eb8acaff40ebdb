"""`python -m cli.mock_kafka serve`: Kafka in memory, for a machine with Python alone.

librdkafka's mock cluster listens on a port of its own choice; the front listens where clients connect.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from opentelemetry.metrics import CallbackOptions, Observation
from pydantic import FilePath

from chassis import telemetry, topics
from chassis.process import Process
from chassis.process import main as run
from chassis.settings import Address, Settings
from cli.kafka_budget import Budget
from cli.kafka_front import Front
from cli.librdkafka import MockCluster


class MockKafkaSettings(Settings):
    """What the embedded broker is told."""

    kafka_listen: Address = "127.0.0.1:9092"
    """Where clients connect."""
    kafka_topics_file: FilePath | None = None
    """The topics that exist from the start, with the groups that read them. Others appear when they are used."""


async def serve(process: Process[MockKafkaSettings]) -> None:
    """Runs the cluster and its front until the process is stopped."""
    settings = process.settings
    declared = topics.load(settings.kafka_topics_file) if settings.kafka_topics_file else []
    host, _, port = settings.kafka_listen.rpartition(":")
    cluster = MockCluster()
    cluster.advertise(host, int(port))
    for topic in declared:
        cluster.create_topic(topic.name, topic.partitions)
    budget = Budget({topic.name: topic.groups for topic in declared})
    _observe(budget)
    front = Front(cluster.address, budget)
    async with await asyncio.start_server(front.connected, host, int(port)):
        await process.until_stopped()


def _observe(budget: Budget) -> None:
    def held_bytes(_options: CallbackOptions) -> Iterable[Observation]:
        for (topic, partition), books in list(budget.partitions.items()):
            yield Observation(books.held_bytes, {"topic": topic, "partition": str(partition)})

    telemetry.meter(__name__).create_observable_gauge(
        "casebook.embedded.kafka.held",
        [held_bytes],
        unit="By",
        description="What the books hold of a partition: everything since the first event that a reader still needs",
    )


if __name__ == "__main__":
    run("kafka", MockKafkaSettings, {"serve": serve})
