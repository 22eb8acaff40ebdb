"""The ranker's way: build its examples over what a tower recalls, train it, and write the graph that serves."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from recommender.features import LIKED, TOWER_SIMILARITY
from recommender.training import evaluation, export, measures, ranking_examples
from recommender.training.din import Din, DinLoss, Standardisation, Standardise
from recommender.training.examples import Part
from recommender.training.export import Exported
from recommender.training.material import Material, as_tensors
from recommender.training.ranking_examples import RECALLED
from recommender.training.recipes import RankerRecipe
from recommender.training.served import RANKER
from training import fitting
from training.fitting import Fitted, Report

VALIDATION_BATCH = 64
SIMILARITY_WEIGHTS = (0.0, 1.0, 2.0, 4.0, 6.0, 8.0, 12.0, 16.0, 20.0, 24.0, 32.0)
"""Tried for `Din.trust_towers`; the towers' own softmax multiplies a cosine by 1 / temperature, about 14."""


@dataclass(frozen=True, slots=True, eq=False)
class Lessons:
    """What a ranker learns from, made once for all trials of a search.

    `examples`: DIN's inputs as rows, and `labels`; `ndcg_at_10`: the validation measure of a ranker, which also sets
    how much it trusts the towers; `item_vectors` float32 [V+1, 64]: the item tower's vector of every vocabulary row,
    row 0 zero.
    """

    examples: dict[str, Tensor]
    ndcg_at_10: Callable[[Din], float]
    item_vectors: Tensor


def train(
    material: Material, lessons: Lessons, recipe: RankerRecipe, report: Report, checkpoint: Path | None = None
) -> tuple[Din, Fitted]:
    """Trains the ranker; stops early by NDCG@10 of the validation part's liked items."""
    torch.manual_seed(recipe.schedule.seed)
    statistics = Standardisation(
        Standardise(lessons.examples["user_statistics"]),
        Standardise(lessons.examples["candidate_statistics"][..., :TOWER_SIMILARITY]),
    )
    din = Din(material.vocabularies, recipe.hyperparameters, material.vocabulary_rows(), statistics)
    if recipe.warm_start:
        din.begin_with(lessons.item_vectors)
    fitted = fitting.fit(
        DinLoss(din),
        lessons.examples,
        lambda: lessons.ndcg_at_10(din),
        recipe.schedule,
        checkpoint=checkpoint,
        run=fitting.run_name(material.dataset.sha256, recipe),
        report=report,
    )
    return din.cpu(), fitted


def prepare(material: Material, repository: Path, tower: int, recipe: RankerRecipe) -> Lessons:
    """The lessons of a recipe, over what version `tower` of the towers recalls."""
    _, vectors = evaluation.vectors(repository, tower, material, Part.VALIDATION)
    by_row = torch.from_numpy(vectors)[material.place_of_row()]
    by_row[0] = 0
    return Lessons(
        examples=_examples(material, repository, tower, recipe),
        ndcg_at_10=_validation(material, repository, tower),
        item_vectors=by_row,
    )


def _examples(material: Material, repository: Path, tower: int, recipe: RankerRecipe) -> dict[str, Tensor]:
    """Events of the training part, each with the recipe's negatives."""
    events, seed = material.parts[Part.TRAIN], recipe.schedule.seed
    vectors = evaluation.vectors(repository, tower, material, Part.TRAIN)
    items = len(material.catalogue)
    negatives = [ranking_examples.uniform_negatives(events, material.own, items, recipe.uniform_negatives, seed)]
    if recipe.recalled_negatives:
        negatives.append(
            ranking_examples.recalled_negatives(events, vectors, material.own, recipe.recalled_negatives, seed)
        )
    built = ranking_examples.training_examples(
        material.dataset, material.catalogue, events, np.hstack(negatives), vectors, recipe.events, seed
    )
    return as_tensors(material.vocabularies.rows(built.inputs) | {"labels": built.labels})


def _validation(material: Material, repository: Path, tower: int) -> Callable[[Din], float]:
    """NDCG@10 of the validation part's liked items among what `tower` recalls.

    A ranker is measured with the best of `SIMILARITY_WEIGHTS`, and left with it.
    """
    events = material.parts[Part.VALIDATION]
    liked = events.ratings >= LIKED
    vectors = evaluation.vectors(repository, tower, material, Part.VALIDATION)
    recalled = ranking_examples.recall(vectors, events, RECALLED)
    calls = ranking_examples.calls(material.dataset, material.catalogue, Part.VALIDATION, recalled, vectors, only=liked)
    inputs = as_tensors(material.vocabularies.rows(ranking_examples.group([call for _, call in calls])))
    similarities = inputs["candidate_statistics"][..., TOWER_SIMILARITY].numpy()
    usual = float(similarities.mean())
    found = recalled[liked] == events.targets[liked, None]

    def ndcg_at_10(din: Din) -> float:
        din.trust_towers(0.0, usual)
        table = din.history_table()
        scores = [
            din(
                **{name: tensor[start : start + VALIDATION_BATCH].to(table.device) for name, tensor in inputs.items()},
                table=table,
            )
            for start in range(0, len(found), VALIDATION_BATCH)
        ]
        logits = torch.cat(scores).cpu().numpy()
        measured = {
            weight: measures.ndcg(measures.ranks_among(logits + np.float32(weight) * similarities, found), 10)
            for weight in SIMILARITY_WEIGHTS
        }
        best = max(measured, key=lambda weight: measured[weight])
        din.trust_towers(best, usual)
        chosen = logits + np.float32(best) * (similarities - np.float32(usual))
        din.score_around(float(chosen.mean()), float(chosen.std()))
        return measured[best]

    return ndcg_at_10


def export_ranker(din: Din, material: Material, repository: Path, tower: int, version: int) -> Exported:
    """Writes `din`, which orders what `tower` recalls, and its configuration.

    One call is one user with N candidates: the server has nothing to batch.
    """
    count = min(RECALLED, len(material.catalogue))
    candidates = np.broadcast_to(np.arange(count), (len(material.parts[Part.TEST]), count))
    vectors = evaluation.vectors(repository, tower, material, Part.TEST)
    _, inputs = next(ranking_examples.calls(material.dataset, material.catalogue, Part.TEST, candidates, vectors))
    return export.write_version(
        ServedRanker(din).eval(),
        inputs,
        "score",
        open_inputs=[name for name in inputs if name.startswith("candidate_")],
        vocabularies=material.vocabularies,
        target=export.Target(
            repository,
            RANKER,
            version,
            max_batch_size=0,
            # A version that follows has to prove itself as a canary first; a call ranks about 300 candidates.
            parameters={"initial_stable": "1", "warm_up": "rows=300"},
        ),
    )


class ServedRanker(nn.Module):
    """DIN for one user and N candidates, with its table of items as a constant of the graph."""

    def __init__(self, din: Din) -> None:
        super().__init__()
        self.din = din
        with torch.no_grad():
            self.register_buffer("table", din.eval().history_table())

    def forward(
        self,
        history_items: Tensor,
        history_ratings: Tensor,
        user_age_bucket: Tensor,
        user_gender: Tensor,
        user_occupation: Tensor,
        user_statistics: Tensor,
        candidate_items: Tensor,
        candidate_categories: Tensor,
        candidate_year: Tensor,
        candidate_statistics: Tensor,
    ) -> Tensor:
        """Scores float32 [N, 1] from 0 to 1: an order, not a click rate."""
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
        return self.din.scores(logits[0])[:, None]
