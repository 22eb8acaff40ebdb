"""ONE call gives a service everything: `main("recommender", Settings, {"serve": serve, "consume": consume})`.

It checks the settings, sends logs, traces and metrics where they belong, opens the operators' port, runs the process on
uvloop, and on SIGTERM drains it: not ready any more, calls in flight finish, callbacks run, telemetry is sent.
"""

import asyncio
import gc
import signal
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar

import grpc
import uvloop
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from chassis import faults, logs, telemetry
from chassis.health import Readiness
from chassis.identity import TokenKeys
from chassis.ops import OpsServer
from chassis.rpc.server import create_server, listen
from chassis.settings import Settings, load

S = TypeVar("S", bound=Settings)

THREAD_STOP_SECONDS = 4.0
"""How long a loop in a thread may take to end once it is told to."""

CANCELLATIONS = 10
CANCELLED_WITHIN_SECONDS = 0.5
"""A background task is cancelled so often, so long apart; one that has not ended then is left behind."""

_log = logs.logger(__name__)


class ServiceHealth(health.aio.HealthServicer):
    """`grpc.health.v1`, which the operators' port can ask too."""

    def __init__(self) -> None:
        super().__init__()
        self._serving: dict[str, bool] = {}

    async def set(self, service: str, status: health_pb2.HealthCheckResponse.ServingStatus) -> None:
        """Says whether a service or a model is served."""
        self._serving[service] = status == health_pb2.HealthCheckResponse.SERVING
        await super().set(service, status)

    def serves(self, service: str) -> bool | None:
        """What was said last; None where nothing was said of it. May be called from any thread."""
        return self._serving.get(service)


