"""The pipeline: train a delta, write it with its card, build the version that it makes, measure beside the others."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version as installed
from pathlib import Path
from typing import Literal

from torch import Tensor, nn

from encoders import build, catalogue
from encoders.catalogue import Encoder
from encoders.delta import DELTA_FILE, Delta
from encoders.training import data, evaluation
from encoders.training.chinese import ChineseRecipe, PairCourse
from encoders.training.data import Phrasings
from encoders.training.english import EnglishRecipe, IntentCourse, IntentSet
from encoders.training.evaluation import Measured, Served
from encoders.training.material import Material
from training import fitting
from training.fitting import Workers
from training.revision import code_revision
from training.workshop import Workshop

Language = Literal["en", "zh"]
VERSION = 2
"""Of a trained encoder: version 1 is what the wheel holds."""
LICENCES = {
    "banking77": "CC BY 4.0. Inigo Casanueva et al. 2020. Efficient Intent Detection with Dual Sentence Encoders",
    "clinc150": "CC BY 3.0. Stefan Larson et al. 2019. An Evaluation Dataset for Intent Classification and "
    "Out-of-Scope Prediction",
    "bq-zh": "for research, on application; may not be passed on. Jing Chen et al. 2018. The BQ Corpus",
    "lcqmc-zh": "for research, on application; may not be passed on. Xin Liu et al. 2018. LCQMC",
}


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """All that a training needs: what is learnt, from what, and how it is known to get better."""

    encoder: Encoder
    recipe: EnglishRecipe | ChineseRecipe
    material: Material
    lesson: nn.Module
    examples: Mapping[str, Tensor]
    validate: Callable[[], float]
    texts: Mapping[str, tuple[str, ...]]
    """What it is trained and validated on, by data set."""


def train(language: Language, folder: Path, workshop: Workshop, deltas: Path, cache: Path) -> None:
    """Trains the language's encoder on the data in `folder`, and builds the version that it makes.

    The delta goes to `<deltas>/<model>/2`, the version into the workshop's repository, beside version 1; of several
    processes the first writes them.

    Raises:
        DataError: a data set cannot be read.
        CheckpointError: the checkpoint is of another run.
    """
    course = english(folder, workshop, cache) if language == "en" else chinese(folder, workshop, cache)
    target = deltas / course.encoder.model / str(VERSION)
    teach(course, workshop, course.encoder.model, target)
    if not Workers.current().first:
        return
    tuned = course.encoder.tuned(VERSION, target)
    build.build(workshop.repository, cache, [course.encoder, tuned])
    _add_measures(target, measures(workshop.repository / tuned.name, language, folder, workshop.scratch))
    build.build(workshop.repository, cache, [tuned])


def teach(course: Course, workshop: Workshop, run: str, target: Path) -> None:
    """Trains; of several processes the first writes the delta with its card into `target`."""
    code = revision()
    with workshop.tracked(run, course.recipe) as report:
        fitted = fitting.fit(
            course.lesson,
            course.examples,
            course.validate,
            course.recipe.schedule,
            checkpoint=workshop.checkpoint(run),
            run=fitting.run_name(data.digest(*course.texts.values()), course.recipe),
            report=report,
        )
    if not Workers.current().first:
        return
    card = {
        "data": {
            name: {"texts": len(texts), "sha256": data.digest(texts), "licence": LICENCES[name]}
            for name, texts in course.texts.items()
        },
        "recipe": asdict(course.recipe),
        "fitted": asdict(fitted),
        "code_revision": code,
        "libraries": {library: installed(library).partition("+")[0] for library in ("torch", "numpy")},
    }
    write_delta(course.material.network.delta().scaled(course.recipe.kept), card, target)
    workshop.forget(run)


def write_delta(delta: Delta, card: Mapping[str, object], folder: Path) -> None:
    """The delta and its card, as `encoders.catalogue` finds them."""
    folder.mkdir(parents=True, exist_ok=True)
    delta.save(folder / DELTA_FILE)
    (folder / build.CARD_FILE).write_text(json.dumps(card, indent=2) + "\n")


def english(folder: Path, workshop: Workshop, cache: Path) -> Course:
    """banking77's and CLINC150's training parts, without the demo's questions; the part of banking77 that support is
    fitted to validates, and a share of each intent of CLINC150."""
    recipe = workshop.limited(EnglishRecipe())
    bank = data.banking77(folder)[0].without(data.demo_questions())
    clinc = data.clinc150(folder)
    sets = [
        IntentSet(*bank.split_by_text()),
        IntentSet(*clinc.train.split(recipe.held_out, recipe.schedule.seed), clinc.out_train),
    ]
    texts = {"banking77": bank.texts, "clinc150": clinc.train.texts + clinc.out_train}
    return _intents(recipe, sets, texts, cache)


def few_shot(folder: Path, shots_seed: int, workshop: Workshop, cache: Path) -> Course:
    """CLINC150's training part, and ten phrasings of each of banking77's intents; no other phrasing of these."""
    recipe = workshop.limited(EnglishRecipe())
    bank, _ = data.banking77(folder)
    clinc = data.clinc150(folder)
    known = bank.few(evaluation.SHOTS, shots_seed)
    sets = [
        IntentSet(known, Phrasings((), ())),
        IntentSet(*clinc.train.split(recipe.held_out, recipe.schedule.seed), clinc.out_train),
    ]
    return _intents(recipe, sets, {"banking77": known.texts, "clinc150": clinc.train.texts + clinc.out_train}, cache)


def _intents(recipe: EnglishRecipe, sets: list[IntentSet], texts: Mapping[str, tuple[str, ...]], cache: Path) -> Course:
    material = Material.of(catalogue.ENGLISH, recipe.low_rank, cache, recipe.schedule.seed)
    course = IntentCourse(material, sets, recipe)
    return Course(catalogue.ENGLISH, recipe, material, course.lesson, course.examples, course.validate, texts)


def chinese(folder: Path, workshop: Workshop, cache: Path) -> Course:
    """BQ's validation file and the first half of LCQMC's; a share of the groups of each validates."""
    recipe = workshop.limited(ChineseRecipe())
    parts = {"bq-zh": data.bq(folder, "valid"), "lcqmc-zh": data.lcqmc_halves(folder)[0]}
    sets = [part.split(1 - recipe.held_out, recipe.schedule.seed) for part in parts.values()]
    material = Material.of(catalogue.CHINESE, recipe.low_rank, cache, recipe.schedule.seed)
    course = PairCourse(material, sets, recipe)
    texts = {name: part.first + part.second for name, part in parts.items()}
    return Course(catalogue.CHINESE, recipe, material, course.lesson, course.examples, course.validate, texts)


def evaluate(repository: Path, languages: list[Language], folder: Path, scratch: Path) -> dict[str, list[Measured]]:
    """The measures of every version of the languages' encoders in the repository, by "<model>/<version>"."""
    results = {}
    for language in languages:
        model = (catalogue.ENGLISH if language == "en" else catalogue.CHINESE).model
        folders = sorted(
            (repository / model).glob(f"[0-9]*/{build.MODEL_FILE}"), key=lambda file: int(file.parent.name)
        )
        for file in folders:
            results[f"{model}/{file.parent.name}"] = measures(file.parent, language, folder, scratch)
    return results


