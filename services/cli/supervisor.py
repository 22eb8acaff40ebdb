"""Starts processes in the order of their dependencies, keeps them running, and ends them in the reverse order."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cli import guardian, log_lines
from cli.errors import CommandError
from cli.processes import ProcessSpec


class Echo(Protocol):
    """Shows what happens."""

    def state(self, name: str, text: str) -> None:
        """What has become of a process."""

    def line(self, name: str, text: str) -> None:
        """What a process has written, without the line's end."""


_PROBE_INTERVAL_SECONDS = 0.1
_TAIL_LINES = 20
_LOG_LIMIT_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """How often, and how fast, a process that dies is started again."""

    first_delay_seconds: float = 0.5
    longest_delay_seconds: float = 10.0
    limit: int = 5
    """Deaths in a row; a process that has run for `healthy_seconds` since its last start begins anew at 0."""
    healthy_seconds: float = 60.0

    def delay(self, deaths: int) -> float:
        """Seconds to wait after the given number of deaths in a row."""
        return min(self.first_delay_seconds * 2.0 ** (deaths - 1), self.longest_delay_seconds)


class ProcessFailedError(CommandError):
    """A process could not be started, or died too often. Carries the end of its log."""

    def __init__(self, name: str, why: str, log: Path, tail: Sequence[str]) -> None:
        lines = "".join(f"\n  {line}" for entry in tail for line in log_lines.read(entry)[1].splitlines())
        super().__init__(f"{name} {why}\nits log, {log}, ends with:{lines or ' nothing'}")
        self.name = name


