"""The gateway's settings."""

import pytest

from chassis.settings import load
from gateway.settings import GatewaySettings


def test_origins_are_separated_by_commas(monkeypatch):
    monkeypatch.setenv("CASEBOOK_CORS_ORIGINS", "https://a.example, https://b.example")

    assert load(GatewaySettings).cors_origins == ("https://a.example", "https://b.example")


def test_cors_is_off_by_default():
    assert GatewaySettings().cors_origins == ()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CASEBOOK_KEY_CACHE_SECONDS", "31"),
        ("CASEBOOK_MAX_BODY_BYTES", "0"),
        ("CASEBOOK_HTTP_LISTEN", "8080"),
        ("CASEBOOK_BOOTSTRAP_TENANT", "a:b"),
    ],
)
def test_a_wrong_value_ends_the_start_and_is_named(monkeypatch, capsys, variable, value):
    monkeypatch.setenv(variable, value)

    with pytest.raises(SystemExit):
        load(GatewaySettings)

    assert variable in capsys.readouterr().err