def measures(version: Path, language: Language, folder: Path, scratch: Path) -> list[Measured]:
    """The measures of one version, from its folder in a model repository."""
    measure = evaluation.english if language == "en" else evaluation.chinese
    return measure(Served(version, scratch / "vectors"), folder)


def evaluate_few_shot(folder: Path, workshop: Workshop, cache: Path) -> dict[str, list[Measured]]:
    """Trains an encoder for each seed that draws ten phrasings of an intent, and measures it with these known alone."""
    train_part, test = data.banking77(folder)
    results = {}
    for seed in evaluation.SHOT_SEEDS:
        course = few_shot(folder, seed, workshop, cache)
        target = workshop.scratch / "few-shot" / str(seed) / "delta"
        teach(course, workshop, f"few-shot-{seed}", target)
        if not Workers.current().first:
            continue
        tuned = course.encoder.tuned(VERSION, target)
        repository = workshop.scratch / "few-shot" / str(seed)
        build.build(repository, cache, [tuned])
        served = Served(repository / tuned.name, workshop.scratch / "vectors")
        results[f"seed {seed}"] = evaluation.few_shot(served, train_part, test, [seed])
    return results


def revision() -> str:
    """The commit of the code that decides a training."""
    return code_revision(Path(__file__).parents[1], Path(fitting.__file__))


def _add_measures(delta: Path, measured: list[Measured]) -> None:
    file = delta / build.CARD_FILE
    card = json.loads(file.read_text())
    card["metrics"] = [asdict(line) | {"value": round(line.value, 4)} for line in measured]
    file.write_text(json.dumps(card, indent=2) + "\n")
