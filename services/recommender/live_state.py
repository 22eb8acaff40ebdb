"""What behaviour leaves behind: the live sequence, the counters, who likes what together. As plain Python.

This is the definition. The seed folds a whole history with it, tests use it as the fake of the online store, and the
Lua script in online_features.py does the same to Redis, event by event: a test replays the same events through both.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from recommender.features import EVERYONE, LIKED, Interaction, ItemAggregates, UserAggregates

LIVE_LENGTH = 50
"""Entries of a live sequence: the 32 that the models see, and some for the items that get retired."""
SEEN_LENGTH = 1_000
"""Items that a visitor has touched and that do not come back, the newest."""
PAIR_WINDOW = 10
"""The newest liked items that a newly liked one is paired with."""
NEIGHBOURS_KEPT = 200
"""Neighbours counted per item, those with the most visitors in common."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """One deduplicable event of a visitor. `subject` is "user:<id>" or "session:<id>"."""

    event_id: str
    subject: str
    interaction: Interaction


@dataclass(slots=True)
class SubjectState:
    """What is kept of one visitor: `live` newest first, each item once; `seen` is item to milliseconds since 1970."""

    aggregates: UserAggregates = field(default_factory=UserAggregates)
    live: list[Interaction] = field(default_factory=list)
    seen: dict[str, int] = field(default_factory=dict)


class LiveState:
    """A tenant's online features. `segments` names the segment of those subjects that have one."""

    def __init__(self, segments: Mapping[str, str] | None = None) -> None:
        self.subjects: dict[str, SubjectState] = defaultdict(SubjectState)
        self.items: dict[str, ItemAggregates] = defaultdict(ItemAggregates)
        self.popular: dict[str, Counter[str]] = defaultdict(Counter)
        self.together: dict[str, Counter[str]] = defaultdict(Counter)
        """Per item, how many visitors liked it and another one within `PAIR_WINDOW`."""
        self._segments = segments or {}
        self._applied: set[str] = set()

    def apply(self, behaviour: Behaviour) -> bool:
        """Takes in an event once; False for a repeated one."""
        if behaviour.event_id in self._applied:
            return False
        self._applied.add(behaviour.event_id)
        interaction = behaviour.interaction
        subject = self.subjects[behaviour.subject]
        # Popularity and pairs count visitors, not clicks: who clicks an item ten times makes it no more popular.
        if interaction.rating >= LIKED and interaction.item_id not in subject.seen:
            self._count_visitor(interaction.item_id, subject, self._segments.get(behaviour.subject, EVERYONE))
        subject.aggregates = subject.aggregates.after(interaction)
        self.items[interaction.item_id] = self.items[interaction.item_id].after(interaction)
        subject.live = with_newer(subject.live, interaction)
        _see(subject.seen, interaction)
        return True

    def _count_visitor(self, item_id: str, subject: SubjectState, segment: str) -> None:
        for each in {EVERYONE, segment}:
            self.popular[each][item_id] += 1
        liked = [each.item_id for each in subject.live if each.rating >= LIKED]
        for other in liked[:PAIR_WINDOW]:
            self.together[item_id][other] += 1
            self.together[other][item_id] += 1


def with_newer(live: list[Interaction], interaction: Interaction) -> list[Interaction]:
    """The sequence with one more event in its place in time; the newest event about an item stands for the item."""
    when = interaction.occurred_at
    others = [entry for entry in live if entry.item_id != interaction.item_id]
    if len(others) < len(live) and any(
        entry.occurred_at > when for entry in live if entry.item_id == interaction.item_id
    ):
        return live
    place = 0
    while place < len(others) and others[place].occurred_at > when:
        place += 1
    return [*others[:place], interaction, *others[place:]][:LIVE_LENGTH]


def milliseconds(interaction: Interaction) -> int:
    """When it happened, in milliseconds since 1970."""
    return round(interaction.occurred_at.timestamp() * 1000)


def _see(seen: dict[str, int], interaction: Interaction) -> None:
    seen[interaction.item_id] = max(milliseconds(interaction), seen.get(interaction.item_id, 0))
    if len(seen) > SEEN_LENGTH:
        del seen[min(seen, key=lambda item_id: (seen[item_id], item_id))]
