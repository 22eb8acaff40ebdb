"""Each fault on purpose raises its alert, and the alert clears when the fault is over (infra/faults.md)."""

from contextlib import contextmanager

import pytest
import redis

from chassis import faults
from chassis.faults import DEFAULT_TARGETS, Fault, Order
from cli.redis_server import redis_url
from tests.e2e.customers import asking
from tests.e2e.visitors import visiting
from tests.fixtures.system import until

# The fault with its target, the service that is to have it, and the alert with its labels.
FAULTS = [
    (Fault.SLOW_MODEL, "din", "inference", "ModelSlow", {"model": "din"}),
    (Fault.SLOW_MODEL, "encoder_en", "inference", "AnswersWithoutPart", {"part": "model"}),
    (Fault.WRONG_VERSION, "din", "inference", "WrongVersion", {"model": "din"}),
    (Fault.STALE_FEATURES, "recommender.features", "recommender", "FeaturesStale", {"group": "recommender.features"}),
    (Fault.LOST_CONSUMER, "recommender.features", "recommender", "ConsumerLost", {"group": "recommender.features"}),
    (Fault.LOST_CONSUMER, "support.feedback", "support", "ConsumerLost", {"group": "support.feedback"}),
]


@contextmanager
def ordered(system, fault, target):
    address, password = system.home.addresses()["CASEBOOK_REDIS_ADDRESS"], system.home.secret("redis")
    client = redis.Redis.from_url(redis_url(address, password), socket_timeout=5)
    faults.give(client, Order(fault, target, delay_seconds=0.3), seconds=120)
    try:
        yield
    finally:
        faults.clear(client, fault)


@contextmanager
def released(walk, version="2"):
    """A canary of the ranker, ended at the end."""
    walk.call("POST", "/v1/models/din:canary", {"version": version, "share": 0.1, "reason": "a fault on purpose"})
    try:
        yield
    finally:
        walk.call("POST", "/v1/models/din:rollback", {"reason": "the fault is over"})


def test_a_fault_without_a_target_is_the_first_one_of_its_kind():
    first = {fault: target for fault, target, *_ in reversed(FAULTS)}

    assert first == DEFAULT_TARGETS


@pytest.mark.parametrize(
    ("fault", "target", "service", "alert", "labels"), FAULTS, ids=[f"{fault} {target}" for fault, target, *_ in FAULTS]
)
def test_a_fault_raises_its_alert_and_its_end_clears_it(
    system, prometheus, walk, fault, target, service, alert, labels
):
    def fires():
        return any(each["alertname"] == alert and labels.items() <= each.items() for each in prometheus.firing())

    with visiting(walk), asking(walk):
        with ordered(system, fault, target):
            # Of the process that is to have it: another may hear of the order first.
            begun = f'casebook_fault_ordered{{fault="{fault}", service="{service}"}}'
            until(f"{fault} to begin", lambda: prometheus.query(begun), 15)
            with released(walk):
                until(f"{alert} to fire", fires, 40)
        until(f"{alert} to clear", lambda: not fires(), 60)


def test_the_operator_orders_lists_and_clears_a_fault(system):
    assert "slow-model of din" in system.casebook("fault", "set", "slow-model", "--delay", "0.001", "--seconds", "60")
    assert "slow-model" in system.casebook("fault", "list")
    system.casebook("fault", "clear")

    assert "no faults" in system.casebook("fault", "list")
