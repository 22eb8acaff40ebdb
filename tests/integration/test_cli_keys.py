"""`casebook keys` and `casebook audit` against a gateway on a port."""

import pytest
from typer.testing import CliRunner

from chassis import database
from cli.__main__ import app
from gateway import audit
from tests.unit.gateway.parts import served_gateway


@pytest.fixture
def casebook(postgres, redis_url, tmp_path, monkeypatch):
    """Runs the command as the administrator of a gateway."""
    urls = postgres.create_database("gateway")
    database.migrate("gateway", urls.owner, urls.service, audit.TABLES)
    monkeypatch.setenv("CASEBOOK_HOME", str(tmp_path))
    with served_gateway(urls.service, redis_url) as api:
        monkeypatch.setenv("CASEBOOK_GATEWAY", api.url)
        monkeypatch.setenv("CASEBOOK_API_KEY", api.key)

        def run(*arguments):
            result = CliRunner().invoke(app, arguments)
            assert result.exit_code == 0, result.stderr
            return result.stdout.strip()

        yield run


def test_a_key_is_made_rotated_and_revoked_and_all_of_it_is_on_record(casebook, monkeypatch):
    key = casebook("keys", "create", "storefront", "--role", "viewer")
    new = casebook("keys", "rotate", key.split("_")[1], "--grace-seconds", "60")
    casebook("keys", "revoke", new.split("_")[1])

    assert "storefront" in casebook("keys", "list")
    monkeypatch.setenv("COLUMNS", "200")
    calls = [line for line in casebook("audit", "list").splitlines() if "/v1/keys" in line]
    assert ["DELETE" in calls[0], ":rotate" in calls[1], "201 made key" in calls[2]] == [True] * 3
    assert key not in "".join(calls)


def test_what_the_gateway_refuses_is_said_in_its_words(casebook):
    refused = CliRunner().invoke(app, ["keys", "revoke", "nobody"])

    assert refused.exit_code == 1
    assert "there is no API key 'nobody'" in refused.stderr
