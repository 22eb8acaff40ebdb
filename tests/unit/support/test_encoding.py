"""Vectors are made once: the cache on disk, and what it does when a write is torn."""

import fcntl
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from chassis.models import Inferred
from support import encoding
from support.encoding import MODELS, InferenceEncoder, VectorCache, VectorFile, rounded
from support.everyday import EVERYDAY
from support.knowledge import LANGUAGES
from support.ports import ModelUnavailable
from tests.unit.support.library import vector

TEXTS = [f"text {number}" for number in range(40)]
VECTORS = rounded(np.stack([vector(text, "en") for text in TEXTS]))


class FakeTokeniser:
    """A text's number of characters and of each letter: enough to tell texts apart."""

    def __call__(self, texts, multiple_of):
        self.texts = texts
        return self

    def inputs(self):
        width = max(map(len, self.texts), default=1)
        return {"input_ids": np.array([[ord(c) for c in text.ljust(width)] for text in self.texts], np.int64)}


class FakeModels:
    def __init__(self, training: str = "1") -> None:
        self.training = training
        self.texts: list[str] = []
        self.fails_after: int | None = None

    async def infer(self, model, inputs, *, seconds, key="", version=""):
        texts = ["".join(map(chr, row)).strip() for row in inputs["input_ids"]]
        if self.fails_after is not None and len(self.texts) + len(texts) > self.fails_after:
            raise ModelUnavailable("away")
        self.texts += texts
        return Inferred(np.stack([vector(text, "zh", self.training) for text in texts]), version or "1")

    async def loaded_versions(self, model):
        return ["1"]


def encoder(folder, models: FakeModels) -> InferenceEncoder:
    return InferenceEncoder(models, dict.fromkeys(LANGUAGES, FakeTokeniser()), VectorCache(folder))


async def test_a_restart_encodes_nothing_twice(tmp_path):
    first = await encoder(tmp_path, FakeModels()).phrasings(TEXTS, "en", "1")
    models = FakeModels()
    second = await encoder(tmp_path, models).phrasings([*TEXTS, "new"], "en", "1")

    assert set(models.texts) == {"new", EVERYDAY["en"][0]}  # the second one asks whether it is still the same model
    np.testing.assert_array_equal(second[:-1], first)


@pytest.mark.parametrize("version", ["", "1"], ids=["released", "a version that the index has"])
async def test_questions_are_not_kept(tmp_path, version):
    models = FakeModels()
    asking = encoder(tmp_path, models)
    for _ in range(2):
        vectors, name = await asking.encode(["lost"], "en", version=version)

    assert models.texts == ["lost", "lost"]
    assert (vectors.shape, name) == ((1, 384), "encoder_en/1")
    assert list(tmp_path.iterdir()) == []


async def test_another_model_under_the_same_name_gets_none_of_the_old_vectors(tmp_path):
    await encoder(tmp_path, FakeModels()).phrasings(TEXTS, "en", "1")
    models = FakeModels(training="another")
    vectors = await encoder(tmp_path, models).phrasings(TEXTS, "en", "1")

    assert set(TEXTS) <= set(models.texts)
    np.testing.assert_allclose(vectors[0], vector(TEXTS[0], "zh", "another"), atol=1e-3)


async def test_what_a_failure_left_done_is_not_done_again(tmp_path):
    models = FakeModels()
    models.fails_after = 25
    with pytest.raises(ModelUnavailable):
        await encoder(tmp_path, models).phrasings(TEXTS, "en", "1")
    done = len(models.texts) - 1
    again = FakeModels()
    await encoder(tmp_path, again).phrasings(TEXTS, "en", "1")

    assert done >= 8
    assert len(again.texts) == len(TEXTS) - done + 1


def test_each_version_has_its_file(tmp_path):
    cache = VectorCache(tmp_path)
    for model in MODELS.values():
        cache.of(f"{model}/1").add(TEXTS, VECTORS)
    vectors, missing = cache.of("encoder_en/2").get(TEXTS)

    assert len(missing) == len(TEXTS)
    assert not vectors.any()
    assert {path.name for path in tmp_path.iterdir()} == {"encoder_en-1.vectors", "encoder_zh-1.vectors"}


@pytest.mark.parametrize("torn", [1, 100, 803])
def test_a_torn_write_is_seen_and_cut_off(tmp_path, torn):
    file = VectorCache(tmp_path).of("m/1")
    file.add(TEXTS[:20], VECTORS[:20])
    with file.path.open("ab") as disk:
        disk.write(file.path.read_bytes()[-804:][:torn])
    reopened = VectorCache(tmp_path).of("m/1")
    reopened.add(TEXTS[20:], VECTORS[20:])
    vectors, missing = VectorCache(tmp_path).of("m/1").get(TEXTS)

    assert missing.tolist() == []
    np.testing.assert_array_equal(vectors, VECTORS)


