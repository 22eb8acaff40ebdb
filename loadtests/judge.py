"""Watches a run from where its statistics come together (the only process, or the master), and judges it at its end.

Prints the steps, a verdict per SLO, and where the system saturated and why; writes them to `--summary`; the exit status
is 1 where an SLO did not hold.
"""

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gevent
import psutil
from locust import events
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.runners import STATE_RUNNING, MasterRunner, WorkerRunner
from rich.console import Console

from loadtests import report, telemetry
from loadtests.report import Run
from loadtests.slos import SHIPPED, SloError, read
from loadtests.steps import Step, Tallies, Tally, Window
from loadtests.telemetry import Activity, Look, Sources

WINDOW_SECONDS = 3.0
"""As often as workers report: shorter windows of a master would be empty, then full."""
SETTLE_SECONDS = 3.0
"""Left out at the beginning of a step: connections, caches, and the looks at /metrics."""
LOOKS_EVERY_SECONDS = 0.2


@events.init_command_line_parser.add_listener
def add_options(parser: LocustArgumentParser) -> None:
    """What is judged by what, and where to look for reasons."""
    group = parser.add_argument_group("Casebook: the verdict")
    group.add_argument("--slos", default=str(SHIPPED), help="The SLOs")
    group.add_argument("--summary", default="", help="A file for the summary (JSON); - prints it, on one line")
    group.add_argument(
        "--metrics",
        default="",
        env_var="CASEBOOK_METRICS",
        help="The operators' ports, name=host:port,...: what /metrics says there is put beside each step",
    )
    group.add_argument("--pids", default="", help="Processes of this machine without one, name=pid,...: their CPU")


@dataclass
class Watch:
    """The run so far."""

    environment: Environment
    sources: Sources
    steps: list[Step] = field(default_factory=list)
    activities: list[Activity | None] = field(default_factory=list)
    generator: list[float] = field(default_factory=list)
    """Cores that the load generator used in each step."""
    concluded: bool = False
    _running: gevent.Greenlet | None = None
    _first_look: Look | None = None

    def run(self) -> None:
        """Takes step after step, until it is killed."""
        while True:
            users = self._wait_until_steady()
            self._settle(users)
            if self._steady(users):
                self._take_step(users)

    def everything(self) -> Tallies:
        """The run from its first request to now, by endpoint."""
        entries = self.environment.stats.entries.items()
        return {f"{method} {name}": _tally(entry) for (name, method), entry in list(entries)}

    def _steady(self, users: int) -> bool:
        runner = self.environment.runner
        return bool(runner and runner.state == STATE_RUNNING and runner.target_user_count == users)

    def _wait_until_steady(self) -> int:
        while True:
            runner = self.environment.runner
            if runner and runner.state == STATE_RUNNING and runner.target_user_count:
                return int(runner.target_user_count)
            gevent.sleep(LOOKS_EVERY_SECONDS)

    def _settle(self, users: int) -> None:
        # A master hears of a request up to a report later: what it hears in that time is of the step before.
        late = WINDOW_SECONDS if isinstance(self.environment.runner, MasterRunner) else 0.0
        ends = time.monotonic() + SETTLE_SECONDS + late
        while self._steady(users) and time.monotonic() < ends:
            gevent.sleep(LOOKS_EVERY_SECONDS)

    def end(self) -> None:
        """Looks a last time, while the users are still there."""
        if self._running is not None:
            self._running.kill()
        self._complete_step()

    def start(self) -> None:
        """Watches from here on."""
        self._running = gevent.spawn(self.run)

    def _take_step(self, users: int) -> None:
        self._first_look = telemetry.look(self.sources) if self.sources else None
        cpu, started, first = _cpu_seconds(), time.monotonic(), self.everything()
        windows: list[Window] = []
        for seconds, before, after in self._windows(users):
            windows.append(_window(seconds, before, after))
            elapsed = time.monotonic() - started
            cores = self._workers_cores() or (_cpu_seconds() - cpu) / elapsed
            # Kept up to date window by window: a run may end at any moment.
            step = Step.between(users, elapsed, first, after, tuple(windows))
            if len(windows) == 1:
                self.steps.append(step)
                self.activities.append(None)
                self.generator.append(cores)
            else:
                self.steps[-1], self.generator[-1] = step, cores
        self._complete_step()

    def _complete_step(self) -> None:
        # A step that ended within its first window is not in the lists: the last one there has its activity already.
        if self._first_look and self.activities and self.activities[-1] is None:
            self.activities[-1] = Activity(self._first_look, telemetry.look(self.sources))
        self._first_look = None

    def _windows(self, users: int) -> Iterator[tuple[float, Tallies, Tallies]]:
        before, began = self.everything(), time.monotonic()
        while self._steady(users):
            gevent.sleep(LOOKS_EVERY_SECONDS)
            if (seconds := time.monotonic() - began) >= WINDOW_SECONDS:
                after = self.everything()
                yield seconds, before, after
                before, began = after, time.monotonic()

    def _workers_cores(self) -> float:
        runner = self.environment.runner
        clients = runner.clients.values() if isinstance(runner, MasterRunner) else ()
        return float(sum(client.cpu_usage for client in clients)) / 100.0


