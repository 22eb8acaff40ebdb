"""The OpenAPI document against the running API: no request that it allows, or forbids, ends in a 5xx or surprises."""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode, checks

from gateway.app import create_app
from gateway.dependencies import Dependencies
from gateway.edge import TIMEOUT_HEADER
from gateway.settings import GatewaySettings
from tests.unit.gateway.parts import served_gateway

schemathesis.serializer.alias("application/x-ndjson", "text/plain")


@pytest.fixture(scope="module")
def api(gateway_database, redis_url):
    with served_gateway(gateway_database, redis_url) as api:
        yield api


DOCUMENT = schemathesis.openapi.from_dict(create_app(Dependencies(GatewaySettings(), *[None] * 10)).openapi())
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
    headers = {"Authorization": f"Bearer {api.key}", TIMEOUT_HEADER: "20000"}

    @given(case=OPERATIONS[operation].as_strategy(generation_mode=mode))
    @settings(max_examples=15, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    def holds(case):
        case.call_and_validate(base_url=api.url, headers=headers, checks=CHECKS)

    holds()
