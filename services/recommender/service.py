"""The gRPC servicer: checks the request, calls the use case, translates the answer."""

import asyncio

import grpc

from casebook.catalogue.v1 import catalogue_pb2
from casebook.recommender.v1 import recommender_pb2 as pb
from casebook.recommender.v1.recommender_pb2_grpc import RecommenderServiceServicer
from chassis import logs
from chassis.errors import InvalidField, NotFound, Unavailable
from chassis.events import new_event_id
from chassis.fields import MAX_ID_CHARACTERS, check_count, check_id, check_text, page_size
from chassis.identity import Role, require
from recommender.catalogue import CatalogueItem, Catalogues
from recommender.events import ServedLog, versions_message
from recommender.features import ItemFacts, UserProfile, segment
from recommender.index import IndexKeeper
from recommender.metrics import Coverage
from recommender.online_features import EntityRows, Lifetimes, OnlineVisitors
from recommender.ports import ModelUnavailable, OnlineStoreUnavailable
from recommender.recommend import Asked, Recommendation, Recommended, Recommender, named_features
from recommender.store import Store, item_message

SERVICE = "casebook.recommender.v1.RecommenderService"
DEFAULT_LIMIT = 10
MAX_LIMIT = 100
MAX_EXCLUDED = 1_000
MAX_HISTORY = 50
MAX_TITLE_CHARACTERS = 500
MAX_CATEGORIES = 16
MAX_CATEGORY_CHARACTERS = 64
MAX_YEAR = 3_000
MAX_AGE = 150

_log = logs.logger(__name__)


class RecommenderService(RecommenderServiceServicer):
    """`casebook.recommender.v1.RecommenderService`."""

    def __init__(
        self,
        recommender: Recommender,
        visitors: OnlineVisitors,
        rows: EntityRows,
        catalogues: Catalogues,
        keeper: IndexKeeper,
        store: Store,
        served: ServedLog,
        coverage: Coverage,
        lifetimes: Lifetimes,
    ) -> None:
        self._recommender = recommender
        self._visitors = visitors
        self._rows = rows
        self._catalogues = catalogues
        self._keeper = keeper
        self._store = store
        self._served = served
        self._coverage = coverage
        self._lifetimes = lifetimes

    async def Recommend(self, request: pb.RecommendRequest, context: grpc.aio.ServicerContext) -> pb.RecommendResponse:
        """The best items, now."""
        tenant = require(Role.VIEWER).tenant
        answer = await self._recommender.recommend(asked(request, tenant))
        self._served.offer(answer)
        self._coverage.record(answer)
        return response(answer, explain=request.explain)

    async def GetHistory(
        self, request: pb.GetHistoryRequest, context: grpc.aio.ServicerContext
    ) -> pb.GetHistoryResponse:
        """The live sequence."""
        tenant = require(Role.VIEWER).tenant
        _check_visitor(request.user_id, request.session_id)
        limit = page_size("limit", request.limit, MAX_HISTORY, MAX_HISTORY)
        try:
            history = await self._visitors.history(tenant, request.user_id, request.session_id)
        except OnlineStoreUnavailable as error:
            raise Unavailable("redis", str(error), retry_after_seconds=1.0) from error
        catalogue = self._catalogues.of(tenant)
        answer = pb.GetHistoryResponse()
        for each in history[:limit]:
            item = catalogue.get(each.item_id)
            shown = item_message(item) if item else catalogue_pb2.Item(item_id=each.item_id)
            answer.entries.add(item=shown, action=each.action).occurred_at.FromDatetime(each.occurred_at)
        return answer

    async def UpsertItem(
        self, request: pb.UpsertItemRequest, context: grpc.aio.ServicerContext
    ) -> pb.UpsertItemResponse:
        """Stores an item; it can be recalled by its content when this returns."""
        tenant = require(Role.OPERATOR).tenant
        item = await self._store.put_item(tenant, _item_facts(request.item))
        await self._take(tenant, item)
        return pb.UpsertItemResponse(item=item_message(item))

    async def GetItem(self, request: pb.GetItemRequest, context: grpc.aio.ServicerContext) -> pb.GetItemResponse:
        """An item that can be recalled."""
        tenant = require(Role.VIEWER).tenant
        check_id("item_id", request.item_id)
        item = self._catalogues.of(tenant).get(request.item_id)
        if item is None or item.retired:
            raise NotFound("item", request.item_id)
        return pb.GetItemResponse(item=item_message(item))

    async def RetireItem(
        self, request: pb.RetireItemRequest, context: grpc.aio.ServicerContext
    ) -> pb.RetireItemResponse:
        """Takes an item out of recall."""
        tenant = require(Role.OPERATOR).tenant
        check_id("item_id", request.item_id)
        self._catalogues.put(tenant, await self._store.retire_item(tenant, request.item_id))
        return pb.RetireItemResponse()

    async def UpsertUser(
        self, request: pb.UpsertUserRequest, context: grpc.aio.ServicerContext
    ) -> pb.UpsertUserResponse:
        """Stores a profile, in the database first; a call that fails half way is repeated and ends the same."""
        tenant = require(Role.OPERATOR).tenant
        profile = _profile(request.user)
        await self._store.put_user(tenant, profile)
        try:
            row = await self._visitors.put_profile(tenant, profile, self._lifetimes)
            await asyncio.to_thread(self._rows.write, [row])
        except OnlineStoreUnavailable as error:
            raise Unavailable("redis", str(error), retry_after_seconds=1.0) from error
        return pb.UpsertUserResponse(user=request.user, segment=segment(profile))

    async def _take(self, tenant: str, item: CatalogueItem) -> None:
        self._catalogues.put(tenant, item)
        try:
            await self._keeper.catch_up(tenant)
        except ModelUnavailable as error:  # the keeper tries again; until then other channels know the item
            _log.warning("an item has no vector yet", item_id=item.facts.item_id, why=str(error))


