"""English: phrasings of intents, from banking77 and CLINC150."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from encoders.training import measures
from encoders.training.data import Phrasings
from encoders.training.lessons import NO_INTENT, IntentLesson
from encoders.training.material import Material
from encoders.training.measures import Int64Array
from encoders.training.network import LowRank, Ragged
from training.fitting import Schedule

INDEXED = 30
"""Training phrasings of an intent that a validation query is searched among: all of them would take minutes."""


@dataclass(frozen=True, slots=True)
class EnglishRecipe:
    """How the English encoder is trained.

    A batch is `schedule.batch_size` intents, for each `neighbours` of its `hard` hardest, `phrasings` of each intent,
    and `strangers` texts out of scope. `held_out`: the share of each of CLINC150's intents that validates.
    `kept`: the share of the delta that is written. Weights halfway between the pretrained and the fine-tuned ones keep
    most of what was learnt and lose less of what was known (Mitchell Wortsman et al. 2022. Robust fine-tuning of
    zero-shot models. arXiv:2109.01903).
    """

    low_rank: LowRank = field(default_factory=lambda: LowRank(layers=6))
    phrasings: int = 4
    neighbours: int = 3
    hard: int = 12
    strangers: int = 8
    temperature: float = 0.07
    held_out: float = 0.1
    kept: float = 0.5
    schedule: Schedule = field(
        default_factory=lambda: Schedule(
            epochs=5, batch_size=8, learning_rate=5e-4, weight_decay=0.01, warmup_steps=50, patience=2
        )
    )


@dataclass(frozen=True, slots=True, eq=False)
class IntentSet:
    """A data set: phrasings to train on, phrasings that validate, and texts that are out of its scope."""

    train: Phrasings
    validation: Phrasings
    outside: tuple[str, ...] = ()


class IntentCourse:
    """The lesson on some sets of intents, and how it is validated."""

    def __init__(self, material: Material, sets: Sequence[IntentSet], recipe: EnglishRecipe) -> None:
        texts: list[str] = []
        intents: list[int] = []
        owners: list[int] = []
        self._network, self._checks = material.network, []
        for number, each in enumerate(sets):
            start = max(intents, default=NO_INTENT) + 1
            names = {name: start + place for place, name in enumerate(sorted(set(each.train.intents)))}
            known = np.array([names[name] for name in each.train.intents])
            if len(each.validation):
                wanted = np.array([names[name] for name in each.validation.intents])
                own = len(texts) + _first(known, INDEXED, recipe.schedule.seed)
                self._checks.append((own, material.lower(each.validation.texts), wanted, start))
            texts += [*each.train.texts, *each.outside]
            intents += [*known.tolist(), *[NO_INTENT] * len(each.outside)]
            owners += [number] * (len(each.train) + len(each.outside))
        self._texts, self._intents = material.lower(texts), np.array(intents)
        self.lesson = IntentLesson(
            material.network,
            self._texts,
            intents,
            owners,
            hard=self._hardest(np.array(owners), recipe.hard),
            phrasings=recipe.phrasings,
            neighbours=recipe.neighbours,
            strangers=recipe.strangers,
            temperature=recipe.temperature,
        )
        per_example = recipe.phrasings * (1 + recipe.neighbours)
        counts = np.bincount(self._intents[self._intents != NO_INTENT])
        repeats = np.maximum(1, np.round(counts / per_example)).astype(int)
        self.examples: Mapping[str, Tensor] = {"intent": torch.from_numpy(np.repeat(np.arange(len(counts)), repeats))}

    def validate(self) -> float:
        """The mean over the sets of the shares of queries that find their intent first, and among the first five."""
        return float(np.mean([self._check(*check) for check in self._checks])) if self._checks else 0.0

    def _check(self, places: Int64Array, queries: Ragged, wanted: Int64Array, start: int) -> float:
        index = self._network.encode(self._texts.take(torch.from_numpy(places))).cpu().numpy()
        scores = measures.group_scores(
            self._network.encode(queries).cpu().numpy(), index, self._intents[places] - start
        )
        targets = wanted - start
        return (measures.recall_at(scores, targets, 1) + measures.recall_at(scores, targets, 5)) / 2

    def _hardest(self, owners: Int64Array, count: int) -> dict[int, list[int]]:
        """For each intent those of its set whose mean vectors are nearest, before the training."""
        was_training = self._network.training
        self._network.eval()
        vectors = self._network.encode(self._texts).cpu().numpy()
        self._network.train(was_training)
        numbers = range(int(self._intents.max()) + 1)
        centres = np.stack([vectors[self._intents == number].mean(axis=0) for number in numbers])
        centres /= np.linalg.norm(centres, axis=1, keepdims=True)
        set_of = np.array([owners[self._intents == number][0] for number in numbers])
        cosines = np.where(set_of[:, None] == set_of, centres @ centres.T, -np.inf)
        np.fill_diagonal(cosines, -np.inf)
        order = np.argsort(-cosines, axis=1, kind="stable")[:, :count]
        return {number: [int(each) for each in order[number] if cosines[number, each] > -np.inf] for number in numbers}


def _first(intents: Int64Array, count: int, seed: int) -> Int64Array:
    """The places of so many of each intent, drawn at random."""
    random = np.random.default_rng(seed)
    own = [random.permutation(np.flatnonzero(intents == each))[:count] for each in np.unique(intents)]
    return np.sort(np.concatenate(own))
