"""What is kept of a run."""

import io
import json

import pytest

from loadtests import report
from loadtests.slos import Slo
from loadtests.steps import Step, Tally, Window

EVENTS = Tally(100, 0, 1000.0, {10: 100})


@pytest.fixture
def run():
    step = Step(20, 10.0, {"POST /v1/events": EVENTS}, (Window(10.0, 100, 1000.0),))
    slos = {"POST /v1/events": Slo(p50_ms=25, p99_ms=250, error_rate=0.001)}
    return report.Run.of(slos, [step], [None], [0.1], step.endpoints, {})


def test_a_summary_is_a_file_or_one_line_of_a_log(run, tmp_path):
    log = io.StringIO()

    report.keep(run, str(tmp_path / "new" / "summary.json"), log)
    assert log.getvalue() == ""
    report.keep(run, "-", log)

    [line] = log.getvalue().splitlines()
    for kept in (line, (tmp_path / "new" / "summary.json").read_text()):
        assert json.loads(kept)["holds"] is True
        assert json.loads(kept)["steps"][0]["users"] == 20
