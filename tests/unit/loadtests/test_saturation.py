"""Reasons out of /metrics pages, as a scrape finds them."""

import socket

import pytest

from loadtests import saturation
from loadtests.people import People, zipf
from loadtests.saturation import Observed
from loadtests.steps import Step, Tally, Window
from loadtests.telemetry import Activity, Look, Replica, Sources

SECONDS = 10.0
ENDPOINT = "POST /v1/recommendations"
GATEWAY = Replica("gateway", "127.0.0.1:9090")


def page(cpu, gateway=0.0, ranking=0.0, calls=0, lag=0):
    """What all processes say in one page: seconds spent below two timers, over `calls`."""
    method = '{rpc_service="casebook.recommender.v1.RecommenderService",method="Recommend",code="OK"}'
    return f"""# TYPE process_cpu_seconds_total counter
process_cpu_seconds_total {cpu}
# TYPE http_server_request_duration_seconds histogram
http_server_request_duration_seconds_bucket{{http_route="/v1/recommendations",le="+Inf"}} {calls}
http_server_request_duration_seconds_count{{http_route="/v1/recommendations"}} {calls}
http_server_request_duration_seconds_sum{{http_route="/v1/recommendations"}} {gateway + ranking}
# TYPE casebook_rpc_client_duration_seconds histogram
casebook_rpc_client_duration_seconds_count{method} {calls}
casebook_rpc_client_duration_seconds_sum{method} {ranking}
# TYPE casebook_rpc_server_duration_seconds histogram
casebook_rpc_server_duration_seconds_count{method} {calls}
casebook_rpc_server_duration_seconds_sum{method} {ranking}
# TYPE casebook_recommender_stage_duration_seconds histogram
casebook_recommender_stage_duration_seconds_count{{stage="ranking"}} {calls}
casebook_recommender_stage_duration_seconds_sum{{stage="ranking"}} {ranking}
# TYPE casebook_consumer_lag gauge
casebook_consumer_lag{{group="recommender.features",topic="behaviour.events.v1",partition="0"}} {lag}
# TYPE casebook_event_publish_duration_seconds histogram
casebook_event_publish_duration_seconds_count{{topic="behaviour.events.v1",outcome="published"}} {calls}
"""


def observed(calls, mean_ms, busy, generator=0.1, redis=0.1, **after):
    before = Look(0.0, {GATEWAY: page(0.0)}, {"redis": 1.0}, 100.0, 1.0)
    redis_seconds = {"redis": 1.0 + redis * SECONDS}
    later = Look(SECONDS, {GATEWAY: page(calls=calls, **after)}, redis_seconds, 100.0 + busy * SECONDS, 2.0)
    tally = Tally(calls, 0, calls * mean_ms, {round(mean_ms): calls})
    step = Step(10, SECONDS, {ENDPOINT: tally}, (Window(SECONDS, calls, 0),))
    return Observed(step, Activity(before, later), generator)


LIGHT = {"calls": 100, "mean_ms": 12.0, "busy": 0.5, "cpu": 2.0, "gateway": 0.5, "ranking": 0.5}


def test_cpu_and_time_are_what_was_added_between_two_looks():
    light = observed(**LIGHT)

    assert light.cores == {"gateway": 0.2, "redis": 0.1, saturation.GENERATOR: 0.1}
    assert light.other_cores == pytest.approx(0.1)
    reasons = saturation.explain(light, light, machine_cores=2)
    ways = {each.heavy.name.split(":")[0]: each.heavy for each in reasons.grown[ENDPOINT]}
    assert ways["gateway"].own_ms == pytest.approx(5.0)
    assert ways["stage ranking"].mean_ms == pytest.approx(5.0)
    assert ways["stage ranking"].in_flight == pytest.approx(0.05)


def test_the_stage_that_grew_most_is_named():
    heavy = observed(calls=200, mean_ms=130.0, busy=1.2, cpu=5.0, gateway=2.0, ranking=20.0)

    lines = saturation.explain(observed(**LIGHT), heavy, machine_cores=2).lines

    assert any("takes 130 ms in place of 12; most of it, 95 ms, came about in: stage ranking" in line for line in lines)
    assert "the machine is not full" in lines[0]


def test_a_full_machine_a_full_process_and_what_is_none_of_ours():
    heavy = observed(calls=200, mean_ms=130.0, busy=1.95, cpu=9.0, gateway=2.0, ranking=20.0)

    lines = saturation.explain(observed(**LIGHT), heavy, machine_cores=2).lines

    assert "the machine is full: 1.95 of 2 cores are busy" in lines[0]
    assert "0.85 are none of ours" in lines[0]
    assert any(line.startswith("gateway is full: it uses 0.90 cores") for line in lines)


