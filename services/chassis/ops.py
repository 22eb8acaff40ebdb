"""The operators' port: /livez, /readyz and /metrics, in a thread of its own: a busy event loop still answers.

`/readyz/NAME` says what `grpc.health.v1` says of a service or a model, and "not ready" while the process itself is not.
It is there for probes that speak no TLS (Kubernetes' own gRPC probe is one).
"""

import json
import threading
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import REGISTRY, make_wsgi_app

from chassis.health import Readiness


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _QuietHandler(WSGIRequestHandler):
    timeout = 10

    def log_message(self, *_: Any) -> None:
        """Probes come every few seconds; nothing of them is logged."""


class OpsServer:
    """Serves until `close()`."""

    def __init__(self, listen: str, readiness: Readiness, serves: Callable[[str], bool | None]) -> None:
        """`serves` says whether a service or model is served; None where there is none of that name."""
        host, _, port = listen.rpartition(":")
        self._readiness = readiness
        self._serves = serves
        self._metrics = make_wsgi_app(REGISTRY)
        self._server = make_server(host, int(port), self._application, _Server, _QuietHandler)
        self.port: int = self._server.server_port
        threading.Thread(target=self._server.serve_forever, name="ops", daemon=True).start()

    def close(self) -> None:
        """Stops listening."""
        self._server.shutdown()
        self._server.server_close()

    def _application(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        body: dict[str, Any]
        if path == "/metrics":
            answer: Iterable[bytes] = self._metrics(environ, start_response)
            return answer
        if path == "/livez":
            status, body = "200 OK", {"live": True}
        elif path == "/readyz":
            status, body = _readiness(self._readiness.reasons())
        elif path.startswith("/readyz/") and (served := self._serves(path.removeprefix("/readyz/"))) is not None:
            status, body = _readiness(self._readiness.reasons() or ({} if served else {"health": "not serving"}))
        else:
            status, body = "404 Not Found", {"error": "only /livez, /readyz and /metrics are here"}
        start_response(status, [("Content-Type", "application/json"), ("Cache-Control", "no-store")])
        return [json.dumps(body).encode()]


def _readiness(reasons: dict[str, str]) -> tuple[str, dict[str, Any]]:
    if reasons:
        return "503 Service Unavailable", {"ready": False, "reasons": reasons}
    return "200 OK", {"ready": True}
