"""The training pipeline, whole, on a synthetic data set of 60 users: an epoch each, exported, checked, resumed."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="training needs onnx: pip install casebook[training]")
torch = pytest.importorskip("torch", reason="training needs torch: pip install casebook[training]")

from recommender import features  # noqa: E402
from recommender.data import Dataset  # noqa: E402
from recommender.features import Interaction, ItemFacts, UserProfile  # noqa: E402
from recommender.training import export, pipeline, search, served, towers  # noqa: E402
from recommender.training.material import prepare  # noqa: E402
from recommender.training.recipes import TowerRecipe  # noqa: E402
from training import fitting  # noqa: E402
from training.fitting import CheckpointError, Fitted  # noqa: E402
from training.workshop import Workshop  # noqa: E402

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
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    folder = tmp_path_factory.mktemp("training")
    return Workshop(folder / "models", folder / "scratch", "recommender", epochs=1)


@pytest.fixture(scope="module")
def towers_of(workshop: Workshop) -> Path:
    """A model repository with one epoch's towers."""
    results = pipeline.train(synthetic(), ["towers"], workshop)
    assert {line.method for line in results} == {"popularity", "item-kNN", "DSSM 1"}
    return workshop.repository


@pytest.fixture(scope="module")
def rankers_of(towers_of: Path, workshop: Workshop) -> Path:
    """The same with both rankers, trained over what those towers recall."""
    results = pipeline.train(synthetic(), ["ranker-uniform", "ranker-recalled"], workshop)
    assert {line.method for line in results if line.stage == "ranking"} == {"popularity", "DSSM 1", "DIN 1", "DIN 2"}
    return workshop.repository


def card(repository: Path, name: str, version: int) -> dict[str, Any]:
    return json.loads((repository / name / str(version) / "card.json").read_text())


def user_vector(repository: Path, history: list[tuple[str, float]], profile: UserProfile) -> np.ndarray:
    inputs = features.dssm_user_inputs(features.encode_history(history), profile)
    return served.ServedModel(repository, "dssm_user", 1)(inputs)


def item_vectors(repository: Path, *items: ItemFacts) -> np.ndarray:
    inputs = features.dssm_item_inputs(features.encode_items(items))
    return served.ServedModel(repository, "dssm_item", 1)(inputs)


def test_towers_take_fingerprints_and_answer_with_unit_vectors(towers_of: Path) -> None:
    user = user_vector(towers_of, [("i3", 5.0), ("i6", 4.0)], UserProfile("new", 30, "F", "student"))
    item = item_vectors(towers_of, ItemFacts("i3", "Comedy number 3", ("Comedy",), 1993))
    assert user.shape == item.shape == (1, 64)
    np.testing.assert_allclose([np.linalg.norm(user), np.linalg.norm(item)], 1, rtol=1e-5)


def test_an_item_that_was_never_trained_is_placed_by_its_content(towers_of: Path) -> None:
    war, drama = item_vectors(
        towers_of, ItemFacts("new-1", "New", ("War",), 1995), ItemFacts("new-2", "New", ("Drama",), 1995)
    )
    assert not np.allclose(war, drama)


def test_a_user_without_history_or_profile_has_a_finite_vector(towers_of: Path) -> None:
    assert np.isfinite(user_vector(towers_of, [], UserProfile("nobody"))).all()


def test_the_towers_card_says_what_they_are(towers_of: Path) -> None:
    for name in ("dssm_user", "dssm_item"):
        written = card(towers_of, name, 1)
        assert written["data"]["sha256"] == "0" * 64
        assert written["onnx_max_absolute_difference"] <= 1e-5
        assert "Harper" in written["data"]["citation"]
        assert {line["method"] for line in written["metrics"]} == {"popularity", "item-kNN", "DSSM 1"}


def test_configurations_are_for_the_server(towers_of: Path) -> None:
    user = (towers_of / "dssm_user" / "config.pbtxt").read_text()
    assert 'name: "dssm_user"' in user
    assert '{ name: "history_items" data_type: TYPE_INT64 dims: [32] }' in user
    assert 'parameters { key: "companions" value { string_value: "dssm_item" } }' in user


