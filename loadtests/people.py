"""Who asks, and for what: few visitors and few items make most of the traffic, as everywhere."""

import random
from bisect import bisect
from functools import cache
from itertools import accumulate


@cache
def _ladder(count: int, exponent: float) -> list[float]:
    return list(accumulate(1.0 / rank**exponent for rank in range(1, count + 1)))


def zipf(chance: random.Random, count: int, exponent: float) -> int:
    """A rank from 1 to `count`, drawn in proportion to 1 / rank^exponent."""
    ladder = _ladder(count, exponent)
    return min(count, bisect(ladder, chance.random() * ladder[-1]) + 1)


class People:
    """Draws visitors and items, by the options of the same names."""

    def __init__(
        self, *, visitors: int, known_users: int, items: int, exponent: float, seed: int | None = None
    ) -> None:
        self.chance = random.Random(seed)  # noqa: S311 - load, not secrets
        self._visitors = visitors
        self._known_users = known_users
        self._items = items
        self._exponent = exponent

    def somebody(self) -> str:
        """A user's id: hot and known, or cold and new."""
        rank = zipf(self.chance, self._visitors, self._exponent)
        return str(rank) if rank <= self._known_users else f"cold-{rank}"

    def item(self) -> str:
        """An item's id."""
        return str(zipf(self.chance, self._items, self._exponent))

    def session(self) -> str:
        """The id of a new anonymous session."""
        return f"session-{self.chance.getrandbits(64):016x}"
