"""`python -m encoders.training train|few-shot|evaluate`: fine-tunes the text encoders, and measures them."""

import argparse
import json
import logging
import os
import sys
from dataclasses import asdict
from pathlib import Path

import torch

from encoders import build, catalogue
from encoders.training import evaluation, pipeline
from encoders.training.data import DataError
from encoders.training.evaluation import Measured
from encoders.wheels import EncoderError
from training.fitting import CheckpointError, Workers
from training.workshop import Workshop

DEFAULT_THREADS = 2


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; 0 when all went well, 2 when data, a wheel or a checkpoint cannot be used."""
    options = _parser().parse_args(arguments)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    torch.set_num_threads(options.threads)
    try:
        results = _run(options)
    except (DataError, EncoderError, CheckpointError) as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    if Workers.current().first:
        for language in ("en", "zh"):
            of_language = {name: lines for name, lines in results.items() if name.startswith(f"encoder_{language}")}
            if of_language:
                print(evaluation.table(of_language), end="\n\n")  # noqa: T201
        options.report.parent.mkdir(parents=True, exist_ok=True)
        content = {name: [asdict(line) for line in lines] for name, lines in results.items()}
        options.report.write_text(json.dumps(content, indent=2) + "\n")
    return 0


def _run(options: argparse.Namespace) -> dict[str, list[Measured]]:
    if options.command == "evaluate":
        # What was trained here stays, be it of the same number as one that is shipped.
        missing = [each for each in catalogue.chosen() if not (options.models / each.name / build.MODEL_FILE).exists()]
        build.build(options.models, options.cache, missing)
        return pipeline.evaluate(options.models, options.languages, options.data, options.scratch)
    workshop = Workshop(options.output, options.scratch, "encoders", resume=options.resume, epochs=options.epochs)
    with Workers.current().joined():
        if options.command == "few-shot":
            seeds = pipeline.evaluate_few_shot(options.data, workshop, options.cache)
            return {f"encoder_en, {name}": lines for name, lines in seeds.items()}
        for language in options.languages:
            pipeline.train(language, options.data, workshop, options.deltas, options.cache)
    if not Workers.current().first:
        return {}
    return pipeline.evaluate(options.output, options.languages, options.data, options.scratch)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m encoders.training", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, purpose in (
        ("train", "train the encoders' version 2, build and measure it"),
        ("few-shot", "train on ten phrasings of each intent of banking77 (and CLINC150), and measure"),
        ("evaluate", "measure every version in a model repository"),
    ):
        command = commands.add_parser(name, help=purpose, description=purpose)
        command.add_argument("--data", type=Path, required=True, help="the folder that holds banking77, clinc150, ...")
        command.add_argument("--languages", nargs="+", choices=["en", "zh"], default=["en", "zh"])
        command.add_argument("--scratch", type=Path, default=Path("build/training"), help="checkpoints, runs, vectors")
        command.add_argument("--threads", type=int, default=DEFAULT_THREADS, help="of PyTorch")
        command.add_argument("--report", type=Path, default=Path(f"build/eval/encoders-{name}.json"))
        command.add_argument(
            "--cache",
            type=Path,
            default=Path(os.environ.get("CASEBOOK_HOME") or ".casebook"),
            help="keeps wheels and conversions; default $CASEBOOK_HOME, or .casebook",
        )
        if name == "evaluate":
            command.add_argument("--models", type=Path, default=Path("build/models"), help="the model repository")
            continue
        command.add_argument("--output", type=Path, default=Path("build/models"), help="the model repository")
        command.add_argument("--deltas", type=Path, default=Path("build/deltas"), help="where the deltas go")
        command.add_argument("--resume", action="store_true", help="go on from a checkpoint")
        command.add_argument("--epochs", type=int, help="at most so many")
    return parser


if __name__ == "__main__":
    sys.exit(main())
