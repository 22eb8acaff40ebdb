"""The Locust file works: every kind of user gets answers. How fast is a benchmark's question, not a test's."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from chassis import database
from tests.unit.gateway.parts import served_gateway

LOCUSTFILE = Path(__file__).parents[2] / "loadtests" / "locustfile.py"


@pytest.fixture
def api(postgres, redis_url):
    urls = postgres.create_database("gateway")
    database.migrate("gateway", urls.owner, urls.service)
    with served_gateway(urls.service, redis_url) as api:
        yield api


def locust(*arguments):
    command = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--headless", "--only-summary", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)


def test_every_kind_of_user_is_answered(api):
    done = locust("-u", "10", "-r", "10", "-t", "4s", "--json", "--host", api.url, "--api-key", api.key)

    assert done.returncode == 0, done.stderr
    statistics = {(entry["method"], entry["name"]): entry for entry in json.loads(done.stdout)}
    assert {name for _, name in statistics} == {"/v1/recommendations", "/v1/events", "/v1/events:batch"}
    for name, entry in statistics.items():
        assert entry["num_requests"] > 0, name
        assert entry["num_failures"] == 0, name


def test_without_a_key_nothing_is_sent():
    done = locust("-u", "1", "-t", "1s", "--host", "http://127.0.0.1:1")

    assert done.returncode != 0
    assert "CASEBOOK_API_KEY" in done.stderr