def asked(request: pb.RecommendRequest, tenant: str) -> Asked:
    """The checked request under a new id. Raises InvalidField."""
    _check_visitor(request.user_id, request.session_id)
    check_count("exclude_item_ids", request.exclude_item_ids, MAX_EXCLUDED)
    check_text("category", request.category, MAX_CATEGORY_CHARACTERS, least=0)
    return Asked(
        recommendation_id=new_event_id(),
        tenant=tenant,
        user_id=request.user_id,
        session_id=request.session_id,
        limit=page_size("limit", request.limit, DEFAULT_LIMIT, MAX_LIMIT),
        excluded=tuple(request.exclude_item_ids),
        category=request.category,
    )


def response(answer: Recommendation, *, explain: bool) -> pb.RecommendResponse:
    """The answer as the API shows it."""
    message = pb.RecommendResponse(
        recommendation_id=answer.asked.recommendation_id,
        versions=versions_message(answer),
        degraded=answer.degraded,
        arm=answer.arm.name,
        history_length=len(answer.visitor.history),
    )
    for item in answer.items:
        shown = message.items.add(
            item_id=item.item.facts.item_id,
            title=item.item.facts.title,
            categories=item.item.facts.categories,
            year=item.item.facts.year,
            score=item.score,
            reason=item.reason,
            propensity=item.propensity,
            exploration=item.exploration,
        )
        if explain:
            shown.explanation.CopyFrom(_explanation(item, answer))
    if explain:
        for stage in answer.stages:
            message.stages.add(name=stage.name, milliseconds=stage.milliseconds, candidates=stage.candidates)
    return message


def _explanation(item: Recommended, answer: Recommendation) -> pb.Explanation:
    explanation = pb.Explanation(
        ranker_score=item.score if answer.ranked.version else 0.0,
        recall_rank=item.recall_rank,
        ranking_rank=item.ranking_rank,
        final_rank=item.final_rank,
        reranking=item.notes,
        features=named_features(item),
    )
    for each in item.channels:
        because_of = each.because_of.facts.item_id if each.because_of else ""
        explanation.channels.add(channel=each.channel.value, score=each.score, because_of_item_id=because_of)
    return explanation


def _check_visitor(user_id: str, session_id: str) -> None:
    if not user_id and not session_id:
        raise InvalidField("user_id, session_id", "at least one is needed")
    for name, value in (("user_id", user_id), ("session_id", session_id)):
        check_text(name, value, MAX_ID_CHARACTERS, least=0)


def _item_facts(item: catalogue_pb2.Item) -> ItemFacts:
    check_id("item.item_id", item.item_id)
    check_text("item.title", item.title, MAX_TITLE_CHARACTERS)
    check_count("item.categories", item.categories, MAX_CATEGORIES)
    for index, category in enumerate(item.categories):
        check_text(f"item.categories[{index}]", category, MAX_CATEGORY_CHARACTERS)
    if not 0 <= item.year <= MAX_YEAR:
        raise InvalidField("item.year", f"0 to {MAX_YEAR}", item.year)
    return ItemFacts(item.item_id, item.title, tuple(dict.fromkeys(item.categories)), item.year)


def _profile(user: pb.User) -> UserProfile:
    check_id("user.user_id", user.user_id)
    if not 0 <= user.age <= MAX_AGE:
        raise InvalidField("user.age", f"0 to {MAX_AGE}", user.age)
    if user.gender not in ("", "F", "M"):
        raise InvalidField("user.gender", '"F", "M" or empty', user.gender)
    check_text("user.occupation", user.occupation, MAX_CATEGORY_CHARACTERS, least=0)
    return UserProfile(user.user_id, user.age, user.gender, user.occupation)
