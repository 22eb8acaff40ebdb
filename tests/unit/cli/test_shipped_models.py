"""The models that came with this version, in a model repository."""

from pathlib import Path

import pytest

from cli.shipped_models import copy_models


@pytest.fixture
def shipped(tmp_path: Path) -> Path:
    folder = tmp_path / "shipped"
    write(folder / "din" / "config.pbtxt", "name: 'din'")
    write(folder / "din" / "1" / "model.onnx", "first")
    return folder


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_copies_each_version_once(shipped: Path, tmp_path: Path) -> None:
    assert copy_models(shipped, tmp_path / "models") == ["din/1"]
    assert copy_models(shipped, tmp_path / "models") == []
    assert (tmp_path / "models" / "din" / "config.pbtxt").read_text() == "name: 'din'"


def test_replaces_a_version_that_was_shipped_anew_and_keeps_what_was_trained_here(
    shipped: Path, tmp_path: Path
) -> None:
    copy_models(shipped, tmp_path / "models")
    write(tmp_path / "models" / "din" / "2" / "model.onnx", "trained here")
    write(shipped / "din" / "1" / "model.onnx", "shipped anew")

    assert copy_models(shipped, tmp_path / "models") == ["din/1"]
    assert (tmp_path / "models" / "din" / "1" / "model.onnx").read_text() == "shipped anew"
    assert (tmp_path / "models" / "din" / "2" / "model.onnx").read_text() == "trained here"


def test_leaves_a_delta_to_what_builds_encoders(shipped: Path, tmp_path: Path) -> None:
    write(shipped / "encoder_en" / "2" / "delta.npz", "low-rank")

    assert copy_models(shipped, tmp_path / "models") == ["din/1"]
    assert not (tmp_path / "models" / "encoder_en").exists()


def test_copies_the_models_that_are_named(shipped: Path, tmp_path: Path) -> None:
    write(shipped / "encoder_en" / "config.pbtxt", "name: 'encoder_en'")
    write(shipped / "encoder_en" / "1" / "model.onnx", "an encoder")

    assert copy_models(shipped, tmp_path / "models", ["encoder_en"]) == ["encoder_en/1"]
    with pytest.raises(ValueError, match="no model 'encoder_fr' here; there are din, encoder_en"):
        copy_models(shipped, tmp_path / "models", ["encoder_fr"])
