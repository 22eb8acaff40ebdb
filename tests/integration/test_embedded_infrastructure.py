"""The embedded Redis, PostgreSQL and Kafka: that they start and stop (as root too), and what the broker refuses."""

import os
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
import redis
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import PolicyViolationError

from cli.kafka_budget import BYTES_LIMIT
from cli.postgres_server import SUPERUSER, postgres_server, postgres_url
from cli.processes import free_ports
from cli.redis_server import redis_server, redis_url
from tests.fixtures.infrastructure import EmbeddedKafka, Postgres, mock_kafka, running

BATCH = b"x" * 100_000
TOPICS = """
defaults: {partitions: 3, replication: 1}
dead_letters: {partitions: 1}
topics:
  orders.v1: {key: customer, groups: [billing, shipping]}
"""


def test_redis_keeps_its_data_over_a_restart_and_wants_the_password(tmp_path: Path) -> None:
    [port] = free_ports(1)
    spec = redis_server(tmp_path, port, "secret")
    with running(spec):
        redis.Redis.from_url(redis_url(f"127.0.0.1:{port}", "secret")).set("a", "1")
        with pytest.raises(redis.AuthenticationError):
            redis.Redis(port=port).ping()

    with running(spec):
        assert redis.Redis.from_url(redis_url(f"127.0.0.1:{port}", "secret")).get("a") == b"1"


def test_postgres_keeps_its_data_over_a_restart_and_never_runs_as_root(tmp_path: Path) -> None:
    [port] = free_ports(1)
    url = postgres_url(f"127.0.0.1:{port}", SUPERUSER, "secret", "postgres")
    with running(postgres_server(tmp_path, port, "secret")) as process:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
        assert psutil.Process(process.pid).uids().effective != 0

    with running(postgres_server(tmp_path, port, "secret")), psycopg.connect(url) as connection:
        assert connection.execute("SELECT one FROM kept").fetchone() == (1,)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a folder that others can't enter, and enter it")
