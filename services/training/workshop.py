"""Where training runs write, and how much they may do."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

from training import fitting
from training.fitting import Report, Schedule, Workers
from training.tracking import tracked


class Recipe(Protocol):
    """Everything that decides how a version is trained: a frozen dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def schedule(self) -> Schedule:
        """How long and how fast."""


AnyRecipe = TypeVar("AnyRecipe", bound=Recipe)


@dataclass(frozen=True, slots=True)
class Workshop:
    """Where a run writes and how much it may do.

    `repository`: the model repository; `scratch`: checkpoints, searches and tracked runs; `experiment`: the service
    whose models are trained; `trials`: of a search before the training, 0 for none; `resume`: go on from a checkpoint;
    `epochs`: at most so many, whatever the recipe says.
    """

    repository: Path
    scratch: Path
    experiment: str
    trials: int = 0
    resume: bool = False
    epochs: int | None = None

    def checkpoint(self, run: str) -> Path:
        """The checkpoint of a run; without `resume` an old one is removed first."""
        if not self.resume:
            self.forget(run)
        Workers.current().wait()
        return self._checkpoint(run)

    def forget(self, run: str) -> None:
        """Removes the checkpoint of a run that is done, or not to be resumed."""
        if Workers.current().first:
            self._checkpoint(run).unlink(missing_ok=True)

    def tracked(self, run: str, recipe: Recipe) -> AbstractContextManager[Report]:
        """The tracked run of the first process; the others report to nobody."""
        if Workers.current().first:
            return tracked(self.experiment, run, asdict(recipe), self.scratch / "mlflow")
        return nullcontext(fitting.to_nobody)

    def limited(self, recipe: AnyRecipe) -> AnyRecipe:
        """The recipe with no more epochs than this run may take."""
        epochs = min(recipe.schedule.epochs, self.epochs or recipe.schedule.epochs)
        return replace(recipe, schedule=replace(recipe.schedule, epochs=epochs))

    def _checkpoint(self, run: str) -> Path:
        return self.scratch / "checkpoints" / f"{run}.pt"
