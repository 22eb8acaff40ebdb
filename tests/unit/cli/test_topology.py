"""The embedded topology as data: who gets what, and in which order."""

from pathlib import Path

import pytest

from cli.home import Home
from cli.processes import ProcessSpec
from cli.topology import Topology, embedded


@pytest.fixture(scope="module")
def topology(tmp_path_factory: pytest.TempPathFactory) -> Topology:
    home = tmp_path_factory.mktemp("home")
    return embedded(Home(home), home / "ml-100k", http_port=8080)


def process(topology: Topology, name: str) -> ProcessSpec:
    [found] = [spec for spec in topology.processes if spec.name == name]
    return found


def test_each_process_stands_after_what_it_depends_on(topology: Topology) -> None:
    seen: set[str] = set()
    for spec in topology.processes:
        assert seen.issuperset(spec.depends_on), f"{spec.name} stands before {set(spec.depends_on) - seen}"
        assert spec.name not in seen
        seen.add(spec.name)


def test_only_migrations_get_the_owner_s_password(topology: Topology) -> None:
    owners = [spec.name for spec in topology.processes if "CASEBOOK_DATABASE_OWNER_URL" in spec.env]

    assert owners == ["inference migrate", "recommender migrate", "support migrate", "gateway migrate"]


def test_no_two_processes_listen_on_one_port(topology: Topology) -> None:
    listening = [value for spec in topology.processes for name, value in spec.env.items() if name.endswith("_LISTEN")]

    assert len(listening) == len(set(listening))
    assert "127.0.0.1:8080" in listening


def test_no_secret_stands_in_a_command_line(topology: Topology) -> None:
    home = Path(process(topology, "databases").env["CASEBOOK_HOME"])
    secrets = [file.read_text() for file in (home / "secrets").iterdir()]

    assert secrets
    for spec in topology.processes:
        assert not any(secret in argument for secret in secrets for argument in spec.command), spec.name


def test_services_agree_on_addresses(topology: Topology) -> None:
    gateway = process(topology, "gateway serve").env

    assert gateway["CASEBOOK_RECOMMENDER_ADDRESS"] == process(topology, "recommender serve").env["CASEBOOK_GRPC_LISTEN"]
    support = process(topology, "support serve").env["CASEBOOK_GRPC_LISTEN"]
    assert gateway["CASEBOOK_SUPPORT_ADDRESS"] == support
    assert process(topology, "support timers").env["CASEBOOK_SUPPORT_ADDRESS"] == support
    assert gateway["CASEBOOK_INFERENCE_ADDRESS"] == process(topology, "inference serve").env["CASEBOOK_GRPC_LISTEN"]
    assert gateway["CASEBOOK_KAFKA_BOOTSTRAP"] == process(topology, "kafka").env["CASEBOOK_KAFKA_LISTEN"]