class Supervisor:
    """Runs a topology.

    >>> async with Supervisor(specs, logs, echo) as supervisor:   # returns when all are ready
    ...     await supervisor.failure()                            # returns never, or raises ProcessFailedError
    """

    def __init__(
        self, specs: Sequence[ProcessSpec], logs: Path, echo: Echo, restarts: RestartPolicy = RestartPolicy()
    ) -> None:
        self._children = {spec.name: _Child(spec, logs / f"{spec.name.replace(' ', '-')}.log", echo) for spec in specs}
        self._echo = echo
        self._restarts = restarts
        self._watching: list[asyncio.Task[None]] = []
        self._guardian: subprocess.Popen[str] | None = None
        for spec in specs:
            unknown = set(spec.depends_on) - self._children.keys()
            if unknown:
                raise ValueError(f"{spec.name} depends on {', '.join(sorted(unknown))}, which the topology lacks")

    async def __aenter__(self) -> Supervisor:
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Starts each process once what it depends on is ready, and returns when all are.

        Raises:
            ProcessFailedError: a one-shot failed, or a server was not ready in time or died too often before.
        """
        self._guardian = _start_guardian()
        try:
            async with asyncio.TaskGroup() as starting:
                for child in self._children.values():
                    starting.create_task(self._start_in_turn(child))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def failure(self) -> None:
        """Waits for a process that dies too often, and raises its ProcessFailedError."""
        await asyncio.gather(*self._watching)

    async def stop(self) -> None:
        """Ends every process once those that depend on it have ended; nothing is left when it returns."""
        for task in self._watching:
            task.cancel()
        await asyncio.gather(*self._watching, return_exceptions=True)
        async with asyncio.TaskGroup() as stopping:
            for child in self._children.values():
                stopping.create_task(self._stop_in_turn(child))
        if self._guardian is not None and self._guardian.stdin is not None:
            self._guardian.stdin.close()
            await asyncio.to_thread(self._guardian.wait)

    async def _start_in_turn(self, child: _Child) -> None:
        for name in child.spec.depends_on:
            await self._children[name].ready.wait()
        started = time.monotonic()
        if child.spec.one_shot:
            await self._launch(child)
            await child.run_out()
            self._tell_guardian(f"end {child.pid}")
        else:
            await self._launch(child)
            await child.until_ready()
            self._watching.append(asyncio.create_task(self._keep_running(child)))
        self._echo.state(
            child.spec.name, f"{'done' if child.spec.one_shot else 'ready'} in {time.monotonic() - started:.1f} s"
        )
        child.ready.set()

    async def _keep_running(self, child: _Child) -> None:
        deaths = 0
        while True:
            started = time.monotonic()
            status = await child.wait()
            deaths = 1 if time.monotonic() - started > self._restarts.healthy_seconds else deaths + 1
            self._tell_guardian(f"end {child.pid}")
            if deaths > self._restarts.limit:
                raise child.failed(f"died {deaths} times in a row, the last time {_in_words(status)}")
            delay = self._restarts.delay(deaths)
            self._echo.state(child.spec.name, f"died {_in_words(status)}; starts again in {delay:.1f} s")
            await asyncio.sleep(delay)
            await self._launch(child)
            with contextlib.suppress(_DiedError):
                await child.until_ready()
                self._echo.state(child.spec.name, "ready again")

    async def _launch(self, child: _Child) -> None:
        await child.launch()
        self._tell_guardian(f"start {child.pid} {int(child.spec.stop_signal)}")

    def _tell_guardian(self, line: str) -> None:
        assert self._guardian is not None
        assert self._guardian.stdin is not None
        self._guardian.stdin.write(line + "\n")
        self._guardian.stdin.flush()

    async def _stop_in_turn(self, child: _Child) -> None:
        for dependent in self._children.values():
            if child.spec.name in dependent.spec.depends_on:
                await dependent.ended.wait()
        if child.running:
            how = await child.end()
            self._echo.state(child.spec.name, how)
            self._tell_guardian(f"end {child.pid}")
        child.ended.set()


class _DiedError(ProcessFailedError):
    """It died before it was ready."""


class _Child:
    """One process of the topology, in its present life."""

    def __init__(self, spec: ProcessSpec, log: Path, echo: Echo) -> None:
        self.spec = spec
        self.ready = asyncio.Event()
        self.ended = asyncio.Event()
        self._log = log
        self._echo = echo
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def launch(self) -> None:
        """Starts it in a session, and so a process group, of its own: a Ctrl-C does not reach it directly."""
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self.spec.command,
                env={**os.environ, **self.spec.env},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise self.failed(f"could not be started: {error}") from error
        self._reading = asyncio.create_task(self._read_output(self._process))

    async def wait(self) -> int:
        """Its exit status, once it has ended and its output has been read."""
        assert self._process is not None
        assert self._reading is not None
        status = await self._process.wait()
        # A grandchild may hold the pipe open: what it writes after this second is not waited for.
        await asyncio.wait({self._reading}, timeout=1.0)
        return status

    async def run_out(self) -> None:
        """Waits for a one-shot's success."""
        try:
            status = await asyncio.wait_for(self.wait(), self.spec.ready_within_seconds)
        except TimeoutError:
            raise self.failed(f"did not end within {self.spec.ready_within_seconds:g} s") from None
        if status != 0:
            raise self.failed(f"ended {_in_words(status)}")

    async def until_ready(self) -> None:
        """Waits for a server's readiness."""
        assert self.spec.ready is not None
        deadline = time.monotonic() + self.spec.ready_within_seconds
        while (why := await asyncio.to_thread(self.spec.ready)) is not None:
            if not self.running:
                raise _DiedError(self.spec.name, f"died {_in_words(await self.wait())} before it was ready", *self._end)
            if time.monotonic() > deadline:
                raise self.failed(f"was not ready within {self.spec.ready_within_seconds:g} s: {why}")
            await asyncio.sleep(_PROBE_INTERVAL_SECONDS)

    async def end(self) -> str:
        """Asks it to end, then kills its process group; says how it went."""
        assert self._process is not None
        self._process.send_signal(self.spec.stop_signal)
        how = "stopped"
        try:
            await asyncio.wait_for(self.wait(), self.spec.stop_within_seconds)
        except TimeoutError:
            how = f"killed: it did not stop within {self.spec.stop_within_seconds:g} s"
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self.wait()
        return how

    def failed(self, why: str) -> ProcessFailedError:
        return ProcessFailedError(self.spec.name, why, *self._end)

    @property
    def _end(self) -> tuple[Path, list[str]]:
        return self._log, list(self._tail)

    async def _read_output(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        with self._log.open("ab", buffering=0) as log:
            rest = b""
            while data := await process.stdout.read(65536):
                log.write(data)
                if log.tell() > _LOG_LIMIT_BYTES:
                    # Emptied, not renamed: what follows goes on at its start.
                    self._log.with_suffix(".log.1").write_bytes(self._log.read_bytes())
                    log.truncate(0)
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    text = line.decode(errors="replace").rstrip()
                    self._tail.append(text)
                    self._echo.line(self.spec.name, text)


def _start_guardian() -> subprocess.Popen[str]:
    # By its path and isolated: it needs the standard library alone, and is there within 20 ms.
    command = [sys.executable, "-I", "-S", guardian.__file__]
    return subprocess.Popen(command, stdin=subprocess.PIPE, text=True, start_new_session=True)  # noqa: S603


def _in_words(status: int) -> str:
    return f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
