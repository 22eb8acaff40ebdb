"""The SLO file, and verdicts by it."""

import re

import pytest

from chassis.telemetry import LATENCY_BUCKETS
from loadtests import slos
from loadtests.slos import Slo, SloError, judge, read
from loadtests.steps import Tally

GOOD = {"p50_ms": 25, "p99_ms": 250, "error_rate": 0.001}


def written(folder, **changes):
    given = {key: value for key, value in (GOOD | changes).items() if value is not None}
    file = folder / "slos.yaml"
    file.write_text("endpoints:\n  POST /v1/things: {" + ", ".join(f"{k}: {v}" for k, v in given.items()) + "}\n")
    return file


def test_the_shipped_file_is_good():
    assert "POST /v1/recommendations" in read(slos.SHIPPED)


def test_its_times_are_the_boundaries_of_the_services_histograms():
    assert tuple(bucket / 1000 for bucket in slos.LATENCY_BUCKETS_MS) == LATENCY_BUCKETS


def test_a_good_file(tmp_path):
    assert read(written(tmp_path)) == {"POST /v1/things": Slo(25, 250, 0.001)}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"p99_ms": None}, "p99_ms: is missing"),
        ({"p999_ms": 500}, "p999_ms: is none of ['error_rate', 'p50_ms', 'p99_ms']"),
        ({"p50_ms": 30}, "p50_ms: must be a boundary of the histograms (0.5, 1, 2.5, 5, 10, 25, 50,"),
        ({"p99_ms": "fast"}, "is 'fast'"),
        ({"p99_ms": 10}, "p99_ms: must be at least p50_ms (25), is 10"),
        ({"error_rate": 5}, "error_rate: must be from 0 to 1, is 5"),
        ({"error_rate": True}, "error_rate: must be from 0 to 1, is True"),
    ],
)
def test_a_bad_one_is_refused_with_its_endpoint_field_and_limit(tmp_path, changes, says):
    with pytest.raises(SloError, match=re.escape("endpoints: POST /v1/things: ")) as refused:
        read(written(tmp_path, **changes))

    assert says in str(refused.value)


@pytest.mark.parametrize("content", ["", "[]", "endpoints: {}", "endpoints: [1]", "endpoints: {a: 1}", "a: [", "1"])
def test_what_is_no_slo_file_at_all(tmp_path, content):
    file = tmp_path / "slos.yaml"
    file.write_text(content)

    with pytest.raises(SloError, match=re.escape(str(file))):
        read(file)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(SloError, match="No such file"):
        read(tmp_path / "slos.yaml")


def test_a_verdict_per_promise():
    took = Tally(requests=200, failures=1, total_ms=0, times_ms={20: 197, 300: 3})

    verdicts = {each.objective: each for each in judge({"x": Slo(25, 250, 0.001)}, {"x": took})}

    assert {objective: each.holds for objective, each in verdicts.items()} == {
        "p50_ms": True, "p99_ms": False, "error_rate": False,
    }  # fmt: skip
    assert verdicts["p99_ms"].measured == 300
    assert verdicts["error_rate"].measured == 0.005


def test_an_endpoint_without_a_promise_does_not_hold():
    [verdict] = judge({}, {"POST /v1/things": Tally(requests=1)})

    assert not verdict.holds
    assert "no SLO" in verdict.remark


def test_a_promise_that_nothing_asked_for_is_left_out():
    assert judge({"POST /v1/things": Slo(25, 250, 0.001)}, {}) == []


def test_a_99th_percentile_of_a_few_says_so():
    few = Tally(requests=20, times_ms={20: 20})

    [remark] = {each.remark for each in judge({"x": Slo(25, 250, 0.001)}, {"x": few})} - {""}

    assert remark == "of 20 requests only"
