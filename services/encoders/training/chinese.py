"""Chinese: pairs of questions with the label whether they ask the same, from BQ and LCQMC."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from encoders.training import measures
from encoders.training.data import Pairs
from encoders.training.lessons import PairLesson
from encoders.training.material import Material
from encoders.training.network import LowRank
from training.fitting import Schedule


@dataclass(frozen=True, slots=True)
class ChineseRecipe:
    """How the Chinese encoder is trained: CoSENT on the labels, and `ranking` times in-batch ranking on the same pairs.

    `held_out`: the share of the question groups of each set that validates. `kept`: see `EnglishRecipe`.
    """

    low_rank: LowRank = field(default_factory=lambda: LowRank(layers=6))
    temperature: float = 0.05
    ranking: float = 0.0
    ranking_temperature: float = 0.05
    held_out: float = 0.1
    kept: float = 1.0
    schedule: Schedule = field(
        default_factory=lambda: Schedule(
            epochs=4, batch_size=64, learning_rate=2e-4, weight_decay=0.01, warmup_steps=50, patience=2
        )
    )


class PairCourse:
    """The lesson on some sets of pairs, and how it is validated."""

    def __init__(self, material: Material, sets: Sequence[tuple[Pairs, Pairs]], recipe: ChineseRecipe) -> None:
        """`sets`: of each data set the pairs to train on, and those that validate."""
        self._network = material.network
        first = [question for train, _ in sets for question in train.first]
        second = [question for train, _ in sets for question in train.second]
        questions = {question: place for place, question in enumerate(dict.fromkeys(first + second))}
        self.lesson = PairLesson(
            material.network,
            material.lower(list(questions)),
            [questions[question] for question in first],
            [questions[question] for question in second],
            [same for train, _ in sets for same in train.same],
            [number for number, (train, _) in enumerate(sets) for _ in range(len(train))],
            temperature=recipe.temperature,
            ranking=recipe.ranking,
            ranking_temperature=recipe.ranking_temperature,
        )
        self.examples: Mapping[str, Tensor] = {"pair": torch.arange(len(first))}
        self._checks = [
            (material.lower(held.first), material.lower(held.second), held.same) for _, held in sets if len(held)
        ]

    def validate(self) -> float:
        """The mean over the sets of Spearman's correlation of cosines with labels."""
        scores = []
        for first, second, same in self._checks:
            cosines = (self._network.encode(first) * self._network.encode(second)).sum(dim=1)
            scores.append(measures.spearman(cosines.cpu().numpy(), same))
        return sum(scores) / len(scores)
