"""Who asks, and for what: few visitors and few items make most of the traffic, as everywhere."""

import random
from bisect import bisect
from functools import cache
from itertools import accumulate

from locust import events
from locust.argument_parser import LocustArgumentParser


@events.init_command_line_parser.add_listener
def add_options(parser: LocustArgumentParser) -> None:
    """What the traffic is made of."""
    group = parser.add_argument_group("Casebook: who asks")
    group.add_argument("--visitors", type=int, default=100_000, help="Visitors, the most frequent ones first")
    group.add_argument("--known-users", type=int, default=943, help="How many of them have history (ML-100K's users)")
    group.add_argument("--items", type=int, default=1682, help="Items of the catalogue, named 1 to N")
    group.add_argument("--zipf", type=float, default=1.0, help="Exponent of Zipf's law for visitors and items")


@cache
def _ladder(count: int, exponent: float) -> list[float]:
    return list(accumulate(1.0 / rank**exponent for rank in range(1, count + 1)))


def zipf(chance: random.Random, count: int, exponent: float) -> int:
    """A rank from 1 to `count`, drawn in proportion to 1 / rank^exponent."""
    ladder = _ladder(count, exponent)
    return min(count, bisect(ladder, chance.random() * ladder[-1]) + 1)


class People:
    """Draws visitors and items. With the defaults 61 of 100 requests are of users that have history."""

    def __init__(self, options: object, seed: int | None = None) -> None:
        self.chance = random.Random(seed)  # noqa: S311 - load, not secrets
        self._visitors: int = getattr(options, "visitors", 100_000)
        self._known: int = getattr(options, "known_users", 943)
        self._items: int = getattr(options, "items", 1682)
        self._exponent: float = getattr(options, "zipf", 1.0)

    def somebody(self) -> str:
        """A user's id: hot and known, or cold and new."""
        rank = zipf(self.chance, self._visitors, self._exponent)
        return str(rank) if rank <= self._known else f"cold-{rank}"

    def item(self) -> str:
        """An item's id."""
        return str(zipf(self.chance, self._items, self._exponent))

    def session(self) -> str:
        """The id of a new anonymous session."""
        return f"session-{self.chance.getrandbits(64):016x}"
