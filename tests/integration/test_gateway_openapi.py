"""The OpenAPI document against the running API: no request that it allows, or forbids, ends in a 5xx or surprises."""

import asyncio
import threading

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode, checks
from tests.unit.gateway.parts import running_gateway

from chassis import database
from chassis.identity import Role
from gateway.app import create_app
from gateway.dependencies import Dependencies
from gateway.edge import TIMEOUT_HEADER
from gateway.server import HttpServer
from gateway.settings import GatewaySettings


@pytest.fixture(scope="module")
def api(postgres, redis_url):
    """The API on a port, in a thread with a loop of its own: its address and a key."""
    urls = postgres.create_database("gateway")
    database.migrate("gateway", urls.owner, urls.service)
    started, stop, reached = threading.Event(), threading.Event(), {}

    async def serve():
        async with running_gateway(urls.service, redis_url, http_listen="127.0.0.1:0") as gateway:
            gateway.given.readiness.start()
            server = HttpServer(gateway.app, gateway.given.settings)
            server.start()
            reached.update(url=f"http://127.0.0.1:{server.port}", key=str(await gateway.key(Role.ADMIN)))
            started.set()
            await asyncio.to_thread(stop.wait)
            await server.drain()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert started.wait(20), "the API did not start within 20 s"
    yield reached
    stop.set()
    thread.join(20)


DOCUMENT = schemathesis.openapi.from_dict(create_app(Dependencies(GatewaySettings(), *[None] * 8)).openapi())
OPERATIONS = {result.ok().label: result.ok() for result in DOCUMENT.get_all_operations() if "/v1/" in result.ok().path}
CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_api_does_what_its_document_says(api, operation, mode):
    # A client that gives a request a millisecond gets the 504 that it asks for: here each has time.
    headers = {"Authorization": f"Bearer {api['key']}", TIMEOUT_HEADER: "20000"}

    @given(case=OPERATIONS[operation].as_strategy(generation_mode=mode))
    @settings(max_examples=15, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    def holds(case):
        case.call_and_validate(base_url=api["url"], headers=headers, checks=CHECKS)

    holds()
