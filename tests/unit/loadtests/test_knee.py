"""Where a ramp bends, on curves that theory gives."""

import math

from loadtests import knee
from loadtests.slos import Slo
from loadtests.steps import Step, Tally, Window

SLOS = {"POST /v1/things": Slo(p50_ms=100, p99_ms=500, error_rate=0.01)}
SERVICE_MS = 10.0
"""One server, ten milliseconds a request: at most 100 requests a second."""
THINK_SECONDS = 1.0


def step(users, throughput, mean_ms, failures=0, seconds=10.0):
    requests = round(throughput * seconds)
    tally = Tally(requests, failures, requests * mean_ms, {round(mean_ms): requests})
    windows = tuple(Window(2.0, round(throughput * 2), throughput * 2 * mean_ms) for _ in range(5))
    return Step(users, seconds, {"POST /v1/things": tally}, windows)


def closed_queue(users):
    """Exact mean value analysis of one queue whose users think for a second (Reiser and Lavenberg, 1980)."""
    waiting, mean_ms, throughput = 0.0, 0.0, 0.0
    for population in range(1, users + 1):
        mean_ms = SERVICE_MS * (1 + waiting)
        throughput = population / (THINK_SECONDS + mean_ms / 1000)
        waiting = throughput * mean_ms / 1000
    return step(users, throughput, mean_ms)


def test_the_knee_of_a_queue_is_before_it_is_full():
    steps = [closed_queue(users) for users in (10, 20, 40, 60, 80, 100, 120, 160)]

    ramp = knee.find(steps, SLOS)

    # (think + service) / service users would keep the one server busy if nobody ever waited: 101.
    assert steps[ramp.knee].users in (60, 80)
    assert ramp.knee_reached
    assert steps[ramp.saturated].users == 120


def test_a_step_that_keeps_less_than_half_of_what_it_adds_is_saturated():
    steps = [step(10, 10, 5), step(20, 19, 6), step(40, 28.5, 30), step(60, 38.5, 300)]

    ramp = knee.find(steps, SLOS)

    assert knee.offered(steps, 2) == 40
    assert math.isclose(knee.kept_share(steps, 2), 9.5 / 20)
    assert ramp.saturated == 2


def test_a_ramp_that_only_gets_better_has_no_knee_yet():
    ramp = knee.find([step(10, 10, 5), step(20, 20, 5)], SLOS)

    assert not ramp.knee_reached
    assert ramp.saturated is None


def test_capacity_ends_before_the_first_slo_that_does_not_hold():
    ramp = knee.find([step(10, 10, 5), step(20, 20, 50, failures=5), step(30, 30, 50)], SLOS)

    assert ramp.capacity == 0
    assert knee.find([step(10, 10, 600)], SLOS).capacity is None


def test_steps_that_vary_say_by_how_much():
    steady, varied = step(10, 10, 5), Step(10, 10, {}, tuple(Window(1, n, n * 5.0) for n in (8, 12, 8, 12)))

    assert steady.throughput_noise == 0
    # Standard deviation 2.31 over the root of 4 windows, beside a mean of 10.
    assert math.isclose(varied.throughput_noise, 0.1155, rel_tol=1e-3)
