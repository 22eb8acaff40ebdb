"""Running the embedded system from a terminal, until it is told to stop or fails."""

import asyncio
import contextlib
import os
import shutil
import signal
import threading
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from rich.console import Console

from cli.console import TerminalEcho
from cli.home import Home
from cli.prepare import prepare
from cli.processes import free_ports, is_free
from cli.supervisor import Supervisor
from cli.topology import Topology, embedded

if TYPE_CHECKING:
    from cli import walks

HTTP_PORT = 8080

T = TypeVar("T")


def up(home: Home, console: Console) -> int:
    """Starts everything and stays."""

    async def stay(_: Topology) -> int:
        return await _until_told()

    return _run(home, home, console, stay, http_port=_http_port(), warnings_only=False)


def demo(home: Home, console: Console) -> int:
    """Starts everything, walks through it, and stays."""

    from cli import walks

    async def walk_and_stay(topology: Topology) -> int:
        await _walk(home, topology, console)
        walks.try_next(_system(home, topology), console)
        console.print("\n[bold]Everything stays up.[/] Ctrl-C ends it.")
        return await _until_told()

    return _run(home, home, console, walk_and_stay, http_port=_http_port(), warnings_only=True)


def demo_check(home: Home, console: Console) -> int:
    """Walks through a system that begins empty, in `<home>/check`, and ends it; 1 where a step did not hold."""
    check = Home(home.path / "check")

    async def walk(topology: Topology) -> int:
        return 1 if await _walk(check, topology, console) else 0

    [http_port] = free_ports(1)
    return _run(check, home, console, walk, http_port=http_port, warnings_only=True, anew=True)


def _run(
    home: Home,
    data_home: Home,
    console: Console,
    body: Callable[[Topology], Awaitable[int]],
    *,
    http_port: int,
    warnings_only: bool,
    anew: bool = False,
) -> int:
    """The exit status: the body's, or 0 where a signal ended it."""
    with home.lock():
        if anew:
            for folder in ("redis", "postgres", "models", "traces", "sink", "secrets"):
                shutil.rmtree(home.path / folder, ignore_errors=True)
        console.print(f"[bold]Casebook[/] in {home.path}")
        data = prepare(home, data_home.path, lambda what: console.print(f"  {what}", style="dim"))
        topology = embedded(home, data, http_port)
        return asyncio.run(_supervise(home, topology, TerminalEcho(console, warnings_only=warnings_only), body))


async def _supervise(
    home: Home, topology: Topology, echo: TerminalEcho, body: Callable[[Topology], Awaitable[int]]
) -> int:
    async def run() -> int:
        async with Supervisor(topology.processes, home.folder("logs"), echo) as supervisor:
            home.announce(topology.addresses, topology.scrape_targets)
            working = asyncio.ensure_future(body(topology))
            failing = asyncio.ensure_future(supervisor.failure())
            try:
                await asyncio.wait({working, failing}, return_when=asyncio.FIRST_COMPLETED)
                return await (working if working.done() else _raised(failing))
            finally:
                home.withdraw()
                for task in (working, failing):
                    task.cancel()

    running = asyncio.create_task(run())
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, _told_to_stop, told)
    telling = asyncio.create_task(told.wait())
    await asyncio.wait({running, telling}, return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        telling.cancel()
        return running.result()
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    return 0


def _told_to_stop(told: asyncio.Event) -> None:
    if told.is_set():
        # The second Ctrl-C: the guardian ends what is left.
        os._exit(130)
    told.set()


async def _raised(failing: asyncio.Future[None]) -> int:
    await failing
    return 1


async def _until_told() -> int:
    await asyncio.Event().wait()
    return 0


async def _walk(home: Home, topology: Topology, console: Console) -> list[str]:
    from cli import walks

    system = _system(home, topology)
    return await _in_daemon_thread(lambda: walks.run(system, console))


def _system(home: Home, topology: Topology) -> "walks.System":
    from cli import walks

    return walks.System(topology.gateway, home.api_key_file.read_text("ascii").strip(), home.folder("traces"))


async def _in_daemon_thread(function: Callable[[], T]) -> T:
    """Not `asyncio.to_thread`: the end of the program would wait for that thread, a walk that Ctrl-C has cut short."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[T] = loop.create_future()

    def settle(set_: Callable[[], None]) -> None:
        if not result.done():
            set_()

    def run() -> None:
        try:
            value = function()
        except BaseException as error:  # noqa: BLE001 - handed to whoever awaits it
            failure = error
            loop.call_soon_threadsafe(settle, lambda: result.set_exception(failure))
        else:
            loop.call_soon_threadsafe(settle, lambda: result.set_result(value))

    threading.Thread(target=run, name="walk", daemon=True).start()
    return await result


def _http_port() -> int:
    """The port that people expect, or a free one where it is taken."""
    return HTTP_PORT if is_free(HTTP_PORT) else free_ports(1)[0]
