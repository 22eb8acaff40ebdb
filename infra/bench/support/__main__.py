"""`python -m infra.bench.support`: support's index at 10,000 and 500,000 phrasings, then the running service at 10,000.

The index alone: drawn vectors, no encoder, network or database, each size in processes of its own. The running service:
an embedded system of its own, asked over gRPC; the encoder's time is in the answer's.
"""

import argparse
import asyncio
import itertools
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from infra.bench.support import running, synthetic
from support import seed
from support.settings import DEMO

SIZES = (10_000, 500_000)
SERVED = 10_000
RATE = 30.0
CALLERS = 16
REFRESHES = 10
WARM_UP_SECONDS = 5.0
SECONDS = 60.0
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
    }
    if "index" in options.parts:
        content["index"] = [_index(size) for size in options.phrasings]
        _show("The index alone", content["index"])
    if "service" in options.parts:
        content["service"] = asyncio.run(_service())
        _show(f"The running service, {SERVED:,} phrasings", content["service"]["speeds"])
        _show("", [{name: value for name, value in content["service"].items() if name != "speeds"}])
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    before = json.loads(REPORT.read_text()) if REPORT.exists() else {}
    REPORT.write_text(json.dumps(before | content, indent=2) + "\n")


def _index(size: int) -> dict[str, Any]:
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


async def _service() -> dict[str, Any]:
    phrasings, questions = _material()
    with running.service(REPORT.parent / "support-system.log") as home:
        client = running.Client(home, "bench")
        try:
            async with asyncio.TaskGroup() as tasks:
                filling = tasks.create_task(client.fill(phrasings))
                during = sorted(await client.refreshes_during(filling))
            await client.steadily(questions, RATE, WARM_UP_SECONDS)
            speeds = [
                await client.steadily(questions, RATE, SECONDS),
                await client.saturated(questions, CALLERS, SECONDS / 2),
            ]
            refreshes = sorted([await client.refresh_ms() for _ in range(REFRESHES)])
        finally:
            await client.close()
    return {
        "speeds": [asdict(each) for each in speeds],
        "encoded_and_indexed_s": round(filling.result(), 1),
        "refresh_ms": round(refreshes[len(refreshes) // 2]),
        "slowest_refresh_ms": round(refreshes[-1]),
        "refreshes_during_import": len(during),
        "refresh_during_import_ms": round(during[len(during) // 2]),
        "slowest_refresh_during_import_ms": round(during[-1]),
    }


def _material() -> tuple[Mapping[str, Sequence[str]], Sequence[str]]:
    """Articles' phrasings, about `SERVED` in all, and questions: the demo's own, over and over, a number behind each.

    So they are as long as real ones, and each is another one.
    """
    articles = {each.article_id: each.phrasings["en"] for each in seed.read_articles(DEMO / "articles.jsonl")}
    times = -(-SERVED // sum(map(len, articles.values())))
    phrasings = {name: [f"{text} {turn}" for turn in range(times) for text in own] for name, own in articles.items()}
    asked = [each.question for each in seed.read_questions(DEMO / "questions.jsonl") if each.language == "en"]
    return phrasings, [f"{text} {turn}" for turn, text in itertools.product(range(20), asked)]


def _show(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    print(f"\n{title}" if title else "")  # noqa: T201
    for name in rows[0]:
        print(f"  {name:<28}" + "".join(f"{row[name]!s:>20}" for row in rows))  # noqa: T201


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m infra.bench.support", description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=["index", "service"], default=["index", "service"])
    parser.add_argument("--phrasings", type=int, nargs="+", default=SIZES, metavar="N", help="sizes of the index")
    # What each size's two processes are given.
    parser.add_argument("--cache", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--cold", type=float, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    main()
