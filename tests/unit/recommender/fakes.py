"""The recommender's ports in memory."""

import asyncio
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

import numpy as np

from recommender.catalogue import CatalogueItem, Catalogues, ItemActivity
from recommender.features import (
    VECTOR,
    Interaction,
    ItemAggregates,
    ItemFacts,
    UserProfile,
    fingerprint,
    rating_of,
    segment,
)
from recommender.index import Indexes, IndexKeeper
from recommender.live_state import Behaviour, LiveState
from recommender.ports import ModelUnavailable, Scores, Tensors, Vectors, Visitor
from recommender.ranking import Ranking
from recommender.recall import Quotas, Recall
from recommender.recommend import Asked, Recommendation, Recommender
from recommender.reranking import Policy

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
GENRES = ("Drama", "Comedy", "Action", "Horror")
TENANT = "cinema"


def film(number: int, *categories: str, title: str = "") -> ItemFacts:
    return ItemFacts(
        f"film-{number}", title or f"Film {number}", categories or (GENRES[number % 4],), 1990 + number % 10
    )


def films(count: int) -> list[ItemFacts]:
    return [film(number) for number in range(count)]


def catalogues_of(items: Iterable[ItemFacts], tenant: str = TENANT) -> Catalogues:
    catalogues = Catalogues()
    for item in items:
        catalogues.put(tenant, CatalogueItem(item, NOW, 1))
    return catalogues


class FakeModels:
    """Towers and ranker: a category is a direction; a visitor is the sum of what its history points to.

    `fail` makes a model unavailable; `version_of` is the release router; `loaded` are the tower's versions.
    """

    def __init__(self, items: Iterable[ItemFacts] = ()) -> None:
        self.fail: set[str] = set()
        self.loaded = ["1"]
        self.version_of: Callable[[str], str] = lambda _key: self.loaded[0]
        self.calls: list[tuple[str, str]] = []
        self._vector_of_item = {fingerprint(item.item_id): _content(item) for item in items}

    async def user_vector(self, inputs: Tensors, request_key: str, version: str = "") -> Vectors:
        self._call("dssm_user", version)
        known = [
            self._vector_of_item[each] for each in inputs["history_items"][0].tolist() if each in self._vector_of_item
        ]
        return Vectors(
            _unit(np.sum(known, axis=0) if known else np.ones(VECTOR))[None], version or self.version_of(request_key)
        )

    async def item_vectors(self, inputs: Tensors, version: str) -> Vectors:
        self._call("dssm_item", version)
        await asyncio.sleep(0)
        vectors = [_of_categories([each for each in row if each]) for row in inputs["item_categories"].tolist()]
        self._vector_of_item.update(zip(inputs["item_id"][:, 0].tolist(), vectors, strict=True))
        return Vectors(np.array(vectors, np.float32), version)

    async def tower_versions(self) -> list[str]:
        self._call("repository", "")
        return list(self.loaded)

    async def scores(self, inputs: Tensors, request_key: str) -> Scores:
        self._call("din", "")
        affinity = inputs["candidate_statistics"][:, 5]
        return Scores((0.5 + affinity / 2 + inputs["candidate_year"][:, 0] / 1e5).astype(np.float32), "7")

    def _call(self, model: str, version: str) -> None:
        self.calls.append((model, version))
        if model in self.fail:
            raise ModelUnavailable(f"model {model} is not available: broken on purpose")


class FakeVisitors:
    """The online features as a `LiveState`."""

    def __init__(self, profiles: Iterable[UserProfile] = ()) -> None:
        self.profiles = {f"user:{profile.user_id}": profile for profile in profiles}
        self.state = LiveState({subject: segment(profile) for subject, profile in self.profiles.items()})
        self._clock = NOW

    def act(self, subject: str, item_id: str, action: str = "click", stars: float = 0.0) -> None:
        self._clock += timedelta(seconds=1)
        interaction = Interaction(subject.partition(":")[2], item_id, rating_of(action, stars), action, self._clock)
        self.state.apply(Behaviour(f"event-{self._clock.timestamp()}", subject, interaction))

    async def visitor(self, tenant: str, user_id: str, session_id: str) -> Visitor:
        subject = f"user:{user_id}" if user_id else f"session:{session_id}"
        kept = self.state.subjects[subject]
        profile = self.profiles.get(subject, UserProfile(user_id))
        return Visitor(
            tenant,
            user_id,
            session_id,
            profile,
            segment(profile),
            kept.aggregates,
            tuple(kept.live),
            frozenset(kept.seen),
        )


class Cinema:
    """A recommender over fakes: a small catalogue, its visitors, and what they did."""

    def __init__(
        self, items: list[ItemFacts], policy: Policy | None = None, profiles: Iterable[UserProfile] = ()
    ) -> None:
        self.models = FakeModels(items)
        self.visitors = FakeVisitors(profiles)
        self.catalogues = catalogues_of(items)
        self.indexes = Indexes()
        self.keeper = IndexKeeper(self.catalogues, self.models, self.indexes, poll_seconds=60.0)
        quotas = Quotas(candidates=40, item_to_item=10, popular=10, new_items=5)
        policy = policy or Policy(exploration_probability=0.0, new_item_place=0)
        self.recommender = Recommender(
            self.visitors, self.catalogues, Recall(self.models, self.indexes), Ranking(self.models), quotas, policy
        )

    @property
    def catalogue(self):
        return self.catalogues.of(TENANT)

    async def open(self) -> "Cinema":
        await self.keeper.refresh()
        return self

    def learn(self) -> None:
        """Brings the catalogue up to what the visitors did."""
        state = self.visitors.state
        activities = [
            ItemActivity(
                item_id, state.items.get(item_id, ItemAggregates()), tuple(state.together[item_id].most_common())
            )
            for item_id in list(state.items)
        ]
        self.catalogue.learn(activities, {name: counts.most_common() for name, counts in state.popular.items()})

    async def recommend(self, user_id: str = "", session_id: str = "", **asked: object) -> Recommendation:
        return await self.recommender.recommend(Asked("rec-1", TENANT, user_id, session_id, **asked))


def ids(answer: Recommendation) -> list[str]:
    return [each.item.facts.item_id for each in answer.items]


def _content(item: ItemFacts) -> np.ndarray:
    return _of_categories([fingerprint(category) for category in item.categories])


def _of_categories(categories: list[int]) -> np.ndarray:
    directions = [np.random.default_rng(abs(each)).standard_normal(VECTOR) for each in categories]
    return _unit(np.sum(directions, axis=0) if directions else np.ones(VECTOR))


def _unit(vector: np.ndarray) -> np.ndarray:
    return (vector / np.linalg.norm(vector)).astype(np.float32)
