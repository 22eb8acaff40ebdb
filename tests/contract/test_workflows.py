"""What is released is scanned, and production's manifests name it; a new service's image can't be forgotten."""

import re
from pathlib import Path

import yaml

CHECKOUT = Path(__file__).parents[2]
WORKFLOWS = CHECKOUT / ".github" / "workflows"


def built(workflow: str) -> set[str]:
    return set(yaml.safe_load((WORKFLOWS / workflow).read_text())["jobs"]["images"]["strategy"]["matrix"]["image"])


def test_every_image_of_production_is_released_and_scanned():
    production = yaml.safe_load((CHECKOUT / "k8s" / "overlays" / "production" / "kustomization.yaml").read_text())
    named = {image["name"].removeprefix("casebook/") for image in production["images"]}
    [renamed] = re.findall(r"for image in (.+); do", (WORKFLOWS / "release.yml").read_text())

    assert built("release.yml") == built("security.yml") == set(renamed.split()) == named


def test_an_audit_that_could_not_ask_fails():
    """By itself pip-audit skips what the advisory service does not answer for, and calls it a success."""
    steps = yaml.safe_load((WORKFLOWS / "security.yml").read_text())["jobs"]["dependencies"]["steps"]
    [command] = re.findall(r"pip-audit@.+", (CHECKOUT / "Makefile").read_text())

    assert {"run": "make audit"} in steps
    assert "--strict" in command.split()
