"""What docker-compose.yml promises for every service, so that a new one can't forget it."""

import re
from pathlib import Path

import pytest
import yaml

from loadtests.telemetry import Sources

CHECKOUT = Path(__file__).parents[2]
SERVICES = yaml.safe_load((CHECKOUT / "docker-compose.yml").read_text())["services"]
CORE = {name: service for name, service in SERVICES.items() if "profiles" not in service}
BYTES = {"m": 2**20, "g": 2**30}


def memory(service: dict) -> int:
    return int(service["mem_limit"][:-1]) * BYTES[service["mem_limit"][-1]]


def one_shot(service: dict) -> bool:
    return str(service.get("restart", "")).startswith("on-failure")


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_has_few_rights_and_a_limit(name):
    service = SERVICES[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert memory(service) > 0


@pytest.mark.parametrize("name", CORE)
def test_a_server_says_when_it_is_ready_and_comes_back(name):
    service = CORE[name]

    assert one_shot(service) or (service["healthcheck"]["test"] and service["restart"] == "unless-stopped")


@pytest.mark.parametrize("name", SERVICES)
def test_an_image_is_ours_or_of_one_version(name):
    image = SERVICES[name]["image"]
    repository, _, tag = image.partition(":")

    if repository.startswith("casebook/"):
        builders = [other for other, service in SERVICES.items() if service["image"] == image and "build" in service]
        assert len(builders) == 1, builders
        assert SERVICES[name]["pull_policy"] == "never"
    else:
        assert any(character.isdigit() for character in tag)


def test_kubernetes_runs_the_same_versions():
    versions = {service["image"] for service in SERVICES.values() if not service["image"].startswith("casebook/")}
    repositories = {image.partition(":")[0] for image in versions}
    manifests = "".join(file.read_text() for file in (CHECKOUT / "k8s").rglob("*.yaml"))
    found = re.findall(r"image: ((\S+):\S+)", manifests)

    assert {image for image, repository in found if repository in repositories} == versions


def test_the_core_fits_in_6_gib():
    running = [service for service in CORE.values() if not one_shot(service)]

    assert sum(memory(service) for service in running) <= 6 * 2**30


@pytest.mark.parametrize("name", ["load", "load-ramp"])
def test_a_run_of_locust_looks_at_every_process(name):
    probed = {name: service for name, service in CORE.items() if "/app/ready.py" in str(service.get("healthcheck"))}
    expected = {" ".join(service["command"]): f"{name}:9090" for name, service in probed.items()}

    assert "loadtests/locustfile.py,loadtests/ramp.py" in SERVICES[name]["command"]
    assert Sources.parse(SERVICES[name]["environment"]["CASEBOOK_METRICS"], "").metrics == expected


def test_a_one_shot_is_waited_for():
    """`docker compose up --wait` takes an ended container for a failure unless something waits for its end."""
    waited_for = {
        name
        for service in CORE.values()
        for name, how in service.get("depends_on", {}).items()
        if how["condition"] == "service_completed_successfully"
    }

    assert waited_for == {name for name, service in CORE.items() if one_shot(service)}
