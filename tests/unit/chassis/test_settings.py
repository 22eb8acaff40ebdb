"""Settings are checked at start; a wrong value stops the process with one line that names the variable."""

from pathlib import Path

import pytest

from chassis.settings import Settings, load


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("CASEBOOK_GRPC_LISTEN", "nonsense", "must be host:port"),
        ("CASEBOOK_GRPC_LISTEN", "127.0.0.1:70000", "must be host:port"),
        ("CASEBOOK_DEFAULT_DEADLINE_SECONDS", "0", "greater than 0"),
        ("CASEBOOK_LOG_LEVEL", "LOUD", "should match pattern"),
        ("CASEBOOK_TRACE_SAMPLE_RATIO", "2", "less than or equal to 1"),
        ("CASEBOOK_KAFKA_API_VERSION", "latest", "should match pattern"),
        ("CASEBOOK_TLS_CA_FILE", "/nowhere/ca.pem", "/nowhere/ca.pem: No such file or directory"),
        ("CASEBOOK_TLS_KEY_FILE", __file__, "goes with CASEBOOK_TLS_CERT_FILE"),
        ("CASEBOOK_TLS_CLIENT_CA_FILE", __file__, "needs CASEBOOK_TLS_CERT_FILE"),
        ("CASEBOOK_KAFKA_SECURITY_PROTOCOL", "TLS", "should be 'PLAINTEXT', 'SSL'"),
        ("CASEBOOK_KAFKA_SASL_MECHANISM", "PLAIN", "may not be set with CASEBOOK_KAFKA_SECURITY_PROTOCOL=PLAINTEXT"),
    ],
)
def test_a_wrong_value_stops_with_one_line_naming_the_variable(variable, value, says, monkeypatch, capsys):
    monkeypatch.setenv(variable, value)

    with pytest.raises(SystemExit) as stopped:
        load(Settings)

    (line,) = capsys.readouterr().err.splitlines()
    assert stopped.value.code == 2
    assert line.startswith(f"{variable}: ")
    assert says in line


def test_what_a_sasl_protocol_needs_is_named(monkeypatch, capsys):
    monkeypatch.setenv("CASEBOOK_KAFKA_SECURITY_PROTOCOL", "SASL_SSL")
    monkeypatch.setenv("CASEBOOK_KAFKA_USERNAME", "gateway")

    with pytest.raises(SystemExit):
        load(Settings)

    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in lines] == ["CASEBOOK_KAFKA_SASL_MECHANISM", "CASEBOOK_KAFKA_PASSWORD"]


def test_every_wrong_value_has_its_line(monkeypatch, capsys):
    monkeypatch.setenv("CASEBOOK_DRAIN_SECONDS", "-1")
    monkeypatch.setenv("CASEBOOK_OPS_LISTEN", "x")

    with pytest.raises(SystemExit):
        load(Settings)

    assert {line.split(":")[0] for line in capsys.readouterr().err.splitlines()} == {
        "CASEBOOK_DRAIN_SECONDS",
        "CASEBOOK_OPS_LISTEN",
    }


def test_a_secret_may_stand_in_a_file(monkeypatch, tmp_path: Path):
    secret = tmp_path / "token_keys"
    secret.write_text("k1:from-a-file\n")
    monkeypatch.setenv("CASEBOOK_TOKEN_KEYS_FILE", str(secret))

    assert load(Settings).token_keys.get_secret_value() == "k1:from-a-file"


def test_a_secret_file_that_is_missing_is_named(monkeypatch, capsys):
    monkeypatch.setenv("CASEBOOK_TOKEN_KEYS_FILE", "/nowhere/token_keys")

    with pytest.raises(SystemExit):
        load(Settings)

    assert "/nowhere/token_keys" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CASEBOOK_TOKEN_KEYS", "k1:very-secret"),
        ("CASEBOOK_REDIS_URL", "redis://:very-secret@redis:6379/0"),
        ("CASEBOOK_DATABASE_URL", "postgresql://gateway:very-secret@postgres/gateway"),
    ],
)
def test_a_secret_never_shows(variable, value, monkeypatch):
    monkeypatch.setenv(variable, value)

    assert "very-secret" not in repr(load(Settings))
