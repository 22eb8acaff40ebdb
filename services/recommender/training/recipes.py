"""Recipes: everything that decides how a version is trained, and so everything that its model card has to say of it."""

from dataclasses import dataclass, field

from recommender.training.din import DinHyperparameters
from recommender.training.dssm import DssmHyperparameters
from recommender.training.fitting import Schedule


@dataclass(frozen=True, slots=True)
class TowerRecipe:
    """How the towers are trained."""

    hyperparameters: DssmHyperparameters = field(default_factory=DssmHyperparameters)
    schedule: Schedule = field(default_factory=lambda: Schedule(epochs=14))


@dataclass(frozen=True, slots=True)
class RankerRecipe:
    """How the ranker is trained: negatives for each event, of either kind, beside the disliked events."""

    uniform_negatives: int
    recalled_negatives: int
    hyperparameters: DinHyperparameters = field(default_factory=DinHyperparameters)
    schedule: Schedule = field(default_factory=lambda: Schedule(epochs=12, batch_size=256, learning_rate=1e-3))


RANKERS = {
    "uniform": RankerRecipe(uniform_negatives=4, recalled_negatives=0),
    "recalled": RankerRecipe(uniform_negatives=2, recalled_negatives=4),
}
"""The two rankers of the demo: one learns against items at random, the other against what recall would have offered."""
