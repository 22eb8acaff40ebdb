"""Experiment tracking with MLflow, in a local SQLite store unless MLFLOW_TRACKING_URI says otherwise."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow

from training.fitting import Report


@contextmanager
def tracked(experiment: str, name: str, parameters: Mapping[str, Any], folder: Path) -> Iterator[Report]:
    """A run called `name`; what is reported inside goes into it and onto the terminal.

    Args:
        experiment: what MLflow groups runs by: the service whose models are trained.
        name: of the run.
        parameters: nested mappings are flattened: `schedule.epochs`.
        folder: holds `mlflow.db` and the artifacts of runs tracked locally.

    """
    folder.mkdir(parents=True, exist_ok=True)
    if "MLFLOW_TRACKING_URI" not in os.environ:
        mlflow.set_tracking_uri(f"sqlite:///{folder.resolve() / 'mlflow.db'}")
    if mlflow.get_experiment_by_name(experiment) is None:
        mlflow.create_experiment(experiment, artifact_location=(folder / "artifacts").resolve().as_uri())
    mlflow.set_experiment(experiment)
    with mlflow.start_run(run_name=name):
        mlflow.log_params(dict(_flat(parameters)))

        def report(metric: str, value: float, epoch: int) -> None:
            mlflow.log_metric(metric, value, step=epoch)
            print(f"{name}  epoch {epoch:2d}  {metric} {value:.4f}", flush=True)  # noqa: T201 - a person waits for it

        yield report


def _flat(parameters: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in parameters.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
