"""`python -m encoders build FOLDER`: puts the text encoders into a model repository."""

import argparse
import os
import sys
from pathlib import Path

from encoders import build, catalogue
from encoders.wheels import EncoderError


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; 0 when all went well, 2 when an encoder cannot be built."""
    options = _parser().parse_args(arguments)
    try:
        chosen = catalogue.chosen(options.models)
        built = build.build(options.folder, options.cache, chosen, precision=options.precision)
    except EncoderError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    print(*built or ["nothing new"], sep="\n")  # noqa: T201
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m encoders", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    purpose = "write the encoders into a model repository; what is there and whole stays"
    building = commands.add_parser("build", help=purpose, description=purpose)
    building.add_argument("folder", type=Path, help="the model repository")
    building.add_argument("--models", default="", help="by commas; default: all but the optional ones")
    building.add_argument("--precision", choices=["int8", "fp32"], default="int8", help="fp32 is for GPUs")
    building.add_argument(
        "--cache",
        type=Path,
        default=Path(os.environ.get("CASEBOOK_HOME") or ".casebook"),
        help="keeps wheels and conversions; default $CASEBOOK_HOME, or .casebook",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
