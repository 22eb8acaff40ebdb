"""uvicorn as a part of a process that has its own signals, logs and end."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp

from gateway.settings import GatewaySettings

KEEP_ALIVE_SECONDS = 75
"""Longer than the 60 s after which load balancers let go of an idle connection: they close it, not we."""


class HttpServer:
    """Serves an application from `start()` to `drain()`."""

    def __init__(self, app: ASGIApp, settings: GatewaySettings) -> None:
        host, _, port = settings.http_listen.rpartition(":")
        # Bound here: a port that is taken is an error of this process, where uvicorn would end it without a word.
        self._socket = socket.create_server((host, int(port)))
        self.port: int = self._socket.getsockname()[1]
        self._server = _Server(
            uvicorn.Config(
                app,
                http="httptools",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                limit_concurrency=settings.max_connections,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=int(settings.drain_seconds),
            )
        )
        self._serving: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Accepts connections."""
        self._serving = asyncio.get_running_loop().create_task(self._server.serve([self._socket]), name="http")

    async def drain(self) -> None:
        """Accepts no more, and returns when the requests in flight are answered or `drain_seconds` are over."""
        self._server.should_exit = True
        if self._serving is not None:
            await self._serving


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The process has the signals (`chassis.process`)."""
        yield
