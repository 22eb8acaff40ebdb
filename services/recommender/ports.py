"""What the domain asks of the outside: each port has one real adapter and one in-memory fake for tests."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from recommender.features import Float32Array, Interaction, UserAggregates, UserProfile

Tensors = Mapping[str, np.ndarray]
"""Named inputs of a model, as `recommender.features` builds them."""


class ModelUnavailable(Exception):
    """A model gave no answer in time; the caller has a fallback. The message is fit for `degraded`."""


class OnlineStoreUnavailable(Exception):
    """The online feature store does not answer."""


@dataclass(frozen=True, slots=True)
class Vectors:
    """Unit vectors, float32 [n, 64], and the version of the tower that they come from."""

    values: Float32Array
    version: str


@dataclass(frozen=True, slots=True)
class Scores:
    """Probabilities, float32 [n], and the version of the ranker that they come from."""

    values: Float32Array
    version: str


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who asks, as the models will see them.

    `history` is the live sequence, newest first, each item once; `seen` are the items that must not come back.
    """

    tenant: str
    user_id: str = ""
    session_id: str = ""
    profile: UserProfile = field(default_factory=lambda: UserProfile(""))
    segment: str = "all"
    aggregates: UserAggregates = field(default_factory=UserAggregates)
    history: tuple[Interaction, ...] = ()
    seen: frozenset[str] = frozenset()
    degraded: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """What sticks to a visitor: the arm of an experiment, the canary of a model, the partition of an event."""
        return f"{self.tenant}:{self.user_id or self.session_id}"


class UserTower(Protocol):
    """The DSSM's user side."""

    async def user_vector(self, inputs: Tensors, request_key: str, version: str = "") -> Vectors:
        """One user's vector by `version`, or by the version that the release chooses for `request_key`.

        Raises ModelUnavailable.
        """


class ItemTower(Protocol):
    """The DSSM's item side."""

    async def item_vectors(self, inputs: Tensors, version: str) -> Vectors:
        """The vectors of n items by this version of the item tower. Raises ModelUnavailable."""

    async def tower_versions(self) -> list[str]:
        """The versions of the user tower that may answer now, oldest first. Raises ModelUnavailable."""


class Ranker(Protocol):
    """The DIN."""

    async def scores(self, inputs: Tensors, request_key: str) -> Scores:
        """The probabilities of n candidates, in one call. Raises ModelUnavailable."""


class Visitors(Protocol):
    """The online features."""

    async def visitor(self, tenant: str, user_id: str, session_id: str) -> Visitor:
        """What is known of the visitor now. Never raises: what could not be read is said in `degraded`."""
