"""The `casebook` command itself: what it imports, and how it fails."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.__main__ import app

HEAVY = ("chassis", "grpc", "kafka", "sqlalchemy", "psycopg", "httpx", "redis", "recommender", "pydantic")


def test_the_help_imports_nothing_that_takes_long() -> None:
    code = f"import sys, cli.__main__; print([name for name in {HEAVY!r} if name in sys.modules])"
    services = Path(__file__).parents[3] / "services"

    answer = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(services)}, capture_output=True, text=True
    )

    assert answer.stdout.strip() == "[]", answer.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["models", "list"], "nothing runs in the data folder: give the model server's --address"),
        (
            ["keys", "create", "storefront", "--role", "viewer"],
            "nothing runs in the data folder: give the API's --gateway",
        ),
        (["walk"], "nothing runs in the data folder: give the API's --gateway"),
        (["keys", "show"], "api-key is missing: give an administrator's key"),
        (["fault", "set", "slow"], "slow-model, wrong-version, stale-features, lost-consumer"),
        (["trace", "0" * 32], "no trace 00000000000000000000000000000000 in"),
        (["logs", "--trace", "0" * 32], "start the processes with CASEBOOK_LOG_LEVEL=DEBUG"),
        (["logs", "--trace", "0" * 32, "--source", "-"], "in standard input. Calls that went well are logged at DEBUG"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_command_that_cannot_work_says_what_to_do(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASEBOOK_HOME", str(tmp_path))

    result = CliRunner().invoke(app, arguments)

    assert result.exit_code == 1
    assert message in result.stderr


def test_a_fault_that_cannot_be_ordered_says_who_did_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASEBOOK_HOME", str(tmp_path))
    monkeypatch.setenv("CASEBOOK_REDIS_URL", "redis://127.0.0.1:1/0")

    result = CliRunner().invoke(app, ["fault", "list"])

    assert result.exit_code == 1
    assert "casebook: redis" in result.stderr
