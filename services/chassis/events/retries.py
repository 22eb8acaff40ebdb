"""How often, and how soon, a failed event is tried again."""

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Retries:
    """Exponential back-off with jitter, bounded twice.

    An event whose handler fails is tried `attempts` times. An event whose handler raises `Unavailable` (a store or a
    service that does not answer) says nothing about the event, and the next one would fare no better: it holds its
    partition for up to `outage_seconds`, so that a restart of Redis does not fill the dead-letter topic.
    """

    attempts: int = 5
    outage_seconds: float = 900.0
    shortest_seconds: float = 0.2
    longest_seconds: float = 10.0

    def delay(self, attempts: int) -> float:
        """Seconds to wait after `attempts` attempts: doubling, between one half of it and all of it at random."""
        full = min(self.longest_seconds, self.shortest_seconds * 2.0 ** min(attempts - 1, 30))
        return full * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, no secret
