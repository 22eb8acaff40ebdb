"""What holds on the embedded parts holds on production's: Redis 7, PostgreSQL 16, Apache Kafka 4 in containers.

The same tests run again, in a pytest of their own, against the containers' addresses.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import docker
import docker.errors
import pytest
from testcontainers.community.postgres import PostgresContainer
from testcontainers.community.redis import RedisContainer
from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

from cli.processes import free_ports

CHECKOUT = Path(__file__).parents[2]
START_SECONDS = 120

# Redis and PostgreSQL are told apart by what runs on them; the broker that a test kills is not one of these.
TESTS = (
    "tests/integration/test_database.py",
    "tests/integration/test_events_delivery.py",
    "tests/integration/test_events_dead_letters.py",
    "tests/integration/test_outbox.py",
    "tests/integration/test_recommender_online_features.py",
    "tests/unit/gateway/test_rate_limit.py",
)


@pytest.fixture(scope="module")
def engine() -> None:
    """A Docker engine that answers; skips with the reason where there is none."""
    try:
        docker.from_env(timeout=10).ping()
    except (docker.errors.DockerException, OSError) as error:
        pytest.skip(f"no Docker engine answers: {error}")


@pytest.fixture(scope="module")
def addresses(engine: None) -> Iterator[dict[str, str]]:
    """The containers' addresses, as the fixtures of the tests take them."""
    [kafka_port] = free_ports(1)
    # A broker tells its clients where it is: so the port outside is the one inside.
    kafka = DockerContainer("apache/kafka:4.1.0").with_bind_ports(kafka_port, kafka_port)
    for name, value in {
        "KAFKA_NODE_ID": "1",
        "KAFKA_PROCESS_ROLES": "broker,controller",
        "KAFKA_LISTENERS": f"PLAINTEXT://:{kafka_port},CONTROLLER://:9093",
        "KAFKA_ADVERTISED_LISTENERS": f"PLAINTEXT://127.0.0.1:{kafka_port}",
        "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
        "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
        "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
        "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
    }.items():
        kafka = kafka.with_env(name, value)
    started = LogMessageWaitStrategy("Kafka Server started").with_startup_timeout(START_SECONDS)
    with (
        RedisContainer("redis:7") as redis,
        PostgresContainer("postgres:16", driver=None) as postgres,
        kafka.waiting_for(started),
    ):
        yield {
            "CASEBOOK_TEST_REDIS": f"redis://127.0.0.1:{redis.get_exposed_port(6379)}/0",
            "CASEBOOK_TEST_POSTGRES": f"postgresql://{postgres.username}:{postgres.password}"
            f"@127.0.0.1:{postgres.get_exposed_port(5432)}/postgres",
            "CASEBOOK_TEST_KAFKA": f"127.0.0.1:{kafka_port}",
        }


@pytest.mark.docker
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_same_tests_pass_on_containers(addresses):
    command = [sys.executable, "-m", "pytest", "-q", *TESTS]
    ended = subprocess.run(
        command, cwd=CHECKOUT, env=os.environ | addresses, capture_output=True, text=True, timeout=590, check=False
    )

    assert ended.returncode == 0, ended.stdout[-4000:]
