"""Whether this process can work: live, ready (its dependencies answer, its models are warm), and draining."""

import threading
from collections.abc import Callable


class Check:
    """One thing that must hold before a process is ready; it starts as not holding."""

    def __init__(self, name: str, on_change: Callable[[], None]) -> None:
        self.name = name
        self.ok = False
        self.why = "starting"
        self._on_change = on_change

    def set(self, ok: bool, why: str = "") -> None:
        """Says whether it holds now, and why not. May be called from any thread."""
        self.ok, self.why = ok, "" if ok else why
        self._on_change()


class Readiness:
    """All checks of a process together. A process without checks is ready once `started`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._checks: dict[str, Check] = {}
        self._listeners: list[Callable[[bool], None]] = []
        self._started = False
        self._draining = False
        self.was_ready = False
        """Whether the process has been ready at any time."""

    def add(self, name: str) -> Check:
        """A new check, not holding yet."""
        check = Check(name, self._changed)
        with self._lock:
            self._checks[name] = check
        return check

    def listen(self, listener: Callable[[bool], None]) -> None:
        """Calls `listener` now and after every change, with whether the process is ready."""
        self._listeners.append(listener)
        listener(self.ready)

    def start(self) -> None:
        """The process has been wired up; from now on the checks alone decide."""
        self._started = True
        self._changed()

    def drain(self) -> None:
        """The process takes no new work."""
        self._draining = True
        self._changed()

    @property
    def ready(self) -> bool:
        """Whether work may be sent here."""
        return not self.reasons()

    def reasons(self) -> dict[str, str]:
        """Why the process is not ready, by check; empty when it is."""
        if self._draining:
            return {"process": "draining"}
        if not self._started:
            return {"process": "starting"}
        with self._lock:
            return {check.name: check.why for check in self._checks.values() if not check.ok}

    def _changed(self) -> None:
        ready = self.ready
        self.was_ready = self.was_ready or ready
        for listener in self._listeners:
            listener(ready)
