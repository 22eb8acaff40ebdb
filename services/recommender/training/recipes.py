"""Recipes: everything that decides how a version is trained, and so everything that its model card has to say of it."""

from dataclasses import dataclass, field

from recommender.features import VECTOR
from recommender.training.din import DinHyperparameters
from recommender.training.dssm import DssmHyperparameters
from training.fitting import Schedule


@dataclass(frozen=True, slots=True)
class TowerRecipe:
    """How the towers are trained."""

    hyperparameters: DssmHyperparameters = field(default_factory=DssmHyperparameters)
    schedule: Schedule = field(default_factory=lambda: Schedule(epochs=6))


@dataclass(frozen=True, slots=True)
class RankerRecipe:
    """How the ranker is trained: negatives for each event, of either kind, beside the disliked events.

    `warm_start`: item embeddings begin as the item tower's vectors, not at random. `events`: liked and disliked events
    taken at random from the training part, of MovieLens-100K's 71,000.
    """

    uniform_negatives: int
    recalled_negatives: int
    warm_start: bool = False
    events: int = 60_000
    hyperparameters: DinHyperparameters = field(default_factory=DinHyperparameters)
    schedule: Schedule = field(default_factory=lambda: Schedule(epochs=6, batch_size=256, learning_rate=2e-3))


RANKERS = {
    "uniform": RankerRecipe(uniform_negatives=4, recalled_negatives=0),
    "recalled": RankerRecipe(
        uniform_negatives=1,
        recalled_negatives=5,
        warm_start=True,
        hyperparameters=DinHyperparameters(identity=VECTOR),
    ),
}
"""The two rankers of the demo: one learns from nothing against items at random, the other from the towers' vectors
against what recall would have offered as well."""
