"""The supervisor with real child processes: order, readiness, restarts, a clean end, and nothing left behind."""

import asyncio
import os
import sys
import textwrap
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from cli.processes import ProcessSpec, free_ports, http_ready
from cli.supervisor import ProcessFailedError, RestartPolicy, Supervisor

SERVER = textwrap.dedent("""
    import http.server, signal, sys
    port, status, marker = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status); self.end_headers(); self.wfile.write(b'{"reasons": {"model": "not loaded"}}')
        def log_message(self, *_): pass
    signal.signal(signal.SIGTERM, signal.SIG_IGN if marker == "stubborn" else lambda *_: sys.exit(0))
    print(f"{marker} listens", flush=True)
    http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever()
""")
QUICK = RestartPolicy(first_delay_seconds=0.05, longest_delay_seconds=0.2, limit=3)


class Lines(list[tuple[str, str]]):
    """What the supervisor echoes, in order."""

    def state(self, name: str, text: str) -> None:
        self.append((name, text))

    line = state

    def names_of(self, text: str) -> list[str]:
        return [name for name, line in self if text in line]


def server(
    name: str, *depends_on: str, status: int = 200, within: float = 10.0, stop_within: float = 10.0
) -> ProcessSpec:
    [port] = free_ports(1)
    return ProcessSpec(
        name,
        (sys.executable, "-c", SERVER, str(port), str(status), name),
        depends_on=depends_on,
        ready=http_ready(port),
        ready_within_seconds=within,
        stop_within_seconds=stop_within,
    )


def one_shot(name: str, code: str, *depends_on: str) -> ProcessSpec:
    return ProcessSpec(name, (sys.executable, "-c", code), depends_on=depends_on, ready_within_seconds=10)


async def until(what: str, look: Callable[[], object], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        await asyncio.sleep(0.02)


def processes_with(argument: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if argument in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


async def test_starts_in_the_order_of_dependencies_and_ends_in_the_reverse_order(tmp_path: Path) -> None:
    lines = Lines()
    specs = [server("web", "migrate"), one_shot("migrate", "print('migrated')", "store"), server("store")]

    async with Supervisor(specs, tmp_path, lines):
        assert lines.names_of("ready in") + lines.names_of("done in") == ["store", "web", "migrate"]
        assert [name for name, line in lines if "listens" in line or line == "migrated"] == ["store", "migrate", "web"]

    assert lines.names_of("stopped") == ["web", "store"]
    assert (tmp_path / "migrate.log").read_text() == "migrated\n"


async def test_a_server_that_does_not_become_ready_is_named_with_what_it_waits_for(tmp_path: Path) -> None:
    with pytest.raises(ProcessFailedError) as failure:
        async with Supervisor([server("web", status=503, within=0.5)], tmp_path, Lines()):
            pytest.fail("it must not come up")

    assert str(failure.value).startswith("web was not ready within 0.5 s")
    assert "model" in str(failure.value)
    assert "web listens" in str(failure.value), "the end of its log is shown"


async def test_a_one_shot_that_fails_stops_the_start_before_what_depends_on_it(tmp_path: Path) -> None:
    lines = Lines()
    specs = [one_shot("migrate", "raise SystemExit('no such table')"), server("web", "migrate")]

    with pytest.raises(ProcessFailedError, match=r"(?s)migrate ended with status 1.*no such table"):
        async with Supervisor(specs, tmp_path, lines):
            pytest.fail("it must not come up")

    assert "web listens" not in [line for _, line in lines]


async def test_restarts_what_dies(tmp_path: Path) -> None:
    lines = Lines()
    spec = server("web")

    async with Supervisor([spec], tmp_path, lines, QUICK):
        [process] = processes_with(spec.command[3])
        process.kill()
        await until("ready again", lambda: lines.names_of("ready again"))

        assert lines.names_of("died by SIGKILL; starts again in 0.1 s") == ["web"]


async def test_gives_up_on_what_keeps_dying(tmp_path: Path) -> None:
    spec = server("web")

    async with Supervisor([spec], tmp_path, lines := Lines(), QUICK) as supervisor:

        async def kill_every_life() -> None:
            while True:
                for process in processes_with(spec.command[3]):
                    with suppress(psutil.NoSuchProcess):
                        process.kill()
                await asyncio.sleep(0.02)

        killing = asyncio.create_task(kill_every_life())
        with pytest.raises(ProcessFailedError, match="web died 4 times in a row, the last time by SIGKILL"):
            await asyncio.wait_for(supervisor.failure(), 20)
        killing.cancel()

    assert [line.partition("; ")[2] for _, line in lines if "starts again" in line] == [
        "starts again in 0.1 s",
        "starts again in 0.1 s",
        "starts again in 0.2 s",
    ]


async def test_kills_what_does_not_stop(tmp_path: Path) -> None:
    spec = server("stubborn", stop_within=0.3)

    async with Supervisor([spec], tmp_path, lines := Lines()):
        pass

    assert lines.names_of("killed: it did not stop within 0.3 s") == ["stubborn"]
    assert processes_with(spec.command[3]) == []


async def test_leaves_nothing_behind_when_it_is_killed_itself(tmp_path: Path) -> None:
    [port, other] = free_ports(2)
    program = textwrap.dedent(f"""
        import asyncio, sys
        from pathlib import Path
        from tests.integration.test_supervisor import SERVER, Lines
        from cli.processes import ProcessSpec, http_ready
        from cli.supervisor import Supervisor

        def server(name, port):
            return ProcessSpec(name, (sys.executable, "-c", SERVER, str(port), "200", name), ready=http_ready(port))

        async def main():
            specs = [server("web", {port}), server("stubborn", {other})]
            async with Supervisor(specs, Path({str(tmp_path)!r}), Lines()):
                print("ready", flush=True)
                await asyncio.Event().wait()

        asyncio.run(main())
    """)
    root = Path(__file__).parents[2]
    supervisor = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": f"{root}:{root / 'services'}"},
    )
    assert supervisor.stdout is not None
    assert await supervisor.stdout.readline() == b"ready\n"
    assert len(processes_with(str(port))) == len(processes_with(str(other))) == 1

    supervisor.kill()
    await supervisor.wait()

    await until("both have ended", lambda: not processes_with(str(port)) and not processes_with(str(other)))
