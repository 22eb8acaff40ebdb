"""`python -m encoders build FOLDER | bench`: puts the text encoders into a model repository; measures them."""

import argparse
import os
import sys
from pathlib import Path

from encoders import build, catalogue
from encoders.graph import Precision
from encoders.wheels import EncoderError


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; 0 when all went well, 2 when an encoder cannot be built."""
    options = _parser().parse_args(arguments)
    try:
        chosen = catalogue.chosen(options.models)
        precision: Precision = options.precision if options.command == "build" else "int8"
        built = build.build(options.folder, options.cache, chosen, precision=precision)
        if options.command == "bench":
            from encoders.bench import bench

            bench(options.folder, options.cache, chosen)
            return 0
    except EncoderError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    print(*built or ["nothing new"], sep="\n")  # noqa: T201
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m encoders", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, purpose in (
        ("build", "write the encoders into a model repository; what is there and whole stays"),
        ("bench", "build them, and print how fast, how near to float32 and how large they are"),
    ):
        command = commands.add_parser(name, help=purpose, description=purpose)
        command.add_argument("--models", default="", help="by commas; default: all")
        command.add_argument(
            "--cache",
            type=Path,
            default=Path(os.environ.get("CASEBOOK_HOME") or ".casebook"),
            help="keeps wheels and conversions; default $CASEBOOK_HOME, or .casebook",
        )
    building, benching = commands.choices["build"], commands.choices["bench"]
    building.add_argument("folder", type=Path, help="the model repository")
    building.add_argument("--precision", choices=["int8", "fp32"], default="int8", help="fp32 is for GPUs")
    benching.add_argument("--folder", type=Path, default=Path("build/models"), help="the model repository")
    return parser


if __name__ == "__main__":
    sys.exit(main())