def test_a_record_that_rotted_is_absent_and_can_be_written_anew(tmp_path):
    file = VectorCache(tmp_path).of("m/1")
    file.add(TEXTS, VECTORS)
    content = bytearray(file.path.read_bytes())
    content[32 + 5 * 804 + 500] ^= 0xFF
    file.path.write_bytes(content)
    reopened = VectorCache(tmp_path).of("m/1")
    assert reopened.get(TEXTS)[1].tolist() == [5]

    reopened.add(TEXTS[5:6], VECTORS[5:6])
    np.testing.assert_array_equal(VectorCache(tmp_path).of("m/1").get(TEXTS)[0], VECTORS)


def test_a_file_of_another_kind_is_made_anew(tmp_path):
    (tmp_path / "m-1.vectors").write_bytes(b"something else entirely" * 100)
    file = VectorCache(tmp_path).of("m/1")
    file.add(TEXTS, VECTORS)

    assert len(VectorCache(tmp_path).of("m/1").get(TEXTS)[1]) == 0


def test_a_full_file_loses_its_older_half_while_it_is_read(tmp_path):
    file = VectorCache(tmp_path, most_vectors=30).of("m/1")
    file.add(TEXTS[:30], VECTORS[:30])
    reader = VectorCache(tmp_path, most_vectors=30).of("m/1")
    file.add(TEXTS[30:], VECTORS[30:])

    assert file.get(TEXTS)[1].tolist() == list(range(15))
    assert reader.get(TEXTS)[1].tolist() == list(range(30, 40))
    assert file.path.stat().st_size == 32 + 25 * 804


@pytest.mark.parametrize("there", [0, 5, 12])
def test_more_than_a_file_holds_leaves_the_newest(tmp_path, there):
    file = VectorCache(tmp_path, most_vectors=20).of("m/1")
    file.add(TEXTS[:there], VECTORS[:there])
    file.add(TEXTS[there:], VECTORS[there:])

    kept = VectorCache(tmp_path, most_vectors=20).of("m/1")
    assert kept.get(TEXTS[-10:])[1].tolist() == []
    assert 10 <= len(kept) <= 20


def test_two_processes_may_write_one_file(tmp_path):
    one, another = VectorCache(tmp_path).of("m/1"), VectorCache(tmp_path).of("m/1")
    one.add(TEXTS[:20], VECTORS[:20])
    another.add(TEXTS[20:], VECTORS[20:])

    assert len(VectorCache(tmp_path).of("m/1").get(TEXTS)[1]) == 0


def test_of_many_that_fill_one_file_at_once_none_loses_what_it_wrote_last(tmp_path):
    files = [VectorCache(tmp_path, most_vectors=30).of("m/1") for _ in range(4)]

    def fill(file, number):
        for start in range(0, 40, 4):
            texts = [f"{number} {text}" for text in TEXTS[start : start + 4]]
            file.add(texts, VECTORS[start : start + 4])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(fill, files, range(4)))

    left = VectorCache(tmp_path, most_vectors=30).of("m/1")
    assert sorted(each.name for each in tmp_path.iterdir()) == [left.path.name]
    assert 16 <= len(left) <= 30
    for number, file in enumerate(files):
        vectors, missing = file.get([f"{number} {text}" for text in TEXTS[-4:]])
        assert missing.tolist() == []
        np.testing.assert_array_equal(vectors, VECTORS[-4:])


def test_a_file_that_others_replace_again_and_again_costs_the_cache_alone(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(VectorFile, "_is_current", lambda self, file: False)
    file = VectorCache(tmp_path).of("m/1")
    file.add(TEXTS, VECTORS)

    assert len(file.get(TEXTS)[1]) == len(TEXTS)
    assert "times in a row" in caplog.text


def test_a_process_that_does_not_let_go_of_the_file_costs_the_cache_alone(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(encoding, "LONGEST_WRITE_SECONDS", 0.05)
    file = VectorCache(tmp_path).of("m/1")
    file.add(TEXTS[:1], VECTORS[:1])
    with file.path.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        file.add(TEXTS, VECTORS)
        assert len(file.get(TEXTS)[1]) == len(TEXTS) - 1
    assert "not kept" in caplog.text

    file.add(TEXTS, VECTORS)
    assert len(file.get(TEXTS)[1]) == len(TEXTS) - 1, "for a while it is not tried again"
    monkeypatch.setattr(file, "_not_before", 0.0)
    file.add(TEXTS, VECTORS)
    assert len(file.get(TEXTS)[1]) == 0


def test_a_folder_that_cannot_be_written_costs_the_cache_alone(tmp_path, caplog):
    file = VectorCache(tmp_path).of("m/1")
    file.path.mkdir()
    file.add(TEXTS, VECTORS)

    assert len(file.get(TEXTS)[1]) == len(TEXTS)
    assert "not kept" in caplog.text


def test_the_files_longest_unused_go(tmp_path):
    for version in range(6):
        VectorCache(tmp_path, most_files=3).of(f"m/{version}").add(TEXTS, VECTORS)

    assert len(list(tmp_path.glob("*.vectors"))) <= 4