def test_a_load_generator_that_is_full_is_not_the_systems_limit():
    heavy = observed(calls=200, mean_ms=20.0, busy=1.5, generator=0.95, cpu=4.0, gateway=1.0, ranking=1.0)

    lines = saturation.explain(observed(**LIGHT), heavy, machine_cores=2).lines

    assert any("load generator is full" in line and "--processes" in line for line in lines)


def test_a_busy_server_that_is_no_python_process_is_not_said_to_be_one():
    lines = saturation.explain(observed(**LIGHT), observed(**LIGHT, redis=0.9), machine_cores=2).lines

    assert any(line.startswith("redis uses 0.90 cores") for line in lines)
    assert not any("redis is full" in line for line in lines)


def test_a_consumer_that_does_not_keep_up():
    # 100 events are published in 10 s.
    light, behind = observed(**LIGHT, lag=140), observed(**LIGHT, lag=200)
    says = (
        "the consumer recommender.features falls behind: 200 events of behaviour.events.v1, 20 s of what is published"
    )

    assert any(line.startswith(says) for line in saturation.explain(light, behind, machine_cores=2).lines)
    assert not any("falls behind" in line for line in saturation.explain(light, light, machine_cores=2).lines)


def test_a_timer_that_no_process_shows_is_named():
    lines = saturation.explain(observed(**LIGHT), observed(**LIGHT), machine_cores=2).lines

    assert "no process shows casebook_recommender_stage_duration_seconds (stage=recall)" in "\n".join(lines)


def test_a_process_that_was_started_anew_is_left_out():
    restarted = Activity(Look(0.0, {GATEWAY: page(5.0)}, {}, 0.0, 0.0), Look(1.0, {GATEWAY: page(1.0)}, {}, 0.0, 0.0))

    assert restarted.cores == {}


def replicas(cpu):
    """What a look finds: /metrics of as many replicas of the gateway."""
    return {Replica("gateway", f"10.0.0.{number}:9090"): page(seconds) for number, seconds in enumerate(cpu)}


def test_replicas_count_together_and_are_full_when_each_is():
    light = observed(**LIGHT)
    activity = Activity(Look(0.0, replicas([1, 2]), {}, 0.0, 0.0), Look(SECONDS, replicas([10, 11, 5]), {}, 0.0, 0.0))
    two_full = Observed(light.step, activity, 0.1)

    assert two_full.cores == {"gateway": 1.8, saturation.GENERATOR: 0.1}, "the third came in between"
    lines = saturation.explain(light, two_full, machine_cores=8).lines
    assert any(line.startswith("gateway is full: it uses 1.80 cores in 2 replicas") for line in lines)
    activity = Activity(Look(0.0, replicas([1, 2]), {}, 0.0, 0.0), Look(SECONDS, replicas([8, 5]), {}, 0.0, 0.0))
    assert "is full" not in "".join(saturation.explain(light, Observed(light.step, activity, 0.1), 8).lines[1:])


def test_a_name_is_looked_up_at_each_look_and_one_that_leads_nowhere_is_left_out(monkeypatch):
    addresses = [("10.0.0.2", 9090), ("10.0.0.1", 9090), ("fd00::1", 9090, 0, 0)]

    def lookup(host, *_, **__):
        if host != "gateway":
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [(socket.AF_INET6 if len(place) == 4 else socket.AF_INET, 1, 6, "", place) for place in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)

    found = list(Sources.parse("gateway serve=gateway:9090,recommender serve=recommender:9090", "").replicas())

    assert found == [Replica("gateway serve", "10.0.0.1:9090"), Replica("gateway serve", "10.0.0.2:9090")]


@pytest.mark.parametrize("text", ["gateway", "=1", "gateway="])
def test_sources_that_are_no_pairs_are_refused(text):
    with pytest.raises(ValueError, match="is not name=value"):
        Sources.parse(text, "")


def test_few_people_make_most_of_the_traffic():
    people = People(visitors=100_000, known_users=943, items=1682, exponent=1.0, seed=1)
    drawn = [people.somebody() for _ in range(20_000)]
    hottest = {str(rank) for rank in range(1, 11)}

    # Harmonic numbers: H(943) / H(100,000) = 0.614, H(10) / H(100,000) = 0.242.
    assert sum(not user.startswith("cold-") for user in drawn) / len(drawn) == pytest.approx(0.614, abs=0.015)
    assert sum(user in hottest for user in drawn) / len(drawn) == pytest.approx(0.242, abs=0.015)
    assert {zipf(people.chance, 3, 1.0) for _ in range(100)} == {1, 2, 3}
