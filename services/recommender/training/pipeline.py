"""The pipeline: prepare, train, export, measure, write the version and its card."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from recommender import features
from recommender.features import LIKED
from recommender.training import evaluation, export, fitting, measures, ranking_examples
from recommender.training.din import Din, DinLoss, Standardisation, Standardise
from recommender.training.dssm import Dssm, ItemTower, UserTower
from recommender.training.examples import Part
from recommender.training.fitting import Fitted, Report
from recommender.training.material import Material, as_tensors
from recommender.training.ranking_examples import RECALLED
from recommender.training.recipes import RankerRecipe, TowerRecipe
from recommender.training.served import ITEM_TOWER, MODEL_FILE, RANKER, USER_TOWER, versions

CHECKED_ROWS = 256
"""Rows of the test part that ONNX is compared with PyTorch on."""


def train_towers(
    material: Material, recipe: TowerRecipe, report: Report, checkpoint: Path | None = None
) -> tuple[Dssm, Fitted]:
    """Trains both towers; stops early by recall@50 on the validation part."""
    torch.manual_seed(recipe.schedule.seed)
    shares = material.popularity / material.popularity.sum()
    dssm = Dssm(
        material.vocabularies,
        recipe.hyperparameters,
        material.catalogue_rows(),
        material.vocabulary_rows(),
        torch.from_numpy(shares.astype(np.float32)),
    )
    training, validation = material.parts[Part.TRAIN], material.parts[Part.VALIDATION]
    examples = as_tensors(material.vocabularies.rows(training.inputs)) | {"target": torch.from_numpy(training.targets)}
    inputs = as_tensors(material.vocabularies.rows(validation.inputs))

    def recall_at_50() -> float:
        device = dssm.popularity.device
        placed = {name: tensor.to(device) for name, tensor in inputs.items()}
        users = dssm.user_tower(**placed, table=dssm.history_table())
        scores = (users @ dssm.item_vectors().T).cpu().numpy()
        ranks = [
            measures.rank_of_target(scores[row], int(target), validation.seen_before(row))
            for row, target in enumerate(validation.targets)
        ]
        return measures.hit_rate(np.array(ranks), 50)

    run = fitting.run_name(material.dataset.sha256, recipe)
    fitted = fitting.fit(dssm, examples, recall_at_50, recipe.schedule, checkpoint=checkpoint, run=run, report=report)
    return dssm.cpu(), fitted


def train_ranker(
    material: Material,
    repository: Path,
    tower: int,
    recipe: RankerRecipe,
    report: Report,
    checkpoint: Path | None = None,
) -> tuple[Din, Fitted]:
    """Trains the ranker over what `tower`, a version in the repository, recalls; stops early by NDCG@10 of liked items."""
    torch.manual_seed(recipe.schedule.seed)
    examples = as_tensors(ranker_examples(material, repository, tower, recipe))
    din = Din(
        material.vocabularies,
        recipe.hyperparameters,
        material.vocabulary_rows(),
        Standardisation(Standardise(examples["user_statistics"]), Standardise(examples["candidate_statistics"])),
    )
    ndcg_at_10 = _ranker_validation(din, material, repository, tower)
    run = fitting.run_name(material.dataset.sha256, recipe)
    fitted = fitting.fit(
        DinLoss(din), examples, ndcg_at_10, recipe.schedule, checkpoint=checkpoint, run=run, report=report
    )
    return din.cpu(), fitted


def ranker_examples(material: Material, repository: Path, tower: int, recipe: RankerRecipe) -> dict[str, np.ndarray]:
    """DIN's inputs as rows, and `labels`, for the recipe's negatives."""
    events, seed = material.parts[Part.TRAIN], recipe.schedule.seed
    negatives = []
    if recipe.uniform_negatives:
        items = len(material.catalogue)
        negatives.append(
            ranking_examples.uniform_negatives(events, material.own, items, recipe.uniform_negatives, seed)
        )
    if recipe.recalled_negatives:
        users, items_ = evaluation.vectors(repository, tower, material, Part.TRAIN)
        negatives.append(
            ranking_examples.recalled_negatives(events, users, items_, material.own, recipe.recalled_negatives, seed)
        )
    built = ranking_examples.training_examples(
        material.dataset, material.catalogue, events, np.concatenate(negatives, axis=1)
    )
    return material.vocabularies.rows(built.inputs) | {"labels": built.labels}


def _ranker_validation(din: Din, material: Material, repository: Path, tower: int):
    validation = material.parts[Part.VALIDATION]
    liked = np.flatnonzero(validation.ratings >= LIKED)
    users, items = evaluation.vectors(repository, tower, material, Part.VALIDATION)
    recalled = ranking_examples.recall(users, items, validation, RECALLED)
    chosen = set(liked.tolist())
    rows = [
        inputs
        for number, inputs in ranking_examples.moments_with_inputs(
            material.dataset, material.catalogue, Part.VALIDATION, recalled
        )
        if number in chosen
    ]
    inputs = as_tensors(material.vocabularies.rows(ranking_examples.group(rows)))
    hits = recalled[liked] == validation.targets[liked][:, None]

    def ndcg_at_10() -> float:
        table, device = din.history_table(), next(din.parameters()).device
        ranks = np.zeros(len(liked), np.int64)
        for start in range(0, len(liked), 64):
            batch = {name: tensor[start : start + 64].to(device) for name, tensor in inputs.items()}
            scores = din(**batch, table=table).cpu().numpy()
            for offset, row in enumerate(scores):
                place = np.flatnonzero(hits[start + offset])
                if len(place):
                    ranks[start + offset] = measures.rank_of_target(row, int(place[0]))
        return measures.ndcg(ranks, 10)

    return ndcg_at_10


class ServedUserTower(nn.Module):
    """The user tower with its table of items as a constant."""

    def __init__(self, dssm: Dssm) -> None:
        super().__init__()
        self.tower: UserTower = dssm.user_tower
        self.register_buffer("table", dssm.history_table().detach())

    def forward(self, history_items, history_ratings, user_age_bucket, user_gender, user_occupation):
        return self.tower(
            history_items, history_ratings, user_age_bucket, user_gender, user_occupation, self.get_buffer("table")
        )


class ServedRanker(nn.Module):
    """DIN for one user and N candidates, with its table of items as a constant; probabilities float32 [N, 1]."""

    def __init__(self, din: Din) -> None:
        super().__init__()
        self.din = din
        self.register_buffer("table", din.history_table().detach())

    def forward(
        self,
        history_items,
        history_ratings,
        user_age_bucket,
        user_gender,
        user_occupation,
        user_statistics,
        candidate_items,
        candidate_categories,
        candidate_year,
        candidate_statistics,
    ):
        logits = self.din(
            history_items,
            history_ratings,
            user_age_bucket,
            user_gender,
            user_occupation,
            user_statistics,
            candidate_items[None],
            candidate_categories[None],
            candidate_year[None],
            candidate_statistics[None],
            self.get_buffer("table"),
        )
        return torch.sigmoid(logits[0])[:, None]


def export_towers(dssm: Dssm, material: Material, repository: Path, version: int) -> float:
    dssm.eval()
    users = {name: values[:CHECKED_ROWS] for name, values in material.parts[Part.TEST].inputs.items()}
    items = features.dssm_item_inputs(material.catalogue.encoded)
    difference = 0.0
    for name, model, inputs, output, batch, parameters in (
        (USER_TOWER, ServedUserTower(dssm), users, "user_vector", 64, {"companions": ITEM_TOWER}),
        (ITEM_TOWER, dssm.item_tower, items, "item_vector", 1024, {}),
    ):
        path = repository / name / str(version) / MODEL_FILE
        d = export.export(model.eval(), inputs, output, dict.fromkeys(inputs, "batch"), material.vocabularies, path)
        (repository / name / "config.pbtxt").write_text(export.triton_config(name, path, batch, parameters))
        difference = max(d, difference)
    return difference


def export_ranker(din: Din, material: Material, repository: Path, version: int) -> float:
    din.eval()
    n = min(RECALLED, len(material.catalogue))
    candidates = np.broadcast_to(np.arange(n), (len(material.parts[Part.TEST]), n))
    _, inputs = next(ranking_examples.moments_with_inputs(material.dataset, material.catalogue, Part.TEST, candidates))
    path = repository / RANKER / str(version) / MODEL_FILE
    dynamic = {name: "candidates" for name in inputs if name.startswith("candidate_")}
    d = export.export(ServedRanker(din).eval(), inputs, "score", dynamic, material.vocabularies, path)
    (repository / RANKER / "config.pbtxt").write_text(export.triton_config(RANKER, path, 0, {}))
    return d