_watch: Watch | None = None


def steps_so_far() -> list[Step]:
    """The steps that are complete, for a shape that ends when enough has been seen."""
    return _watch.steps[:-1] if _watch else []


@events.init.add_listener
def check_options(environment: Environment, **_: Any) -> None:
    """A wrong SLO file or option stops the run before the first request."""
    # gevent's clock has stood still while Locust and this were imported; a timer set now would end as much too early.
    gevent.get_hub().loop.update_now()
    options = environment.parsed_options
    if options is None or isinstance(environment.runner, WorkerRunner):
        return
    try:
        read(Path(options.slos))
        Sources.parse(options.metrics, options.pids)
    except (SloError, ValueError) as error:
        raise SystemExit(str(error)) from None


@events.test_start.add_listener
def begin(environment: Environment, **_: Any) -> None:
    """Watches the run; not in a worker, which knows its own part alone."""
    global _watch
    options = environment.parsed_options
    if options is None or isinstance(environment.runner, WorkerRunner):
        return
    _watch = Watch(environment, Sources.parse(options.metrics, options.pids))
    _watch.start()


@events.test_stopping.add_listener
def end(**_: Any) -> None:
    """The users are about to go."""
    if _watch is not None:
        _watch.end()


@events.test_stop.add_listener
@events.quitting.add_listener
def conclude(environment: Environment, **_: Any) -> None:
    """Judges the run, once: at its end, or when Locust is told to quit."""
    if _watch is None or _watch.concluded:
        return
    _watch.concluded = True
    _watch.end()
    options: Any = environment.parsed_options
    run = Run.of(
        read(Path(options.slos)),
        _watch.steps,
        _watch.activities,
        _watch.generator,
        _watch.everything(),
        _failures(environment),
    )
    report.show(run, Console(width=None if Console().is_terminal else 150))
    if options.summary:
        report.keep(run, options.summary, sys.stdout)
    environment.process_exit_code = 0 if run.holds else 1


def _tally(entry: Any) -> Tally:
    times = dict(entry.response_times)
    return Tally(entry.num_requests, entry.num_failures, float(entry.total_response_time), times)


def _window(seconds: float, before: Tallies, after: Tallies) -> Window:
    was, now = sum(before.values(), Tally()), sum(after.values(), Tally())
    return Window(seconds, now.requests - was.requests, now.total_ms - was.total_ms)


def _cpu_seconds() -> float:
    times = psutil.Process().cpu_times()
    return float(times.user + times.system)


def _failures(environment: Environment) -> dict[str, int]:
    """How often each failure was seen, by endpoint and message."""
    errors = environment.stats.errors.values()
    return {f"{error.method} {error.name}: {error.error}": int(error.occurrences) for error in errors}
