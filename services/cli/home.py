"""The data folder: everything that an embedded Casebook keeps lies under it, and one start at a time owns it."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.errors import CommandError


class HomeInUseError(CommandError):
    """Another start owns the data folder."""

    def __init__(self, path: Path, owner: str) -> None:
        super().__init__(
            f"{path} is in use by process {owner or 'unknown'}: stop that one (Ctrl-C, or kill {owner or '<pid>'}), "
            "or choose another folder with CASEBOOK_HOME"
        )


@dataclass(frozen=True, slots=True)
class Home:
    """The layout of the data folder."""

    path: Path

    @classmethod
    def from_environment(cls) -> Home:
        """`$CASEBOOK_HOME`, or `.casebook` in the working folder."""
        return cls(Path(os.environ.get("CASEBOOK_HOME") or ".casebook").resolve())

    def folder(self, name: str) -> Path:
        """A folder of the layout, made if missing: redis, postgres, models, vectors, traces, logs, sink, ml-100k."""
        folder = self.path / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def secret(self, name: str) -> str:
        """The secret of this name; 256 random bits are drawn and kept (mode 0600) when it is asked for first."""
        folder = self.path / "secrets"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = folder / name
        try:
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return file.read_text().strip()
        with os.fdopen(descriptor, "w") as out:
            value = secrets.token_urlsafe(32)
            out.write(value)
            return value

    @property
    def api_key_file(self) -> Path:
        """Where the first API key is written at the first start."""
        return self.path / "secrets" / "api-key"

    @property
    def token_keys(self) -> str:
        """The keys that sign identity tokens, in the form of `CASEBOOK_TOKEN_KEYS`."""
        return f"embedded:{self.secret('token-key')}"

    def announce(self, addresses: Mapping[str, str], scrape_targets: Sequence[Mapping[str, Any]] = ()) -> None:
        """Tells the operator's commands, and Prometheus (infra/prometheus/embedded.yml), where the system is."""
        self._scrape_targets.write_text(json.dumps(scrape_targets, indent=2))
        self._running.write_text(json.dumps(addresses, indent=2))

    def withdraw(self) -> None:
        """Nothing runs here any more, and Prometheus need not miss it."""
        self._running.unlink(missing_ok=True)
        self._scrape_targets.unlink(missing_ok=True)

    def addresses(self) -> dict[str, str]:
        """Where the running system is, by variable; empty where none runs."""
        found: dict[str, str] = json.loads(self._running.read_text()) if self._running.exists() else {}
        return found

    def enter(self) -> None:
        """Puts the running system's addresses and token keys into this process's environment, where it lacks them."""
        addresses = self.addresses()
        for variable, address in addresses.items():
            os.environ.setdefault(variable, address)
        if (self.path / "secrets" / "token-key").exists():
            os.environ.setdefault("CASEBOOK_TOKEN_KEYS", self.token_keys)
        if redis := addresses.get("CASEBOOK_REDIS_ADDRESS"):
            from cli.redis_server import redis_url

            os.environ.setdefault("CASEBOOK_REDIS_URL", redis_url(redis, self.secret("redis")))

    @property
    def _running(self) -> Path:
        return self.path / "running.json"

    @property
    def _scrape_targets(self) -> Path:
        return self.path / "scrape-targets.json"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Owns the folder until the block ends, or the process: the kernel drops the lock with it.

        Raises:
            HomeInUseError: another process owns it; says which.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / "lock").open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                raise HomeInUseError(self.path, file.read().strip()) from None
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield
            file.truncate(0)
