"""Two runs side by side."""

import json

import pytest
from rich.console import Console

from loadtests import compare
from loadtests.report import Run
from loadtests.slos import Slo
from tests.unit.loadtests.test_knee import step


@pytest.mark.parametrize(
    ("ratio", "shown"),
    [
        (compare.ratio(10, 8, 0.01, 0.01), "0.80 ± 0.01 ▼"),
        (compare.ratio(10, 10.2, 0.02, 0.02), "1.02 ± 0.03 ≈"),
        (compare.ratio(10, 13), "1.30"),
        (compare.ratio(0, 1), ""),
    ],
)
def test_a_ratio_differs_when_it_is_further_from_one_than_two_standard_errors(ratio, shown):
    assert ratio == shown


def summary(folder, name, *steps):
    run = Run.of({"POST /v1/things": Slo(100, 500, 0.01)}, steps, [None] * len(steps), [0.1] * len(steps), {}, {})
    (folder / name).mkdir()
    (folder / name / "summary.json").write_text(json.dumps(run.as_json()))


def test_steps_with_the_same_users_are_compared(tmp_path, capsys):
    summary(tmp_path, "before", step(10, 10, 20), step(20, 18, 40), step(30, 20, 90))
    summary(tmp_path, "after", step(10, 10, 10), step(20, 20, 15))

    compare.show(compare.read("before", tmp_path), compare.read(str(tmp_path / "after"), tmp_path), Console(width=150))

    shown = capsys.readouterr().out
    assert "0.50" in shown
    assert "20 users, 20.0/s" in shown
    assert "not reached" in shown


def test_a_run_that_is_not_there(tmp_path):
    with pytest.raises(compare.NoRunError, match=r"no run 'noon': .*noon/summary\.json"):
        compare.read("noon", tmp_path)
