"""The training pipeline, whole, on a synthetic data set of 60 users: an epoch each, exported, checked, resumed."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install casebook[training]")

from recommender import features  # noqa: E402
from recommender.data import Dataset  # noqa: E402
from recommender.features import Interaction, ItemFacts, UserProfile  # noqa: E402
from recommender.training import fitting, pipeline, served, towers  # noqa: E402
from recommender.training.fitting import CheckpointError  # noqa: E402
from recommender.training.material import prepare  # noqa: E402
from recommender.training.recipes import TowerRecipe  # noqa: E402

pytestmark = pytest.mark.training

GENRES = ("Comedy", "Drama", "War")
ITEMS = 240


def synthetic(users: int = 60, events: int = 14) -> Dataset:
    """Users who each like one genre and dislike the others."""
    random = np.random.default_rng(3)
    items = tuple(
        ItemFacts(f"i{number}", f"{GENRES[number % 3]} number {number}", (GENRES[number % 3],), 1990 + number % 10)
        for number in range(ITEMS)
    )
    start = datetime(1997, 9, 20, tzinfo=UTC)
    interactions = []
    for user in range(users):
        for event, item in enumerate(random.choice(ITEMS, events, replace=False)):
            rating = 5.0 if item % 3 == user % 3 else float(random.integers(1, 4))
            when = start + timedelta(hours=event, seconds=user)
            interactions.append(Interaction(f"u{user}", f"i{item}", rating, "rate", when))
    profiles = tuple(UserProfile(f"u{user}", 20 + user % 30, "FM"[user % 2], "student") for user in range(users))
    interactions.sort(key=lambda each: (each.occurred_at, each.user_id))
    return Dataset("synthetic", tuple(interactions), items, profiles, sha256="0" * 64)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model repository with one epoch's towers and both rankers."""
    folder = tmp_path_factory.mktemp("training")
    workshop = pipeline.Workshop(folder / "models", folder / "scratch", epochs=1)
    results = pipeline.train(synthetic(), pipeline.MODELS, workshop)
    assert {line.method for line in results} >= {"popularity", "item-kNN", "DSSM 1", "DIN 1", "DIN 2"}
    return workshop.repository


def test_every_version_has_model_card_and_configuration(trained: Path) -> None:
    for name, version in (("dssm_user", 1), ("dssm_item", 1), ("din", 1), ("din", 2)):
        card = json.loads((trained / name / str(version) / "card.json").read_text())
        assert card["data"]["sha256"] == "0" * 64
        assert card["onnx_max_absolute_difference"] <= 1e-5
        assert "Harper" in card["data"]["citation"]
        assert f'name: "{name}"' in (trained / name / "config.pbtxt").read_text()


def test_the_user_tower_names_its_companion(trained: Path) -> None:
    configuration = (trained / "dssm_user" / "config.pbtxt").read_text()
    assert 'parameters { key: "companions" value { string_value: "dssm_item" } }' in configuration


def test_towers_take_fingerprints_and_answer_with_unit_vectors(trained: Path) -> None:
    history = features.encode_history([("i3", 5.0), ("i6", 4.0)])
    user = served.ServedModel(trained, "dssm_user", 1)(
        features.dssm_user_inputs(history, UserProfile("new", 30, "F", "student"))
    )
    items = features.dssm_item_inputs(features.encode_items([ItemFacts("i3", "Comedy number 3", ("Comedy",), 1993)]))
    item = served.ServedModel(trained, "dssm_item", 1)(items)
    assert user.shape == item.shape == (1, 64)
    np.testing.assert_allclose([np.linalg.norm(user), np.linalg.norm(item)], 1, rtol=1e-5)


def test_an_item_that_was_never_trained_is_placed_by_its_content(trained: Path) -> None:
    new = features.encode_items(
        [ItemFacts("new-1", "New", ("War",), 1995), ItemFacts("new-2", "New", ("Drama",), 1995)]
    )
    war, drama = served.ServedModel(trained, "dssm_item", 1)(features.dssm_item_inputs(new))
    assert not np.allclose(war, drama)


def test_a_user_without_history_or_profile_has_a_finite_vector(trained: Path) -> None:
    inputs = features.dssm_user_inputs(features.encode_history([]), UserProfile("nobody"))
    assert np.isfinite(served.ServedModel(trained, "dssm_user", 1)(inputs)).all()


@pytest.mark.parametrize("candidates", [1, 7, 300])
def test_the_ranker_scores_any_number_of_candidates(trained: Path, candidates: int) -> None:
    items = features.encode_items([ItemFacts(f"i{number}", "", ("War",)) for number in range(candidates)])
    history = features.encode_history([("i3", 5.0)])
    statistics = features.candidate_statistics(
        [features.ItemAggregates()] * candidates, items.categories, items.categories[:1], history[1]
    )
    inputs = features.din_inputs(history, UserProfile("u1"), features.UserAggregates(), items, statistics)
    scores = served.ServedModel(trained, "din", 1)(inputs)
    assert scores.shape == (candidates, 1)
    assert ((scores > 0) & (scores < 1)).all()


def test_the_two_rankers_are_not_the_same(trained: Path) -> None:
    models = [(trained / "din" / version / "model.onnx").read_bytes() for version in ("1", "2")]
    assert models[0] != models[1]


def test_a_run_that_was_stopped_and_resumed_ends_with_the_same_weights(tmp_path: Path) -> None:
    material = prepare(synthetic())
    recipe = replace(TowerRecipe(), schedule=replace(TowerRecipe().schedule, epochs=4, batch_size=128, patience=9))
    whole, _ = towers.train(material, recipe, silent)

    with pytest.raises(Killed):
        towers.train(material, recipe, killed_after_epoch(2), tmp_path / "towers.pt")
    resumed, fitted = towers.train(material, recipe, silent, tmp_path / "towers.pt")

    assert fitted.epochs == 4
    for name, weights in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], weights, rtol=0, atol=0)


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    material = prepare(synthetic())
    recipe = replace(TowerRecipe(), schedule=replace(TowerRecipe().schedule, epochs=1))
    towers.train(material, recipe, silent, tmp_path / "towers.pt")
    other = replace(recipe, schedule=replace(recipe.schedule, seed=99))
    with pytest.raises(CheckpointError, match="is of another run"):
        towers.train(material, other, silent, tmp_path / "towers.pt")


class Killed(Exception):
    """Stands for the process's end."""


def silent(metric: str, value: float, epoch: int) -> None:
    """Reports to nobody."""


def killed_after_epoch(last: int) -> fitting.Report:
    """A report that ends the run in the middle of an epoch's end, before its checkpoint."""

    def report(metric: str, value: float, epoch: int) -> None:
        if epoch > last:
            raise Killed

    return report
