"""Each fault on purpose raises its alert, and the alert clears when the fault is over (infra/faults.md)."""

from contextlib import contextmanager

import pytest

from tests.e2e.visitors import visiting
from tests.fixtures.system import until

FAULTS = [
    ("slow-model", "ModelSlow", {"model": "din"}),
    ("wrong-version", "WrongVersion", {"model": "din"}),
    ("stale-features", "FeaturesStale", {"group": "recommender.features"}),
    ("lost-consumer", "ConsumerLost", {"group": "recommender.features"}),
]


@contextmanager
def ordered(system, fault):
    system.casebook("fault", "set", fault, "--seconds", "120")
    try:
        yield
    finally:
        system.casebook("fault", "clear", fault)


@contextmanager
def released(walk, version="2"):
    """A canary of the ranker, ended at the end."""
    walk.call("POST", "/v1/models/din:canary", {"version": version, "share": 0.1, "reason": "a fault on purpose"})
    try:
        yield
    finally:
        walk.call("POST", "/v1/models/din:rollback", {"reason": "the fault is over"})


@pytest.mark.parametrize(("fault", "alert", "labels"), FAULTS, ids=[fault for fault, _, _ in FAULTS])
def test_a_fault_raises_its_alert_and_its_end_clears_it(system, prometheus, walk, fault, alert, labels):
    def fires():
        return any(each["alertname"] == alert and labels.items() <= each.items() for each in prometheus.firing())

    with visiting(walk):
        with ordered(system, fault):
            until(f"{fault} to begin", lambda: prometheus.query(f'casebook_fault_ordered{{fault="{fault}"}}'), 15)
            with released(walk):
                until(f"{alert} to fire", fires, 40)
        until(f"{alert} to clear", lambda: not fires(), 60)


def test_faults_are_listed_and_end(system):
    with ordered(system, "slow-model"):
        assert "slow-model" in system.casebook("fault", "list")

    assert "no faults" in system.casebook("fault", "list")
