"""From a wheel to a model repository: the same bytes each time, whole or not at all, once."""

import hashlib
import json
from pathlib import Path

import pytest

from encoders import build, catalogue
from encoders.catalogue import Encoder
from encoders.wheels import EncoderError, Wheel
from inference.repository import Repository
from tests.fixtures.encoders import tiny_encoder

FILES = {"model.onnx", "tokenizer.json", "card.json"}


@pytest.fixture
def tiny(tmp_path: Path) -> Encoder:
    """An encoder whose wheel lies in the cache."""
    content = b"a wheel"
    wheel = Wheel("tiny", "1", "tiny-1.whl", hashlib.sha256(content).hexdigest(), "MIT")
    folder = build.wheel_folder(tmp_path / "cache")
    folder.mkdir(parents=True)
    (folder / wheel.filename).write_bytes(content)
    return tiny_encoder(wheel)


@pytest.fixture
def version(tiny: Encoder, tmp_path: Path) -> Path:
    """The tiny encoder's folder in a repository."""
    assert build.build(tmp_path / "models", tmp_path / "cache", [tiny]) == ["tiny/1"]
    return tmp_path / "models" / "tiny" / "1"


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_two_conversions_give_the_same_bytes(tmp_path: Path, tiny: Encoder, precision: str) -> None:
    for folder in (tmp_path / "first", tmp_path / "second"):
        folder.mkdir()
        build.convert(tiny, tmp_path / "unused.whl", folder, precision)
    assert contents(tmp_path / "first") == contents(tmp_path / "second")
    assert contents(tmp_path / "first").keys() == FILES


def test_what_is_there_stays(version: Path, tiny: Encoder, tmp_path: Path) -> None:
    before = {file: file.stat().st_mtime_ns for file in version.parent.rglob("*")}
    assert build.build(tmp_path / "models", tmp_path / "cache", [tiny]) == []
    assert {file: file.stat().st_mtime_ns for file in version.parent.rglob("*")} == before


@pytest.mark.parametrize("name", sorted(FILES))
def test_what_is_damaged_is_put_right(version: Path, tiny: Encoder, tmp_path: Path, name: str) -> None:
    whole = contents(version)
    (version / name).write_bytes(whole[name][:-2])

    assert build.build(tmp_path / "models", tmp_path / "cache", [tiny]) == ["tiny/1"]

    assert contents(version) == whole
    assert [each.name for each in version.parent.iterdir() if each.name.startswith(".")] == []


def test_a_new_repository_is_filled_from_the_cache_without_the_wheel(
    version: Path, tiny: Encoder, tmp_path: Path
) -> None:
    (build.wheel_folder(tmp_path / "cache") / tiny.wheel.filename).unlink()
    assert build.build(tmp_path / "another", tmp_path / "cache", [tiny]) == ["tiny/1"]
    assert contents(tmp_path / "another" / "tiny" / "1") == contents(version)


def test_another_precision_is_another_conversion(version: Path, tiny: Encoder, tmp_path: Path) -> None:
    assert build.build(tmp_path / "models", tmp_path / "cache", [tiny], precision="fp32") == ["tiny/1"]
    assert json.loads((version / "card.json").read_text())["conversion"]["precision"] == "fp32"


def test_a_conversion_that_fails_leaves_nothing_behind(tmp_path: Path, tiny: Encoder) -> None:
    (build.wheel_folder(tmp_path / "cache") / tiny.wheel.filename).write_bytes(b"something else")
    with pytest.raises(EncoderError, match="is not the expected file"):
        build.build(tmp_path / "models", tmp_path / "cache", [tiny])
    assert list((tmp_path / "models").rglob("*.onnx")) == []
    assert list((tmp_path / "cache").rglob("*.onnx")) == []


def test_the_card_says_where_it_comes_from(version: Path, tiny: Encoder) -> None:
    card = json.loads((version / "card.json").read_text())
    assert card["source"] == {"wheel": "tiny", "version": "1", "sha256": tiny.wheel.sha256, "licence": "MIT"}
    assert card["files"]["model.onnx"]["sha256"] == hashlib.sha256((version / "model.onnx").read_bytes()).hexdigest()
    assert card["text"]["prefix"] == "a "


def test_the_configuration_is_one_that_the_server_reads(version: Path, tmp_path: Path) -> None:
    repository = Repository(str(version.parents[1]), tmp_path / "fetched")
    config = repository.scan()["tiny"].config
    assert repository.model("tiny").versions == ("1",)
    assert repository.model("tiny").error == ""
    assert config.HasField("dynamic_batching")
    assert config.max_batch_size == build.MAX_BATCH


def test_an_encoder_that_is_not_known_is_named() -> None:
    with pytest.raises(EncoderError, match="no encoder 'encoder_fr'; there are encoder_en, encoder_zh"):
        catalogue.chosen("encoder_en,encoder_fr")
