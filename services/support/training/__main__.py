"""`python -m support.training fit|evaluate`: fits what the service comes with, and measures retrieval on public
sets."""

import argparse
import asyncio
import json
import logging
import os
import platform
import sys
from dataclasses import asdict
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # for a question's few products two threads wait for each other

from encoders.training.data import DataError
from encoders.wheels import EncoderError
from support import reranking
from support.calibration import WAYS, Calibration
from support.encoding import MODELS, VectorCache
from support.knowledge import LANGUAGES, Language
from support.reranking import Combination, Reranker
from support.training import evaluation, fitting
from support.training.in_process import InProcessEncoder
from support.training.sets import Faq
from support.training.workbench import Examined, Workbench


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; 0 when all went well, 2 when data or encoders cannot be used."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    options = _parser().parse_args(arguments)
    try:
        run = _fit if options.command == "fit" else _evaluate
        run(options)
    except (DataError, EncoderError) as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    return 0


def _fit(options: argparse.Namespace) -> None:
    reranker, defaults = reranking.shipped()
    by_encoder: dict[str, Combination] = {}
    by_words, shares = dict(reranker.by_words), dict(reranker.lexical_shares)
    calibrations: dict[Language, Calibration] = {}
    fitted_to: dict[str, object] = {}
    for language in LANGUAGES:
        bases = fitting.bases(options.data, language)
        for version in _versions(options.models, language):
            encoder = InProcessEncoder(options.models, {language: version}, VectorCache(options.cache))
            examined = {
                way: [asyncio.run(_examined(encoder, reranker, defaults, base, way == "lexical")) for base in bases]
                for way in WAYS
            }
            hybrid = fitting.combination(examined["hybrid"], "hybrid", fitting.HELD[language])
            words = fitting.combination(examined["lexical"], "lexical")
            by_encoder[f"{MODELS[language]}/{version}"] = hybrid
            # The newest version's count for the language, the others keep their coefficients.
            by_words[language], shares[language] = words, fitting.lexical_share(examined["hybrid"])
            calibrations[language] = fitting.calibrated(examined, {"hybrid": hybrid, "lexical": words})
            fitted_to[f"{MODELS[language]}/{version}"] = fitting.report(bases, examined["hybrid"], hybrid)
    card = {"about": fitting.ABOUT, "fitted_to": fitted_to}
    fitting.write(options.output, Reranker("", by_words, by_encoder, shares, fitting.LONG_TEXTS), calibrations, card)
    print(json.dumps(card, indent=1, ensure_ascii=False))  # noqa: T201


async def _examined(
    encoder: InProcessEncoder,
    reranker: Reranker,
    defaults: dict[Language, Calibration],
    base: Faq,
    by_words_alone: bool,
) -> list[Examined]:
    bench = await Workbench(encoder, reranker, defaults, base.articles).open()
    return await bench.examined(base.questions, by_words_alone=by_words_alone)


def _evaluate(options: argparse.Namespace) -> None:
    reranker, defaults = reranking.shipped()
    settings = [
        evaluation.Setting(
            options.data,
            InProcessEncoder(options.models, {language: version}, VectorCache(options.cache)),
            f"{MODELS[language]}/{version}",
            reranker,
            defaults,
        )
        for language in LANGUAGES
        for version in _versions(options.models, language)
    ]
    lines = []
    for line in evaluation.evaluate(settings):
        lines.append(line)
        print(f"{line.data}  {line.measure}  {line.encoder}  {line.value:.4f}", file=sys.stderr, flush=True)  # noqa: T201
    print(evaluation.table(lines))  # noqa: T201
    options.report.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} processors",
        "reranker": reranker.version,
        "results": [asdict(line) for line in lines],
    }
    options.report.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _versions(models: Path, language: Language) -> list[str]:
    found = [each.parent.name for each in (models / MODELS[language]).glob("*/card.json")]
    if not found:
        raise EncoderError(f"{models} has no {MODELS[language]}: python -m encoders build {models}")
    return sorted(found, key=int)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m support.training", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, purpose in (
        (
            "fit",
            "fit the reranker and the default calibrations: banking77's train, CLINC150's validation, the demo's own",
        ),
        ("evaluate", "measure retrieval on the sets that the folder holds"),
    ):
        command = commands.add_parser(name, help=purpose, description=purpose)
        command.add_argument("--data", type=Path, required=True, help="the folder that holds banking77, clinc150, ...")
        command.add_argument(
            "--models", type=Path, default=Path("build/encoders"), help="python -m encoders build wrote it"
        )
        command.add_argument("--cache", type=Path, default=Path("build/vectors"), help="vectors are kept here")
    commands.choices["fit"].add_argument("--output", type=Path, default=reranking.SHIPPED)
    commands.choices["evaluate"].add_argument("--report", type=Path, default=Path("build/eval/support.json"))
    return parser


if __name__ == "__main__":
    sys.exit(main())
