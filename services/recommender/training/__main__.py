"""`python -m recommender.training train|evaluate`: makes the recommender's models, and measures them."""

import argparse
import json
import logging
import sys
from dataclasses import asdict
from pathlib import Path

import torch

from recommender import data
from recommender.data import DataError, Dataset
from recommender.training import evaluation, material, pipeline
from recommender.training.evaluation import Measured
from training.fitting import CheckpointError, Workers
from training.workshop import Workshop

ML_100K = "ml-100k"
DEFAULT_THREADS = 2


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; 0 when all went well, 2 when the data or a checkpoint cannot be used."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command == "train" and options.search and Workers.current().count > 1:
        parser.error("--search runs in one process: search first, without torchrun")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    torch.set_num_threads(options.threads)
    try:
        dataset = _dataset(options.data, options.scratch)
        if options.command == "train":
            with Workers.current().joined():
                workshop = Workshop(
                    options.output,
                    options.scratch,
                    "recommender",
                    options.search,
                    options.resume,
                    options.epochs,
                )
                results = pipeline.train(dataset, options.models, workshop)
        else:
            results = evaluation.evaluate(options.models, material.prepare(dataset))
    except (DataError, CheckpointError) as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    if Workers.current().first:
        print(evaluation.table(results))  # noqa: T201
        _write_report(options.report, dataset, results)
    return 0


def _dataset(where: str, scratch: Path) -> Dataset:
    return data.load(data.fetch_movielens_100k(scratch) if where == ML_100K else Path(where))


def _write_report(path: Path, dataset: Dataset, results: list[Measured]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "data": {"name": dataset.name, "sha256": dataset.sha256, "interactions": len(dataset.interactions)},
        "results": [asdict(line) for line in results],
    }
    path.write_text(json.dumps(content, indent=2) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m recommender.training", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, purpose in (
        ("train", "train, export, measure and write the next versions"),
        ("evaluate", "measure every version in a repository beside the floors"),
    ):
        command = commands.add_parser(name, help=purpose, description=purpose)
        command.add_argument("--data", required=True, help=f"a folder, or {ML_100K} to fetch MovieLens-100K")
        command.add_argument(
            "--scratch", type=Path, default=Path("build/training"), help="downloads, checkpoints, runs"
        )
        command.add_argument("--threads", type=int, default=DEFAULT_THREADS, help="of PyTorch")
        command.add_argument("--report", type=Path, default=Path("build/eval/recommender.json"))
    train, evaluate = commands.choices["train"], commands.choices["evaluate"]
    train.add_argument("--output", type=Path, required=True, help="the model repository")
    train.add_argument("--models", nargs="+", choices=pipeline.MODELS, default=list(pipeline.MODELS))
    train.add_argument("--search", type=int, default=0, metavar="N", help="trials of a search before the training")
    train.add_argument("--resume", action="store_true", help="go on from a checkpoint")
    train.add_argument("--epochs", type=int, help="at most so many")
    evaluate.add_argument("--models", type=Path, default=Path("infra/models"), help="the model repository")
    return parser


if __name__ == "__main__":
    sys.exit(main())
