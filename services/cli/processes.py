"""What a supervised process is: its command, what it needs, and how one sees that it is ready."""

from __future__ import annotations

import json
import random
import signal
import socket
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

# A probe looks once, within a second or two: None when ready, else why not yet, in words a person can act on.
Probe = Callable[[], str | None]

PROBE_TIMEOUT_SECONDS = 2.0
# Below Linux' ephemeral range (32768..60999): no outgoing connection can take a port between its choice and its use.
_PORT_RANGE = range(20000, 32768)


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """One line of the topology.

    A process with a `ready` probe is a server: it is kept running. One without is a one-shot: it has done its part
    when it exits with status 0.
    """

    name: str
    command: tuple[str, ...]
    depends_on: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    ready: Probe | None = None
    ready_within_seconds: float = 60.0
    stop_signal: signal.Signals = signal.SIGTERM
    stop_within_seconds: float = 25.0

    @property
    def one_shot(self) -> bool:
        """Whether it ends by itself."""
        return self.ready is None


def free_ports(count: int) -> list[int]:
    """`count` different TCP ports on which nothing listens on the loopback address now."""
    ports: list[int] = []
    for port in random.sample(_PORT_RANGE, k=len(_PORT_RANGE)):
        if len(ports) == count:
            break
        if is_free(port):
            ports.append(port)
    return ports


def is_free(port: int) -> bool:
    """Whether `port` can be bound on the loopback address."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def http_ready(port: int, path: str = "/readyz") -> Probe:
    """A probe of a service's ops port: ready on status 200, else what the service says it waits for."""
    url = f"http://127.0.0.1:{port}{path}"

    def probe() -> str | None:
        try:
            with urllib.request.urlopen(url, timeout=PROBE_TIMEOUT_SECONDS):
                return None
        except urllib.error.HTTPError as error:
            return f"{url} answers {error.code}: {_reason(error.read(2000))}"
        except OSError as error:
            return f"{url}: {error}"

    return probe


def _reason(body: bytes) -> str:
    try:
        return json.dumps(json.loads(body))
    except ValueError:
        return body.decode(errors="replace").strip()
