"""What a walk is made of: calls, claims that are checked while they are shown, steps that fail without the others."""

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
from rich.console import Console
from rich.markup import escape

from cli import traces

FRESH_WITHIN_SECONDS = 10.0
TRACE_WITHIN_SECONDS = 15.0

T = TypeVar("T")


class StepFailed(Exception):
    """Something that the walk was about to show did not hold."""


@dataclass(frozen=True, slots=True)
class System:
    """The running system, as a client sees it."""

    gateway: str
    api_key: str
    trace_folder: Path


@dataclass(slots=True)
class Walk:
    """One walk through a running system."""

    http: httpx.Client
    console: Console
    trace_folder: Path
    session: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    failures: list[str] = field(default_factory=list)

    def call(self, method: str, path: str, body: dict[str, Any] | None = None, **headers: str) -> dict[str, Any]:
        """The answer's JSON. Raises StepFailed with the problem's own words."""
        response = self.http.request(method, path, json=body, headers=headers)
        if response.is_error:
            raise StepFailed(f"{method} {path} answered {response.status_code}: {response.text[:400]}")
        answer: dict[str, Any] = response.json() if response.content else {}
        answer["_trace_id"] = response.headers.get("X-Trace-Id", "")
        return answer

    def until(
        self, what: str, seconds: float, look: Callable[[], T | None], every_seconds: float = 0.01
    ) -> tuple[T, float]:
        """What `look` returns once it is not None, and the seconds that took. Raises StepFailed after `seconds`."""
        started = time.perf_counter()
        while time.perf_counter() - started < seconds:
            if (found := look()) is not None:
                return found, time.perf_counter() - started
            time.sleep(every_seconds)
        raise StepFailed(f"{what}: not seen within {seconds:g} s")

    def check(self, holds: bool, claim: str) -> None:
        """Prints the claim as held, or raises StepFailed with it."""
        if not holds:
            raise StepFailed(f"this does not hold: {claim}")
        self.held(claim)

    def held(self, claim: str) -> None:
        """Prints a claim that `until` has just seen."""
        self.console.print(f"  [green]✓[/] {escape(claim)}")

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """One step: a heading, and the reason where it fails; the steps after it still run."""
        self.console.print(f"\n[bold]{escape(title)}[/]")
        try:
            yield
        except (StepFailed, httpx.HTTPError) as error:
            self.failures.append(f"{title}: {error}")
            self.console.print(f"  [red]✗ {escape(str(error))}[/]")

    def show_trace(self, trace_id: str, services: set[str]) -> None:
        """Prints the trace once spans of all `services` have been written."""

        def whole() -> traces.Trace | None:
            found = traces.find(trace_id, self.trace_folder)
            return found if found is not None and services <= found.services and len(found.roots) == 1 else None

        trace, _ = self.until(f"trace {trace_id} over {sorted(services)}", TRACE_WITHIN_SECONDS, whole)
        self.console.print(traces.render(trace))
        self.held(f"{len(trace.spans)} spans of {', '.join(sorted(trace.services))} in one tree")