def test_postgres_started_by_root_runs_in_a_folder_that_only_root_can_enter(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    (closed / "postgres").mkdir(parents=True)
    closed.chmod(0o700)
    [port] = free_ports(1)

    with running(postgres_server(closed / "postgres", port, "secret")) as process:
        assert psutil.Process(process.pid).uids().effective != 0

    assert closed.stat().st_mode & 0o777 == 0o700, "nobody's permissions were changed"


def test_a_service_role_may_not_touch_what_the_owner_has_not_granted(postgres: Postgres) -> None:
    mine, other = postgres.create_database(), postgres.create_database()
    with psycopg.connect(mine.owner) as connection:
        connection.execute("CREATE TABLE secrets (id int)")

    with psycopg.connect(mine.service) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("SELECT * FROM secrets")
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(mine.service.rpartition("/")[0] + "/" + other.name)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[EmbeddedKafka]:
    """A broker of this test's own, which knows that two groups read `orders.v1`."""
    file = tmp_path / "topics.yaml"
    file.write_text(TOPICS)
    port, ops = free_ports(2)
    with running(mock_kafka(port, ops, str(file))):
        yield EmbeddedKafka(f"127.0.0.1:{port}", ops)


@pytest.fixture
def publish(broker: EmbeddedKafka) -> Iterator[Callable[[], int]]:
    """Publishes one batch to a partition; returns its offset."""
    producer = producer_for(broker)
    yield lambda: producer.send("orders.v1", BATCH, partition=0).get(10).offset
    producer.close(timeout=2)


def producer_for(broker: EmbeddedKafka) -> KafkaProducer:
    return KafkaProducer(
        bootstrap_servers=broker.bootstrap,
        api_version=broker.api_version,
        acks="all",
        enable_idempotence=False,  # an idempotent producer of kafka-python never sends again after a refusal
        delivery_timeout_ms=8000,
        request_timeout_ms=5000,
    )


def publish_until_refused(publish: Callable[[], int]) -> int:
    """The number of batches that were taken."""
    for taken in range(2 * BYTES_LIMIT // len(BATCH)):
        try:
            publish()
        except PolicyViolationError:
            return taken
    pytest.fail("nothing was refused")


def publish_when_there_is_room(publish: Callable[[], int]) -> int:
    """A reader that has just left is forgotten a moment later."""
    deadline = time.monotonic() + 10
    while True:
        try:
            return publish()
        except PolicyViolationError:
            assert time.monotonic() < deadline, "no room within 10 s"


def consumer(broker: EmbeddedKafka, group: str | None) -> KafkaConsumer:
    return KafkaConsumer(
        bootstrap_servers=broker.bootstrap,
        api_version=broker.api_version,
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=50,
    )


def read_on(broker: EmbeddedKafka, group: str, until: int) -> None:
    """A member of the group goes on where the group was, commits at `until`, and has missed nothing."""
    partition = TopicPartition("orders.v1", 0)
    member = consumer(broker, group)
    member.assign([partition])
    expected = member.committed(partition) or 0
    member.seek(partition, expected)
    while expected < until:
        records = member.poll(5000, max_records=until - expected)
        assert records, f"{group} waits at {expected} of {until}"
        for record in records[partition]:
            assert record.offset == expected, f"{group} was not given {expected}"
            expected += 1
    member.commit()
    member.close()


def held_bytes(broker: EmbeddedKafka) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{broker.ops}/metrics", timeout=5) as answer:
        return answer.read().decode()


def test_the_broker_has_the_topics_of_the_file(broker: EmbeddedKafka) -> None:
    asking = consumer(broker, None)

    assert asking.topics() == {"orders.v1", "orders.v1.dlq"}
    assert asking.partitions_for_topic("orders.v1") == {0, 1, 2}


def test_what_the_broker_would_drop_unread_is_refused(broker: EmbeddedKafka, publish: Callable[[], int]) -> None:
    taken = publish_until_refused(publish)

    assert taken == BYTES_LIMIT // (len(BATCH) + 72), "72 bytes of each batch are headers"
    asking = consumer(broker, None)
    partition = TopicPartition("orders.v1", 0)
    assert asking.beginning_offsets([partition])[partition] == 0, "the broker still holds all that it took"
    assert asking.end_offsets([partition])[partition] == taken
    metrics = held_bytes(broker)
    assert 'casebook_embedded_kafka_refused_total{topic="orders.v1"} 1.0' in metrics
    assert 'casebook_embedded_kafka_held_bytes{partition="0",topic="orders.v1"}' in metrics


def test_the_slowest_group_decides_what_may_go(broker: EmbeddedKafka, publish: Callable[[], int]) -> None:
    taken = publish_until_refused(publish)

    read_on(broker, "billing", until=taken)
    with pytest.raises(PolicyViolationError):
        publish()  # shipping has read nothing yet

    read_on(broker, "shipping", until=2)
    assert publish_when_there_is_room(publish) == taken
    assert publish() == taken + 1
    with pytest.raises(PolicyViolationError):
        publish()


def test_a_refusal_leaves_the_producer_usable_and_other_partitions_open(
    broker: EmbeddedKafka, publish: Callable[[], int]
) -> None:
    publish_until_refused(publish)
    producer = producer_for(broker)

    with pytest.raises(PolicyViolationError):
        producer.send("orders.v1", BATCH, partition=0).get(10)

    assert producer.send("orders.v1", b"small", partition=1).get(10).offset == 0
    producer.close(timeout=2)


def test_all_that_is_acknowledged_is_read_however_much_it_is(broker: EmbeddedKafka, publish: Callable[[], int]) -> None:
    """Three times what the broker holds goes through it, with refusals on the way, and none is lost."""
    written = 0
    while written < 3 * BYTES_LIMIT // len(BATCH):
        try:
            publish()
            written += 1
        except PolicyViolationError:
            for group in ("billing", "shipping"):
                read_on(broker, group, until=written)

    for group in ("billing", "shipping"):
        read_on(broker, group, until=written)
