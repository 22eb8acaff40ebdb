"""How often, and how soon, what failed is tried again."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from chassis import logs
from chassis.errors import Unavailable
from chassis.health import Check

T = TypeVar("T")

_log = logs.logger(__name__)


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


async def until_available(
    attempt: Callable[[], Awaitable[T]], check: Check, unavailable: type[Exception] = Unavailable
) -> T:
    """What `attempt` returns once it no longer raises `unavailable`; `check` says why not, until the caller sets it.

    For a start: a process that has never held anything to answer from waits for it as long as it takes.
    """
    attempts = 0
    while True:
        attempts += 1
        try:
            return await attempt()
        except unavailable as error:
            check.set(False, str(error))
            _log.warning("not ready yet", check=check.name, why=str(error))
        await asyncio.sleep(Retries().delay(attempts))
