"""`python -m infra.bench.inference`: the model server beside MLServer and Triton's Python backend, in one run.

The same ONNX files, the same client, the same session options; every server on the loopback address, all of them up,
and measured in turn, round after round, so that what else the machine does falls on all alike. `triton-python` is the
real Triton out of the `nvidia-pytriton` wheel with its Python backend, not the speed of Triton's own ONNX backend.
"""

import argparse
import asyncio
import itertools
import json
import platform
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import onnxruntime

from infra.bench.inference import load, models, servers, tables
from infra.bench.inference.load import Measurement

BUILD = Path("build/bench")
CONCURRENCY = (1, 8, 32)
WARM_UP_CALLS = 200


def main() -> None:
    """Prepares, measures, prints the tables and writes `build/bench/inference.json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="times that every cell is measured (default 3)")
    parser.add_argument("--seconds", type=float, default=3.0, help="seconds a cell and round (default 3)")
    parser.add_argument("--servers", default="", help=f"comma-separated, of {', '.join(servers.SERVERS)} (default all)")
    parser.add_argument("--models", default="", help=f"comma-separated, of {', '.join(models.CASES)} (default all)")
    arguments = parser.parse_args()
    names = arguments.servers.split(",") if arguments.servers else list(servers.SERVERS)
    cases = arguments.models.split(",") if arguments.models else list(models.CASES)

    repository = models.prepare(BUILD)
    started, failed = servers.start(names, repository, BUILD)
    try:
        measurements, bare = asyncio.run(_measure(started, cases, repository, arguments.rounds, arguments.seconds))
    finally:
        servers.stop(started)
    result = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {tables.processor()}, {platform.platform()}",
        "onnxruntime": onnxruntime.__version__,
        "rounds": arguments.rounds,
        "seconds": arguments.seconds,
        "bare_run_ms": bare,
        "failed": failed,
        "measurements": [asdict(measurement) for measurement in measurements],
    }
    BUILD.mkdir(parents=True, exist_ok=True)
    (BUILD / "inference.json").write_text(json.dumps(result, indent=1))
    print(tables.render(measurements, bare, failed))  # noqa: T201 - its output is its purpose


async def _measure(
    running: list[servers.Running], cases: list[str], repository: Path, rounds: int, seconds: float
) -> tuple[list[Measurement], dict[str, float]]:
    """Every cell of every round, and the median time of a bare run, which is measured between them."""
    for server in running:
        for case in cases:
            await load.check(server, case, repository)
            await load.measure(server, case, 4, seconds=0.0, calls=WARM_UP_CALLS)
    cells = [("empty", 1), *itertools.product(cases, CONCURRENCY)]
    measurements = []
    bare: dict[str, list[float]] = {case: [] for case in cases}
    for number in range(rounds):
        for case in cases:
            bare[case].append(models.bare_run_ms(repository, case, seconds))
        for case, concurrency in cells:
            # Cell by cell, each round from another server on: what the machine does meanwhile falls on all alike.
            for turn in range(len(running)):
                server = running[(number + turn) % len(running)]
                measurements.append(await load.measure(server, case, concurrency, seconds))
    return measurements, {case: median(times) for case, times in bare.items()}


if __name__ == "__main__":
    main()
