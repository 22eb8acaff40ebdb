"""The gateway as its processes: migrate, bootstrap, serve, and a drain that loses no request."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from casebook.recommender.v1 import recommender_pb2_grpc as recommender_rpc
from casebook.releases.v1 import releases_pb2_grpc as releases_rpc
from chassis.identity import TokenKeys
from chassis.rpc import create_server
from chassis.settings import Settings
from cli.processes import free_ports
from cli.redis_server import redis_server
from cli.redis_server import redis_url as redis_address
from tests.fixtures.infrastructure import running
from tests.unit.gateway.parts import TOKEN_KEYS, FakeRecommender, FakeReleases

pytestmark = pytest.mark.asyncio(loop_scope="module")

SERVICES = Path(__file__).parents[2] / "services"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("gateway")


@pytest.fixture(scope="module")
def redis_port():
    return free_ports(1)[0]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def services():
    """The fake services on a real port."""
    fake = FakeRecommender()
    server = create_server(Settings(), TokenKeys.parse(TOKEN_KEYS))
    recommender_rpc.add_RecommenderServiceServicer_to_server(fake, server)
    releases_rpc.add_ReleaseServiceServicer_to_server(FakeReleases(), server)
    fake.port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield fake
    await server.stop(None)


@pytest.fixture(scope="module")
def environment(postgres, folder, services, redis_port):
    """What every process is told; `migrate` and `bootstrap` have run."""
    urls = postgres.create_database("gateway")
    environment = os.environ | {
        "PYTHONPATH": str(SERVICES),
        "CASEBOOK_DATABASE_URL": urls.service,
        "CASEBOOK_DATABASE_OWNER_URL": urls.owner,
        "CASEBOOK_REDIS_URL": redis_address(f"127.0.0.1:{redis_port}", "secret"),
        "CASEBOOK_TOKEN_KEYS": TOKEN_KEYS,
        "CASEBOOK_TRACE_FILE": str(folder / "gateway.jsonl"),
        "CASEBOOK_BOOTSTRAP_KEY_FILE": str(folder / "api-key"),
        "CASEBOOK_RECOMMENDER_ADDRESS": f"127.0.0.1:{services.port}",
        "CASEBOOK_INFERENCE_ADDRESS": f"127.0.0.1:{services.port}",
    }
    for name in ("migrate", "bootstrap"):
        command = [sys.executable, "-m", "gateway", name]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return environment


@asynccontextmanager
async def serving(environment, folder) -> AsyncIterator[tuple[subprocess.Popen, httpx.AsyncClient, str]]:
    """A process that serves, a client with the first key, and the operators' address."""
    http, ops = free_ports(2)
    addresses = {"CASEBOOK_HTTP_LISTEN": f"127.0.0.1:{http}", "CASEBOOK_OPS_LISTEN": f"127.0.0.1:{ops}"}
    key = (folder / "api-key").read_text().strip()
    process = start(environment | addresses, folder / "gateway.log")
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{http}", headers={"Authorization": f"Bearer {key}"}, timeout=20
    ) as client:

        async def ready():
            return (await client.get("/readyz")).status_code == 200

        try:
            await until("the gateway is ready", ready)
            yield process, client, f"http://127.0.0.1:{ops}"
        finally:
            process.kill()
            process.wait()


def start(environment, log):
    with log.open("ab") as file:
        return subprocess.Popen([sys.executable, "-m", "gateway", "serve"], env=environment, stdout=file, stderr=file)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(environment, folder):
    async with serving(environment, folder) as (_, client, ops):
        yield client, ops


async def until(what, holds, seconds=50):
    """Polls until `holds` is true; fails with what was waited for and what was seen last."""
    deadline, seen = time.monotonic() + seconds, None
    while time.monotonic() < deadline:
        try:
            if seen := await holds():
                return
        except httpx.TransportError as error:
            seen = repr(error)
        await asyncio.sleep(0.05)
    pytest.fail(f"not within {seconds} s: {what}; seen last: {seen}")


async def test_one_trace_goes_in_through_and_out(gateway, environment):
    client, _ = gateway
    traceparent = f"00-{TRACE}-00f067aa0ba902b7-01"

    response = await client.post("/v1/recommendations", json={"user_id": "196"}, headers={"Traceparent": traceparent})

    async def exported():
        return "POST /v1/recommendations" in spans_by_name(environment["CASEBOOK_TRACE_FILE"])

    await until("the spans are in the file", exported)
    assert response.headers["x-trace-id"] == TRACE
    assert response.headers["traceparent"].split("-")[1] == TRACE
    spans = spans_by_name(environment["CASEBOOK_TRACE_FILE"])
    http, rpc = spans["POST /v1/recommendations"], spans["casebook.recommender.v1.RecommenderService/Recommend"]
    assert http["parentSpanId"] == "00f067aa0ba902b7"
    assert rpc["parentSpanId"] == http["spanId"]


def spans_by_name(file):
    whole_lines = Path(file).read_text().rpartition("\n")[0] if Path(file).exists() else ""
    return {
        span["name"]: span
        for line in whole_lines.splitlines()
        for resource in json.loads(line)["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
        if span["traceId"] == TRACE
    }


async def test_a_problem_names_its_trace(gateway):
    client, _ = gateway

    response = await client.get("/v1/items/nothing")

    assert response.status_code == 404
    assert response.json()["trace_id"] == response.headers["x-trace-id"]


async def test_redis_dying_turns_the_limit_off_and_shows_in_the_metrics(gateway, redis_port, tmp_path):
    client, ops = gateway
    server = redis_server(tmp_path, redis_port, "secret")

    async def limited():
        return "ratelimit" in (await client.get("/v1/models")).headers

    with running(server):
        await until("the limit is on", limited)

    response = await client.get("/v1/models")

    assert response.status_code == 200
    assert "ratelimit" not in response.headers
    metrics = (await client.get(f"{ops}/metrics")).text
    assert "casebook_gateway_rate_limit_unavailable_total" in metrics
    assert 'http_route="/v1/models"' in metrics, "requests are counted by route"


async def test_a_drain_answers_what_is_in_flight(environment, services, folder):
    async with serving(environment, folder) as (process, client, _):
        services.answers_after_seconds, services.last_request = 1.0, None
        request = asyncio.create_task(client.post("/v1/recommendations", json={"user_id": "196"}))

        async def in_flight():
            return services.last_request is not None

        await until("the request is with the recommender", in_flight)
        process.send_signal(signal.SIGTERM)

        response = await request
        assert response.status_code == 200
        assert response.headers["connection"] == "close", "the client's next request goes elsewhere"
        assert await asyncio.to_thread(process.wait, 20) == 0
