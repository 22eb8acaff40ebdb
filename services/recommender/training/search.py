"""Hyper-parameter search with Optuna: short trainings, judged on the validation part, given up early when behind."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import optuna
from optuna.trial import BaseTrial

from recommender.training.recipes import RankerRecipe, TowerRecipe
from training.fitting import Fitted, Report, Schedule

Recipe = TypeVar("Recipe", TowerRecipe, RankerRecipe)

TRIAL_EPOCHS = 4


def search(
    recipe: Recipe,
    suggest: Callable[[BaseTrial, Recipe], Recipe],
    train: Callable[[Recipe, Report], Fitted],
    study: str,
    trials: int,
    scratch: Path,
) -> Recipe:
    """The best recipe of `trials` and those before: a study goes on where `scratch`'s `optuna.db` says it stood.

    The test part is never looked at: a trial's score is the one that early stopping uses.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    running = optuna.create_study(
        study_name=study,
        storage=f"sqlite:///{scratch.resolve() / 'optuna.db'}",
        load_if_exists=True,
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=recipe.schedule.seed),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=3),
    )

    def score(trial: optuna.Trial) -> float:
        tried = suggest(trial, recipe)
        tried = replace(tried, schedule=replace(tried.schedule, epochs=min(TRIAL_EPOCHS, recipe.schedule.epochs)))

        def give_up_when_behind(metric: str, value: float, epoch: int) -> None:
            if metric == "validation":
                trial.report(value, epoch)
                if trial.should_prune():
                    raise optuna.TrialPruned

        return train(tried, give_up_when_behind).best_score

    running.optimize(score, n_trials=trials)
    return suggest(optuna.trial.FixedTrial(running.best_params), recipe)


def suggest_towers(trial: BaseTrial, recipe: TowerRecipe) -> TowerRecipe:
    """The towers' temperature, dropouts and learning rate."""
    return replace(
        recipe,
        hyperparameters=replace(
            recipe.hyperparameters,
            temperature=trial.suggest_float("temperature", 0.03, 0.2, log=True),
            dropout=trial.suggest_float("dropout", 0.0, 0.4),
            id_dropout=trial.suggest_float("id_dropout", 0.05, 0.4),
        ),
        schedule=_suggest_schedule(trial, recipe),
    )


def suggest_ranker(trial: BaseTrial, recipe: RankerRecipe) -> RankerRecipe:
    """The ranker's dropouts, width and learning rate."""
    return replace(
        recipe,
        hyperparameters=replace(
            recipe.hyperparameters,
            hidden=trial.suggest_categorical("hidden", [64, 96, 128]),
            dropout=trial.suggest_float("dropout", 0.0, 0.5),
            id_dropout=trial.suggest_float("id_dropout", 0.0, 0.3),
        ),
        schedule=_suggest_schedule(trial, recipe),
    )


def _suggest_schedule(trial: BaseTrial, recipe: TowerRecipe | RankerRecipe) -> Schedule:
    return replace(
        recipe.schedule,
        learning_rate=trial.suggest_float("learning_rate", 5e-4, 5e-3, log=True),
        weight_decay=trial.suggest_float("weight_decay", 1e-6, 1e-2, log=True),
    )
