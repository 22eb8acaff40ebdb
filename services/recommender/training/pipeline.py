"""The pipeline: prepare, (search,) train, export, measure beside the floors and the versions before, write the card."""

from collections.abc import Sequence
from pathlib import Path

from recommender.data import Dataset
from recommender.training import card, evaluation, ranker, search, towers
from recommender.training.evaluation import Measured
from recommender.training.material import Material, prepare
from recommender.training.recipes import RANKERS, RankerRecipe, TowerRecipe
from recommender.training.served import RANKER, USER_TOWER, versions
from training.fitting import Fitted, Report, Workers
from training.workshop import Workshop

TOWERS = "towers"
MODELS = (TOWERS, *(f"ranker-{negatives}" for negatives in RANKERS))
"""What can be trained; by default all, in this order: a ranker learns on what the newest towers recall."""


def train(dataset: Dataset, models: Sequence[str], workshop: Workshop) -> list[Measured]:
    """Trains `models`, each as the next free version, and returns the measures of all versions in the repository."""
    card.revision()
    material = prepare(dataset)
    for model in models:
        if model == TOWERS:
            train_towers(material, workshop)
        else:
            train_ranker(material, RANKERS[model.removeprefix("ranker-")], model, workshop)
        # A ranker needs the towers' files, which the first process writes.
        Workers.current().wait()
    return evaluation.evaluate(workshop.repository, material)


def train_towers(material: Material, workshop: Workshop) -> None:
    """Trains both towers and writes them under one version."""
    recipe = workshop.limited(TowerRecipe())

    def attempt(tried: TowerRecipe, report: Report) -> Fitted:
        return towers.train(material, tried, report)[1]

    if workshop.trials:
        recipe = search.search(recipe, search.suggest_towers, attempt, TOWERS, workshop.trials, workshop.scratch)
    with workshop.tracked(TOWERS, recipe) as report:
        dssm, fitted = towers.train(material, recipe, report, workshop.checkpoint(TOWERS))
        if not Workers.current().first:
            return
        version = _next_version(workshop.repository, USER_TOWER)
        exported = towers.export_towers(dssm, material, workshop.repository, version)
        measured = evaluation.recall_measures_of_all(workshop.repository, material)
        _report(report, measured, f"DSSM {version}", fitted.epochs)
    for name, export in exported.items():
        notes = [
            "One version of dssm_user belongs to the same version of dssm_item: their vectors share a space.",
            "An item that is not in the vocabulary is placed by its categories, year and title tokens alone.",
        ]
        card.write(export, name, version, material.dataset, recipe, fitted, measured, notes)
    workshop.forget(TOWERS)


def train_ranker(material: Material, recipe: RankerRecipe, run: str, workshop: Workshop) -> None:
    """Trains a ranker over what the newest towers in the repository recall."""
    tower = versions(workshop.repository, USER_TOWER)[-1]
    recipe = workshop.limited(recipe)
    lessons = ranker.prepare(material, workshop.repository, tower, recipe)

    def attempt(tried: RankerRecipe, report: Report) -> Fitted:
        return ranker.train(material, lessons, tried, report)[1]

    if workshop.trials:
        recipe = search.search(recipe, search.suggest_ranker, attempt, run, workshop.trials, workshop.scratch)
    with workshop.tracked(run, recipe) as report:
        din, fitted = ranker.train(material, lessons, recipe, report, workshop.checkpoint(run))
        if not Workers.current().first:
            return
        version = _next_version(workshop.repository, RANKER)
        trust = 0.1 * float(din.get_buffer("similarity_weight"))
        exported = ranker.export_ranker(din, material, workshop.repository, tower, version)
        measured = evaluation.ranking_measures(workshop.repository, material)
        _report(report, measured, f"DIN {version}", fitted.epochs)
    notes = [
        f"Orders what version {tower} of the towers recalls; 0.1 more of their cosine adds {trust:.2f} to the logit.",
        f"Per liked or disliked event {recipe.uniform_negatives} uniform and {recipe.recalled_negatives} recalled "
        "negatives: the score orders candidates, it is not a click rate.",
    ]
    card.write(exported, RANKER, version, material.dataset, recipe, fitted, measured, notes)
    workshop.forget(run)


def _next_version(repository: Path, name: str) -> int:
    return max(versions(repository, name), default=0) + 1


def _report(report: Report, measured: Sequence[Measured], method: str, epoch: int) -> None:
    """Tells the tracked run how the new version did; MLflow takes no @ in a metric's name."""
    for line in measured:
        if line.method == method:
            for name, value in line.values.items():
                report(f"test {line.targets} {name.replace('@', ' at ')}", value, epoch)
