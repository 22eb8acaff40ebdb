"""What was measured while the number of users stood still: by endpoint, and window by window.

Locust's own statistics only grow. A step is the difference between two looks at them, so that it can be taken in the
master too, where no single request is seen.
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import mean, stdev
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Tally:
    """Requests of one endpoint. Failed requests and their times count too."""

    requests: int = 0
    failures: int = 0
    total_ms: float = 0.0
    times_ms: Mapping[int, int] = field(default_factory=dict)
    """How many requests took so long, in milliseconds rounded to two digits (Locust's buckets)."""

    def __sub__(self, earlier: "Tally") -> "Tally":
        """What came after `earlier`."""
        return Tally(
            self.requests - earlier.requests,
            self.failures - earlier.failures,
            self.total_ms - earlier.total_ms,
            Counter(self.times_ms) - Counter(earlier.times_ms),
        )

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.requests + other.requests,
            self.failures + other.failures,
            self.total_ms + other.total_ms,
            Counter(self.times_ms) + Counter(other.times_ms),
        )

    @property
    def mean_ms(self) -> float:
        """0 without requests."""
        return self.total_ms / self.requests if self.requests else 0.0

    @property
    def error_rate(self) -> float:
        """The share that failed; 0 without requests."""
        return self.failures / self.requests if self.requests else 0.0

    def percentile_ms(self, share: float) -> float:
        """The time that `share` of the requests stayed within (nearest rank); 0 without requests."""
        wanted, seen = share * sum(self.times_ms.values()), 0
        for milliseconds in sorted(self.times_ms):
            seen += self.times_ms[milliseconds]
            if seen >= wanted:
                return float(milliseconds)
        return 0.0

    def as_json(self) -> dict[str, Any]:
        """For summary.json."""
        return {
            "requests": self.requests,
            "failures": self.failures,
            "mean_ms": round(self.mean_ms, 2),
            **{f"p{share * 100:g}_ms": self.percentile_ms(share) for share in (0.5, 0.9, 0.95, 0.99)},
        }


Tallies = Mapping[str, Tally]
"""By endpoint: "POST /v1/events"."""


@dataclass(frozen=True, slots=True)
class Window:
    """A few seconds of a step: how far windows differ is the noise of a figure."""

    seconds: float
    requests: int
    total_ms: float

    @property
    def throughput(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds

    @property
    def mean_ms(self) -> float:
        """0 without requests."""
        return self.total_ms / self.requests if self.requests else 0.0


@dataclass(frozen=True, slots=True)
class Step:
    """A time with one number of users, less the seconds in which it settled."""

    users: int
    seconds: float
    endpoints: Tallies
    windows: tuple[Window, ...]

    @classmethod
    def between(cls, users: int, seconds: float, before: Tallies, after: Tallies, windows: tuple[Window, ...]) -> Self:
        """The step that the two looks enclose."""
        done = {name: tally - before.get(name, Tally()) for name, tally in after.items()}
        return cls(users, seconds, {name: tally for name, tally in done.items() if tally.requests}, windows)

    @property
    def all(self) -> Tally:
        """Every endpoint's requests together."""
        return sum(self.endpoints.values(), Tally())

    @property
    def throughput(self) -> float:
        """Requests a second."""
        return self.all.requests / self.seconds

    @property
    def power(self) -> float:
        """Kleinrock's power: throughput over mean response time (requests a second, a second)."""
        return self.throughput / (self.all.mean_ms / 1000.0) if self.all.mean_ms else 0.0

    @property
    def throughput_noise(self) -> float:
        """The standard error of the throughput, as a share of it; 0 where there are too few windows to say."""
        return _noise([window.throughput for window in self.windows])

    @property
    def mean_noise(self) -> float:
        """The same of the mean response time."""
        return _noise([window.mean_ms for window in self.windows])

    def as_json(self) -> dict[str, Any]:
        """For summary.json."""
        return {
            "users": self.users,
            "seconds": round(self.seconds, 2),
            "throughput": round(self.throughput, 2),
            "throughput_noise": round(self.throughput_noise, 4),
            "mean_noise": round(self.mean_noise, 4),
            "power": round(self.power, 1),
            "all": self.all.as_json(),
            "endpoints": {name: tally.as_json() for name, tally in sorted(self.endpoints.items())},
        }


def _noise(figures: list[float]) -> float:
    if len(figures) < 3 or not mean(figures):
        return 0.0
    return stdev(figures) / math.sqrt(len(figures)) / mean(figures)
