"""A short memory that a topic cannot be written to, so that not everybody waits for what one has waited for."""

import math
import threading
import time
from collections.abc import Callable

from chassis.errors import Unavailable

PAUSE_SECONDS = 1.0
"""How long nothing is sent after a failure; then one event is, as a probe."""


class Outages:
    """Which topics did not acknowledge when they were tried last. Safe to share between threads.

    It is kept by topic, because one that does not exist says nothing of the others. A failure counts only where nothing
    was acknowledged since the event was handed over: one partition without a leader does not stop the others.
    """

    def __init__(self, probe_seconds: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        """`probe_seconds`: the longest that an event may take to be acknowledged or to fail."""
        self._probe_seconds = probe_seconds
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._away_until: dict[str, float] = {}
        self._acknowledged_at: dict[str, float] = {}

    def enter(self, topic: str) -> float:
        """Lets an event through, and returns the time for `failed`. Raises Unavailable where waiting is in vain."""
        now = self._monotonic()
        with self._lock:
            until = self._away_until.get(topic)
            if until is not None:
                if now < until:
                    why = f"{topic}: no broker acknowledged a moment ago"
                    raise Unavailable("kafka", why, retry_after_seconds=min(until - now, PAUSE_SECONDS))
                self._away_until[topic] = now + self._probe_seconds
        return now

    def succeeded(self, topic: str) -> None:
        """An event was acknowledged."""
        with self._lock:
            self._away_until.pop(topic, None)
            self._acknowledged_at[topic] = self._monotonic()

    def failed(self, topic: str, entered: float) -> None:
        """An event that was let through at `entered` was not acknowledged in its time."""
        with self._lock:
            if self._acknowledged_at.get(topic, -math.inf) < entered:
                self._away_until[topic] = self._monotonic() + PAUSE_SECONDS
