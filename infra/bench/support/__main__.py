"""`python -m infra.bench.support`: support's index at 10,000 and 500,000 phrasings, each size in processes of its own.

Vectors are drawn: this is the index alone, without an encoder, a network or a database.
"""

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from infra.bench.support import synthetic

SIZES = (10_000, 500_000)
REPORT = Path("build/bench/support.json")


def main() -> None:
    """Measures, prints, writes the report."""
    options = _parser().parse_args()
    if options.cache is not None:
        [phrasings] = options.phrasings
        if options.cold is None:
            print(asyncio.run(synthetic.cached(phrasings, options.cache)))  # noqa: T201
        else:
            print(json.dumps(asdict(asyncio.run(synthetic.measure(phrasings, options.cache, options.cold)))))  # noqa: T201
        return
    content: dict[str, Any] = {
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} processors",
        "load_before": os.getloadavg()[0],
        "offline": [_measured(size) for size in options.phrasings],
    }
    for name in content["offline"][0]:
        print(f"{name:<28}" + "".join(f"{row[name]!s:>12}" for row in content["offline"]))  # noqa: T201
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(json.dumps(content, indent=2) + "\n")


def _measured(size: int) -> dict[str, Any]:
    """One process fills the cache of vectors, the next one starts from it."""
    with tempfile.TemporaryDirectory() as cache:
        command = [sys.executable, "-m", "infra.bench.support", "--phrasings", str(size), "--cache", cache]
        environment = os.environ | {"PYTHONHASHSEED": "0"}  # texts have the same vectors in both processes
        cold = _printed(command, environment)
        measured: dict[str, Any] = json.loads(_printed([*command, "--cold", cold], environment))
        return measured


def _printed(command: list[str], environment: dict[str, str]) -> str:
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)  # noqa: S603
    return ended.stdout.strip()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m infra.bench.support", description=__doc__)
    parser.add_argument("--phrasings", type=int, nargs="+", default=SIZES, metavar="N", help="sizes of the index")
    # What each size's two processes are given.
    parser.add_argument("--cache", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--cold", type=float, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    main()
