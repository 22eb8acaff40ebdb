"""uvicorn as a part of a process that has its own signals, logs and end."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import uvicorn
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chassis import logs, tls
from gateway.settings import GatewaySettings

RENEWAL_SECONDS = 60.0
KEEP_ALIVE_SECONDS = 75
"""Longer than the 60 s after which load balancers let go of an idle connection: they close it, not we."""

_log = logs.logger(__name__)


class HttpServer:
    """Serves an application from `start()` to `drain()`."""

    def __init__(self, app: ASGIApp, settings: GatewaySettings) -> None:
        host, _, port = settings.http_listen.rpartition(":")
        # Bound here: a port that is taken is an error of this process, where uvicorn would end it without a word.
        self._socket = socket.create_server((host, int(port)))
        self.port: int = self._socket.getsockname()[1]
        self._farewell = _Farewell(app)
        self._notice_seconds = settings.drain_notice_seconds
        self._server = _Server(
            uvicorn.Config(
                self._farewell,
                http="httptools",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                limit_concurrency=settings.max_connections,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=int(settings.drain_seconds),
                ssl_certfile=settings.http_tls_cert_file or None,
                ssl_keyfile=settings.http_tls_key_file or None,
            )
        )
        self._server.config.load()
        self._files = (settings.http_tls_cert_file, settings.http_tls_key_file)
        self._serving: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Accepts connections."""
        self._serving = asyncio.get_running_loop().create_task(self._server.serve([self._socket]), name="http")

    async def follow_certificate(self) -> None:
        """Takes up a renewed certificate within a minute, for the connections that are made from then on."""
        while self._server.config.ssl is not None:
            await asyncio.sleep(RENEWAL_SECONDS)
            try:
                tls.check_pair(*self._files)
                self._server.config.ssl.load_cert_chain(*self._files)
            except OSError as error:
                _log.error("the certificate cannot be read again: the one before stays", why=str(error))

    async def drain(self) -> None:
        """Accepts no more, and returns when the requests in flight are answered or `drain_seconds` are over.

        For `drain_notice_seconds` before that, every answer closes its connection. A request that is on its way over a
        kept-alive connection when this server closes it fails, and none is kept alive any more then.
        """
        self._farewell.said = True
        await asyncio.sleep(self._notice_seconds)
        self._server.should_exit = True
        if self._serving is not None:
            await self._serving


class _Farewell:
    """Once it is said, every answer asks its client to connect anew: to another replica."""

    def __init__(self, app: ASGIApp) -> None:
        self.said = False
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_farewell(message: Message) -> None:
            if self.said and message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Connection"] = "close"
            await send(message)

        await self._app(scope, receive, send_with_farewell)


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The process has the signals (`chassis.process`)."""
        yield