class Process(Generic[S]):
    """One running process: what it offers to the code that wires a service together."""

    def __init__(self, service: str, name: str, settings: S) -> None:
        self.service = service
        self.name = name
        self.settings = settings
        self.readiness = Readiness()
        self.stopping = asyncio.Event()
        self.grpc_port = 0
        self.health = ServiceHealth()
        self._failed: BaseException | None = None
        self._server: grpc.aio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._callbacks: list[Callable[[], Awaitable[None]]] = []

    async def serve_grpc(
        self, register: Callable[[grpc.aio.Server], None], services: Sequence[str], *, while_starting: bool = False
    ) -> None:
        """Starts the gRPC server with health and reflection; health is NOT_SERVING until every check holds.

        `register` adds the servicers; `services` are their full names, for health and reflection. Until every check has
        held once, calls are UNAVAILABLE: not everyone asks health first, and half of what there is to know gives wrong
        answers. With `while_starting` they are answered from the beginning.
        """
        keys = TokenKeys.parse(self.settings.token_keys.get_secret_value())
        server = create_server(self.settings, keys, lambda: while_starting or self.readiness.was_ready)
        register(server)
        health_pb2_grpc.add_HealthServicer_to_server(self.health, server)
        reflection.enable_server_reflection([*services, health.SERVICE_NAME, reflection.SERVICE_NAME], server)
        self.grpc_port = listen(server, self.settings)
        await server.start()
        self._server = server
        loop = asyncio.get_running_loop()

        def readiness_changed(ready: bool) -> None:
            asyncio.run_coroutine_threadsafe(self._set_health(("", *services), ready), loop)

        self.readiness.listen(readiness_changed)
        _log.info("serving", grpc_port=self.grpc_port, services=list(services))

    def background(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Runs `work` beside the rest. Where it fails, the process stops with status 1, to be restarted."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._background_ended)

    @asynccontextmanager
    async def in_thread(self, run: Callable[[threading.Event], None], name: str) -> AsyncIterator[None]:
        """Runs a blocking loop beside the block: where it fails, the process stops; at the block's end it is told."""
        stop, ended = threading.Event(), asyncio.Event()

        async def work() -> None:
            try:
                await asyncio.to_thread(run, stop)
            finally:
                ended.set()

        self.background(work(), name)
        try:
            yield
        finally:
            stop.set()
            try:
                await asyncio.wait_for(ended.wait(), THREAD_STOP_SECONDS)
            except TimeoutError:
                _log.warning("a thread did not stop in time", thread=name)

    async def run_in_thread(self, run: Callable[[threading.Event], None], name: str) -> None:
        """The whole life of a process that is one blocking loop."""
        async with self.in_thread(run, name):
            await self.until_stopped()

    def on_stop(self, callback: Callable[[], Awaitable[None]]) -> None:
        """Runs `callback` after the drain, the last one given first."""
        self._callbacks.append(callback)

    async def until_stopped(self) -> None:
        """Marks the process as started, and returns when it is to stop.

        What a start leaves in memory (modules, contracts, models) stays. The garbage collector is told so: in support's
        server, with 180,000 objects, a full collection held up every call for 100 to 260 ms, about twice a minute.
        """
        gc.collect()
        gc.freeze()
        self.readiness.start()
        await self.stopping.wait()

    async def drain(self) -> None:
        """Takes no new work, lets what is in flight finish, ends what runs beside it, then runs the callbacks."""
        self.readiness.drain()
        if self._server is not None:
            await self._set_health(("",), ready=False)
            # A call that gRPC holds and has not handed over when the server stops ends in CANCELLED, which no client
            # tries again. So calls are taken until those who send them have seen that they should go elsewhere.
            await asyncio.sleep(self.settings.drain_notice_seconds)
            await self._server.stop(self.settings.drain_seconds)
        await self._cancel_background()
        for callback in reversed(self._callbacks):
            await callback()

    @property
    def failure(self) -> BaseException | None:
        """What ended a background task, where one ended."""
        return self._failed

    async def _cancel_background(self) -> None:
        """Ends what runs beside the rest.

        A library may take a cancellation for a failure of its own and go on (redis-py, seldom, where it comes while a
        command is away: a one-shot process hung then). So it is said again until it is heard.
        """
        for _ in range(CANCELLATIONS):
            if not self._tasks:
                return
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(set(self._tasks), timeout=CANCELLED_WITHIN_SECONDS)
            # Their callbacks take them out of the set, once the loop has come round.
            await asyncio.sleep(0)
        _log.error("background tasks do not end", tasks=[task.get_name() for task in self._tasks])

    async def _set_health(self, services: Sequence[str], ready: bool) -> None:
        status = health_pb2.HealthCheckResponse.SERVING if ready else health_pb2.HealthCheckResponse.NOT_SERVING
        for service in services:
            await self.health.set(service, status)

    def _background_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._failed = task.exception()
            _log.error("a background task failed", task=task.get_name(), exc_info=self._failed)
            self.stopping.set()


Main = Callable[[Process[S]], Awaitable[None]]


def main(service: str, settings_class: type[S], processes: Mapping[str, Main[S]]) -> None:
    """Runs the process that the command line names (`python -m <service> <process>`) and exits with its status."""
    names = ", ".join(processes)
    if len(sys.argv) != 2 or sys.argv[1] not in processes:
        print(f"usage: python -m {service} PROCESS, where PROCESS is one of: {names}", file=sys.stderr)  # noqa: T201
        raise SystemExit(2)
    name = sys.argv[1]
    settings = load(settings_class)
    logs.configure(settings, service, name)
    telemetry.configure(settings, service, name)
    try:
        status = uvloop.run(_run(service, name, settings, processes[name]))
    finally:
        telemetry.shut_down()
    raise SystemExit(status)


async def _run(service: str, name: str, settings: S, body: Main[S]) -> int:
    process = Process(service, name, settings)
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, process.stopping.set)
    ops = OpsServer(process.settings.ops_listen, process.readiness, process.health.serves)
    if settings.faults:
        process.background(faults.follow(settings), "faults")
    running = asyncio.ensure_future(body(process))
    stopping = asyncio.ensure_future(process.stopping.wait())
    try:
        # A signal during a slow start ends the start too: `body` is not waited for any longer than the drain allows.
        await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait({running}, timeout=5.0)
        if not running.done():
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        elif running.exception() is not None:
            _log.error("the process failed", exc_info=running.exception())
            return 1
    finally:
        stopping.cancel()
        await process.drain()
        ops.close()
        _log.info("stopped")
    return 1 if process.failure is not None else 0
