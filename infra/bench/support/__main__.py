"""`python -m infra.bench.support`: support's index at 10,000 and 500,000 phrasings, then the running service at 10,000.

The index alone: drawn vectors, no encoder, network or database, each size in processes of its own. The running service:
an embedded system of its own, asked over gRPC; the encoder's time is in the answer's. First one replica; then a second
one beside it, for how soon it has what the first one was told.
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
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from infra.bench.support import running, synthetic
from support import seed
from support.settings import DEMO

SIZES = (10_000, 500_000)
SERVED = 10_000
MORE = 4_000
"""Phrasings that are imported while two replicas listen, each of which encodes them."""
BASE = "bench"
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
        content["service"] = asyncio.run(_service(options.served, options.seconds))
        _show(f"The running service, {options.served:,} phrasings", content["service"]["speeds"])
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


async def _service(served: int, seconds: float) -> dict[str, Any]:
    """One replica's figures, and then what a second one beside it hears of changes."""
    phrasings, more, questions = _material(served)
    async with AsyncExitStack() as stack:
        home = stack.enter_context(running.service(REPORT.parent / "support-system.log"))
        client = running.Client(home, BASE)
        stack.push_async_callback(client.close)
        alone = await _alone(client, phrasings, questions, seconds)
        # Started only now: a second replica that answers nobody takes processor time from the first one all the same.
        elsewhere = running.Client(home, BASE, await stack.enter_async_context(running.second_replica(home)))
        stack.push_async_callback(elsewhere.close)
        return {"phrasings": sum(map(len, phrasings.values()))} | alone | await _elsewhere(client, elsewhere, more)


async def _alone(
    client: running.Client, phrasings: Mapping[str, Sequence[str]], questions: Sequence[str], seconds: float
) -> dict[str, Any]:
    """The only replica: it takes a change in directly."""
    encoded, during = await _imported(client, phrasings)
    await client.steadily(questions, RATE, min(WARM_UP_SECONDS, seconds))
    speeds = [
        await client.steadily(questions, RATE, seconds),
        await client.saturated(questions, CALLERS, seconds / 2),
    ]
    refreshes = [await client.refresh_ms() for _ in range(REFRESHES)]
    return {
        "speeds": [asdict(each) for each in speeds],
        "encoded_and_indexed_s": encoded,
        **_times("refresh", refreshes),
        "refreshes_during_import": len(during),
        **_times("refresh_during_import", during),
    }


async def _elsewhere(
    client: running.Client, elsewhere: running.Client, more: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """The other replica hears of what the first one is told: outbox, Kafka, memory."""
    refreshes = [await client.refresh_ms(elsewhere) for _ in range(REFRESHES)]
    encoded, during = await _imported(client, more, elsewhere)
    return {
        **_times("refresh_elsewhere", refreshes),
        "phrasings_imported_elsewhere": sum(map(len, more.values())),
        "encoded_and_indexed_elsewhere_s": encoded,
        "refreshes_during_import_elsewhere": len(during),
        **_times("refresh_during_import_elsewhere", during),
    }


async def _imported(
    client: running.Client, phrasings: Mapping[str, Sequence[str]], found_by: running.Client | None = None
) -> tuple[float, list[float]]:
    """Seconds until the last phrasing was found, and the milliseconds that changes took meanwhile."""
    async with asyncio.TaskGroup() as tasks:
        filling = tasks.create_task(client.fill(phrasings, found_by))
        during = await client.refreshes_during(filling, found_by)
    return round(filling.result(), 1), during


def _times(name: str, milliseconds: Sequence[float]) -> dict[str, int]:
    """The median and the slowest."""
    ordered = sorted(milliseconds)
    return {f"{name}_ms": round(ordered[len(ordered) // 2]), f"slowest_{name}_ms": round(ordered[-1])}


def _material(served: int) -> tuple[Mapping[str, Sequence[str]], Mapping[str, Sequence[str]], Sequence[str]]:
    """Articles' phrasings, about `served` in all, more articles with some more, and questions: the demo's own, over and
    over, a number behind each.

    So they are as long as real ones, and each is another one.
    """
    articles = {each.article_id: each.phrasings["en"] for each in seed.read_articles(DEMO / "articles.jsonl")}
    once = sum(map(len, articles.values()))
    times, more_times = -(-served // once), -(-min(served, MORE) // once)
    phrasings = {name: _numbered(own, range(times)) for name, own in articles.items()}
    more = {f"{name}-more": _numbered(own, range(times, times + more_times)) for name, own in articles.items()}
    asked = [each.question for each in seed.read_questions(DEMO / "questions.jsonl") if each.language == "en"]
    return phrasings, more, [f"{text} {turn}" for turn, text in itertools.product(range(20), asked)]


def _numbered(texts: Sequence[str], turns: range) -> list[str]:
    return [f"{text} {turn}" for turn in turns for text in texts]


def _show(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    print(f"\n{title}" if title else "")  # noqa: T201
    for name in rows[0]:
        print(f"  {name:<44}" + "".join(f"{row[name]!s:>20}" for row in rows))  # noqa: T201


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m infra.bench.support", description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=["index", "service"], default=["index", "service"])
    parser.add_argument("--phrasings", type=int, nargs="+", default=SIZES, metavar="N", help="sizes of the index")
    parser.add_argument("--served", type=int, default=SERVED, metavar="N", help="phrasings of the running service")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of steady load; half as many saturated")
    # What each size's two processes are given.
    parser.add_argument("--cache", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--cold", type=float, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    main()
