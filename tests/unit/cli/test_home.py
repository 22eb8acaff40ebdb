"""The data folder: secrets, the lock, and where the operator's commands find the running system."""

import os
from pathlib import Path

import pytest

from cli.home import Home, HomeInUseError


def test_a_secret_is_drawn_once_and_readable_by_its_owner_alone(tmp_path: Path) -> None:
    home = Home(tmp_path)

    first = home.secret("redis")

    assert home.secret("redis") == first != home.secret("postgres")
    assert len(first) >= 43, "256 bits in base64"
    assert (tmp_path / "secrets" / "redis").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700


def test_one_start_at_a_time_owns_the_folder(tmp_path: Path) -> None:
    with (
        Home(tmp_path).lock(),
        pytest.raises(HomeInUseError, match=f"in use by process {os.getpid()}"),
        Home(tmp_path).lock(),
    ):
        pytest.fail("it is owned already")

    with Home(tmp_path).lock():
        pass


def test_commands_find_the_running_system_but_the_environment_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Set and deleted, so that what `enter` sets is taken back after the test.
    for variable in ("CASEBOOK_KAFKA_BOOTSTRAP", "CASEBOOK_TOKEN_KEYS", "CASEBOOK_REDIS_ADDRESS", "CASEBOOK_REDIS_URL"):
        monkeypatch.setenv(variable, "")
        monkeypatch.delenv(variable)
    monkeypatch.setenv("CASEBOOK_INFERENCE_ADDRESS", "elsewhere:1")
    home = Home(tmp_path)
    home.secret("token-key")
    home.announce(
        {
            "CASEBOOK_KAFKA_BOOTSTRAP": "127.0.0.1:9",
            "CASEBOOK_INFERENCE_ADDRESS": "127.0.0.1:8",
            "CASEBOOK_REDIS_ADDRESS": "127.0.0.1:7",
        }
    )

    home.enter()

    assert os.environ["CASEBOOK_KAFKA_BOOTSTRAP"] == "127.0.0.1:9"
    assert os.environ["CASEBOOK_INFERENCE_ADDRESS"] == "elsewhere:1"
    assert os.environ["CASEBOOK_TOKEN_KEYS"] == home.token_keys
    assert os.environ["CASEBOOK_REDIS_URL"] == f"redis://:{home.secret('redis')}@127.0.0.1:7/0"


def test_a_system_that_has_ended_is_neither_found_nor_scraped(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.announce({"CASEBOOK_KAFKA_BOOTSTRAP": "127.0.0.1:9"}, [{"targets": ["127.0.0.1:8"]}])

    home.withdraw()

    assert home.addresses() == {}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("value", "expected"), [("/srv/casebook", "/srv/casebook"), ("", ".casebook")])
def test_the_folder_comes_from_the_environment(value: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASEBOOK_HOME", value)

    assert Home.from_environment().path == Path(expected).resolve()