@pytest.mark.parametrize("candidates", [1, 7, 300])
def test_the_ranker_scores_any_number_of_candidates(rankers_of: Path, candidates: int) -> None:
    items = features.encode_items([ItemFacts(f"i{number}", "", ("War",)) for number in range(candidates)])
    history = features.encode_history([("i3", 5.0)])
    statistics = features.candidate_statistics(
        [features.ItemAggregates()] * candidates,
        items.categories,
        items.categories[:1],
        history[1],
        np.linspace(-1, 1, candidates, dtype=np.float32),
    )
    inputs = features.din_inputs(history, UserProfile("u1"), features.UserAggregates(), items, statistics)
    scores = served.ServedModel(rankers_of, "din", 1)(inputs)
    assert scores.shape == (candidates, 1)
    assert ((scores >= 0) & (scores <= 1)).all()


def test_the_two_rankers_say_how_they_differ(rankers_of: Path) -> None:
    first, second = card(rankers_of, "din", 1), card(rankers_of, "din", 2)
    assert first["recipe"]["recalled_negatives"] == 0
    assert second["recipe"]["recalled_negatives"] > 0
    assert first["onnx_max_absolute_difference"] <= 1e-5
    assert second["onnx_max_absolute_difference"] <= 1e-5
    assert "max_batch_size: 0" in (rankers_of / "din" / "config.pbtxt").read_text()


def test_an_onnx_file_that_computes_something_else_is_refused(towers_of: Path) -> None:
    model = onnx.load(towers_of / "dssm_item" / "1" / "model.onnx")
    inputs = features.dssm_item_inputs(features.encode_items([ItemFacts("i3", "", ("War",))]))
    with pytest.raises(export.ExportError, match="differs from PyTorch by"):
        export.difference(model, inputs, np.ones((1, 64), np.float32), "this file")


def test_a_run_that_was_killed_and_resumed_ends_with_the_same_weights(tmp_path: Path) -> None:
    material = prepare(synthetic())
    recipe = short_recipe(epochs=4)
    whole, _ = towers.train(material, recipe, fitting.to_nobody)

    with pytest.raises(Killed):
        towers.train(material, recipe, killed_in_epoch(3), tmp_path / "towers.pt")
    resumed, fitted = towers.train(material, recipe, fitting.to_nobody, tmp_path / "towers.pt")

    assert fitted.epochs == 4
    for name, weights in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], weights, rtol=0, atol=0)


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    material = prepare(synthetic())
    towers.train(material, short_recipe(epochs=1), fitting.to_nobody, tmp_path / "towers.pt")
    with pytest.raises(CheckpointError, match="is of another run"):
        towers.train(material, short_recipe(epochs=2), fitting.to_nobody, tmp_path / "towers.pt")


def test_a_search_prefers_what_validates_best(tmp_path: Path) -> None:
    """A training whose score is its learning rate: the search finds a higher one than it was given."""

    def train(recipe: TowerRecipe, report: fitting.Report) -> Fitted:
        report("validation", recipe.schedule.learning_rate, 1)
        return Fitted(1, recipe.schedule.learning_rate, 1)

    found = search.search(short_recipe(epochs=1), search.suggest_towers, train, "towers", trials=8, scratch=tmp_path)
    assert found.schedule.learning_rate > 2e-3
    assert found.schedule.epochs == 1


def short_recipe(epochs: int) -> TowerRecipe:
    recipe = TowerRecipe()
    return replace(recipe, schedule=replace(recipe.schedule, epochs=epochs, batch_size=128, patience=9))


class Killed(Exception):
    """Stands for the process's end."""


def killed_in_epoch(number: int) -> fitting.Report:
    """A report that ends the run in the given epoch, before its checkpoint."""

    def report(metric: str, value: float, epoch: int) -> None:
        if epoch == number:
            raise Killed

    return report
