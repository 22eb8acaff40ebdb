"""The use case: the best items for a visitor, now. It reads like the picture in README.md."""

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from recommender.catalogue import Catalogue, CatalogueItem, Catalogues
from recommender.experiments import Arm, Experiment
from recommender.ports import Visitor, Visitors
from recommender.ranking import FEATURE_NAMES, Ranked, Ranking, ranking_features
from recommender.recall import Candidates, Channel, Quotas, Recall
from recommender.reranking import Placed, Policy, allowed_items, rerank


@dataclass(frozen=True, slots=True)
class Asked:
    """A checked request. At least one of `user_id` and `session_id` is there."""

    recommendation_id: str
    tenant: str
    user_id: str = ""
    session_id: str = ""
    limit: int = 10
    excluded: tuple[str, ...] = ()
    category: str = ""

    @property
    def visitor_key(self) -> str:
        """As `Visitor.key`."""
        return f"{self.tenant}:{self.user_id or self.session_id}"

    @property
    def seed(self) -> int:
        """What chance is made from: the recommendation and the visitor, both logged, so an answer can be replayed."""
        digest = hashlib.blake2b(f"{self.recommendation_id}\0{self.visitor_key}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big")


@dataclass(frozen=True, slots=True)
class ChannelScore:
    """A channel that brought an item, its score there, and the item that led to it."""

    channel: Channel
    score: float
    because_of: CatalogueItem | None = None


@dataclass(frozen=True, slots=True)
class Recommended:
    """One item of the answer with all that explains it. Ranks are 1-based."""

    item: CatalogueItem
    score: float
    reason: str
    propensity: float
    exploration: bool
    channels: tuple[ChannelScore, ...]
    recall_rank: int
    ranking_rank: int
    final_rank: int
    notes: tuple[str, ...]
    features: tuple[float, ...]
    """In the order of `ranking.FEATURE_NAMES`."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of the way, how long it took, and how many items were left after it."""

    name: str
    milliseconds: float
    candidates: int


@dataclass(slots=True)
class Stages:
    """Takes the time of each stage."""

    taken: list[Stage] = field(default_factory=list)
    left: int = 0

    @contextmanager
    def stage(self, name: str) -> Iterator["Stages"]:
        """Measures its block, which says in `left` how many items are left."""
        started = time.perf_counter()
        yield self
        self.taken.append(Stage(name, (time.perf_counter() - started) * 1000.0, self.left))


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The answer, and what it was made from."""

    asked: Asked
    served_at: datetime
    arm: Arm
    items: tuple[Recommended, ...]
    visitor: Visitor
    ranked: Ranked
    stages: tuple[Stage, ...]

    @property
    def degraded(self) -> tuple[str, ...]:
        """The fallbacks that were taken, in the order of the stages."""
        return (*self.visitor.degraded, *self.ranked.candidates.query.degraded, *self.ranked.degraded)

    @property
    def feature_age_seconds(self) -> float:
        """Since the newest event of the live sequence; -1 without one."""
        if not self.visitor.history:
            return -1.0
        return max(0.0, (self.served_at - self.visitor.history[0].occurred_at).total_seconds())


class Recommender:
    """Recall, features, ranking, re-ranking."""

    def __init__(
        self,
        visitors: Visitors,
        catalogues: Catalogues,
        recall: Recall,
        ranking: Ranking,
        quotas: Quotas = Quotas(),  # noqa: B008 - frozen
        policy: Policy = Policy(),  # noqa: B008 - frozen
        experiment: Experiment = Experiment(),  # noqa: B008 - frozen
    ) -> None:
        self._visitors = visitors
        self._catalogues = catalogues
        self._recall = recall
        self._ranking = ranking
        self._quotas = quotas
        self._policy = policy
        self._experiment = experiment

    async def recommend(self, asked: Asked) -> Recommendation:
        """The answer. Each stage has its own fallback, so there is one whatever does not work."""
        stages = Stages()
        catalogue = self._catalogues.of(asked.tenant)
        arm = self._experiment.arm_of(asked.visitor_key)
        with stages.stage("live sequence") as stage:
            visitor = await self._visitors.visitor(asked.tenant, asked.user_id, asked.session_id)
            allowed = allowed_items(catalogue, visitor, asked.excluded, asked.category)
            stage.left = int(allowed.sum())
        with stages.stage("recall") as stage:
            candidates = await self._recall.candidates(visitor, catalogue, allowed, self._quotas)
            stage.left = len(candidates)
        with stages.stage("features"):
            features = ranking_features(visitor, catalogue, candidates)
        with stages.stage("ranking"):
            ranked = await self._ranking.rank(visitor, candidates, features)
        with stages.stage("re-ranking") as stage:
            policy = arm.applied_to(self._policy)
            places = rerank(ranked, catalogue, policy, limit=asked.limit, seed=asked.seed, category=asked.category)
            stage.left = len(places)
        items = explained(places, ranked, catalogue, visitor)
        return Recommendation(asked, datetime.now(UTC), arm, items, visitor, ranked, tuple(stages.taken))


def explained(places: list[Placed], ranked: Ranked, catalogue: Catalogue, visitor: Visitor) -> tuple[Recommended, ...]:
    """The placed items with what brought each of them to its place."""
    ranking_rank = {int(candidate): rank for rank, candidate in enumerate(ranked.order(), start=1)}
    items = []
    for final_rank, placed in enumerate(places, start=1):
        row = int(ranked.candidates.rows[placed.candidate])
        channels = _channels(row, ranked.candidates, catalogue)
        items.append(
            Recommended(
                item=catalogue.items[row],
                score=float(ranked.scores[placed.candidate]),
                reason=reason(channels, placed, visitor),
                propensity=placed.propensity,
                exploration=placed.exploration,
                channels=channels,
                recall_rank=placed.candidate + 1,
                ranking_rank=ranking_rank[placed.candidate],
                final_rank=final_rank,
                notes=placed.notes,
                features=tuple(ranked.features.values[placed.candidate].tolist()),
            )
        )
    return tuple(items)


def reason(channels: tuple[ChannelScore, ...], placed: Placed, visitor: Visitor) -> str:
    """One short sentence for people: the most personal of the true ones."""
    by_channel = {each.channel: each for each in channels}
    neighbour = by_channel.get(Channel.ITEM_TO_ITEM)
    if placed.exploration:
        return "Something different, to learn what you like"
    if Channel.NEW_ITEM in by_channel:
        return "New here, and close to your taste"
    if neighbour is not None and neighbour.because_of is not None:
        return f"Because you liked {neighbour.because_of.facts.title}"
    if Channel.DSSM in by_channel and visitor.history:
        return "Close to what you chose lately"
    if Channel.POPULAR in by_channel:
        return "Popular now" if visitor.segment == "all" else f"Popular with {visitor.segment}"
    return "Chosen for your profile"


def _channels(row: int, candidates: Candidates, catalogue: Catalogue) -> tuple[ChannelScore, ...]:
    scores = []
    for hits in candidates.hits:
        for place in (hits.found.rows == row).nonzero()[0]:
            source = None if hits.because_of is None else catalogue.items[int(hits.because_of[place])]
            scores.append(ChannelScore(hits.channel, float(hits.found.scores[place]), source))
    return tuple(scores)


def named_features(item: Recommended) -> dict[str, float]:
    """The ranker's dense features of an item, by name."""
    return dict(zip(FEATURE_NAMES, item.features, strict=True))
