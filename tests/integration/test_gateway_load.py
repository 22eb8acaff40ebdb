"""The Locust file works: every kind of user gets answers, and the exit status is the verdict.

How fast the system is, is a question for `make load`, not for a test: the SLOs here can't be missed, or can't be kept.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from cli.processes import free_ports
from loadtests import slos
from tests.unit.gateway.parts import served_gateway

CHECKOUT = Path(__file__).parents[2]
LOCUSTFILE = CHECKOUT / "loadtests" / "locustfile.py"
LENIENT = {"p50_ms": 10_000, "p99_ms": 10_000, "error_rate": 0.0}
IMPOSSIBLE = {"p50_ms": 0.5, "p99_ms": 0.5, "error_rate": 0.0}


@pytest.fixture
def api(gateway_database, redis_url):
    with served_gateway(gateway_database, redis_url) as api:
        yield api


def slo_file(folder, promise):
    file = folder / "slos.yaml"
    file.write_text(yaml.safe_dump({"endpoints": dict.fromkeys(slos.read(slos.SHIPPED), promise)}))
    return str(file)


def command(*arguments):
    return [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), *arguments]


def environment():
    # Without the addresses of services: users over HTTP alone.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CASEBOOK_")}
    return kept | {"PYTHONPATH": f"{CHECKOUT / 'services'}{os.pathsep}{CHECKOUT}"}


def locust(*arguments):
    return subprocess.run(
        command("--headless", "--only-summary", *arguments), env=environment(), capture_output=True, text=True,
        timeout=50, check=False,
    )  # fmt: skip


def test_every_kind_of_user_is_answered_and_the_summary_says_so(api, tmp_path):
    summary = tmp_path / "run" / "summary.json"
    done = locust(
        *("-u", "18", "-r", "18", "-t", "9s", "--host", api.url, "--api-key", api.key),
        *("--slos", slo_file(tmp_path, LENIENT), "--summary", str(summary)),
    )

    assert done.returncode == 0, done.stdout + done.stderr
    written = json.loads(summary.read_text())
    [step] = written["steps"]
    assert step["users"] == 18
    # What a customer says after the first turn, and who looks at their history, is left to chance.
    assert {verdict["endpoint"] for verdict in written["slos"]} >= {
        "POST /v1/recommendations", "POST /v1/events", "POST /v1/events:batch",
        "POST /v1/support/conversations", "GET /v1/support/handoffs",
    }  # fmt: skip
    assert written["holds"]
    assert written["failures"] == {}


def test_an_slo_that_does_not_hold_is_the_exit_status(api, tmp_path):
    done = locust(
        *("-u", "4", "-r", "4", "-t", "3s", "--host", api.url, "--api-key", api.key),
        *("--slos", slo_file(tmp_path, IMPOSSIBLE)),
    )

    assert done.returncode == 1
    assert "objectives do not hold" in done.stdout


def test_a_master_judges_what_its_worker_did(api, tmp_path):
    [port] = map(str, free_ports(1))
    host = ("--host", api.url, "--api-key", api.key)
    worker = subprocess.Popen(
        command("--worker", "--master-host", "127.0.0.1", "--master-port", port, *host),
        env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        done = locust(
            *("--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", port, "--expect-workers", "1"),
            *("-u", "4", "-r", "4", "-t", "6s", *host, "--slos", slo_file(tmp_path, LENIENT)),
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "objectives hold" in done.stdout
        worker.wait(20)
    finally:
        worker.kill()
        worker.wait()


def test_without_a_key_nothing_is_sent():
    done = locust("-u", "1", "-t", "1s", "--host", "http://127.0.0.1:1")

    assert done.returncode != 0
    assert "CASEBOOK_API_KEY" in done.stderr


def test_a_bad_slo_file_ends_the_run_before_it_begins(tmp_path):
    bad = slo_file(tmp_path, LENIENT | {"error_rate": 2})
    done = locust("-u", "1", "-t", "1s", "--host", "http://127.0.0.1:1", "--api-key", "x", "--slos", bad)

    assert done.returncode != 0
    assert "error_rate: must be from 0 to 1, is 2" in done.stderr
