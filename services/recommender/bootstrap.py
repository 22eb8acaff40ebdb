"""Wires the real parts together, once a process. Tests wire the same domain to fakes."""

import asyncio
from dataclasses import dataclass
from functools import partial
from uuid import UUID

import grpc

from casebook.behaviour.v1 import events_pb2 as behaviour_pb2
from casebook.catalogue.v1 import catalogue_pb2
from casebook.recommender.v1.recommender_pb2_grpc import add_RecommenderServiceServicer_to_server
from chassis import database, logs, redis_client
from chassis.events import EventConsumer, EventProducer, Handler, TopicFollower
from chassis.health import Check
from chassis.models import ModelClient, connect_to_models
from chassis.process import Process
from chassis.retries import until_available
from recommender import seed as seeding
from recommender.catalogue import ActivityFollower, Catalogues
from recommender.events import (
    BEHAVIOUR_TOPIC,
    FEATURES_GROUP,
    CatalogueFeed,
    FeatureUpdates,
    ServedLog,
)
from recommender.index import Indexes, IndexKeeper
from recommender.metrics import Coverage
from recommender.models import InferenceModels
from recommender.online_features import BehaviourWriter, EntityRows, OnlineVisitors
from recommender.ports import ModelUnavailable, OnlineStoreUnavailable
from recommender.ranking import Ranking
from recommender.recall import Recall
from recommender.recommend import Asked, Recommender
from recommender.service import SERVICE, RecommenderService
from recommender.settings import RecommenderSettings
from recommender.store import CATALOGUE_TOPIC, Store

CONSUMER_TIMEOUT_SECONDS = 2.0
"""Nobody waits for a consumer: it may give Redis longer than a request can."""
SEED_TIMEOUT_SECONDS = 30.0
"""A whole data set goes in one pipeline."""

_log = logs.logger(__name__)


@dataclass(frozen=True, slots=True)
class Serving:
    """The parts of `serve` that run beside its calls."""

    service: RecommenderService
    recommender: Recommender
    catalogues: Catalogues
    store: Store
    keeper: IndexKeeper
    activity: ActivityFollower
    served: ServedLog
    items: TopicFollower[catalogue_pb2.ItemChanged]


def serving(process: Process[RecommenderSettings]) -> Serving:
    """Everything that `serve` needs, connected when first used; closed when the process stops."""
    settings = process.settings
    redis = redis_client.connect(settings.redis_url.get_secret_value(), settings.feature_deadline_seconds)
    rows = user_rows(settings, settings.feature_deadline_seconds)
    engine = database.connect(settings.database_url.get_secret_value())
    channel = connect_to_models(settings.inference_address, settings, "recommender")
    producer = EventProducer(settings, source="recommender")

    client = ModelClient(channel, unavailable=ModelUnavailable)
    models = InferenceModels(client, settings.recall_deadline_seconds, settings.ranking_deadline_seconds)
    catalogues, indexes = Catalogues(), Indexes()
    keeper = IndexKeeper(catalogues, models, indexes, settings.index_poll_seconds)
    visitors = OnlineVisitors(redis, rows, settings.feature_deadline_seconds)
    store, served = Store(engine), ServedLog(producer)
    recommender = Recommender(
        visitors,
        catalogues,
        Recall(models, indexes),
        Ranking(models),
        settings.quotas,
        settings.policy,
        settings.experiment,
    )
    service = RecommenderService(
        recommender,
        visitors,
        rows,
        catalogues,
        keeper,
        store,
        served,
        Coverage(catalogues, indexes),
        settings.lifetimes,
    )
    feed = CatalogueFeed(catalogues, keeper, asyncio.get_running_loop())
    items = TopicFollower(settings, CATALOGUE_TOPIC, catalogue_pb2.ItemChanged, feed.handle, service="recommender")

    async def close() -> None:
        await served.close()
        await asyncio.to_thread(producer.close)
        await channel.close()
        await redis.aclose()
        await engine.dispose()

    process.on_stop(close)
    return Serving(
        service,
        recommender,
        catalogues,
        store,
        keeper,
        ActivityFollower(catalogues, visitors, settings.refresh_seconds),
        served,
        items,
    )


def user_rows(settings: RecommenderSettings, timeout_seconds: float) -> EntityRows:
    """The users' rows in Feast, which takes seconds to import: so where they are not needed, it is not."""
    from recommender.entity_features import UserRows

    return UserRows(
        settings.feast_repository, settings.redis_url.get_secret_value(), timeout_seconds, settings.lifetimes.user
    )


async def serve(process: Process[RecommenderSettings]) -> None:
    """The whole life of `serve`."""
    parts = serving(process)
    catalogue, index = process.readiness.add("catalogue"), process.readiness.add("index")

    def register(server: grpc.aio.Server) -> None:
        add_RecommenderServiceServicer_to_server(parts.service, server)

    async def start() -> None:
        await warm_up(parts, catalogue, index)
        process.background(parts.keeper.run(), "indexes")
        process.background(parts.activity.run(), "activity")

    await process.serve_grpc(register, [SERVICE])
    process.background(parts.served.run(), "served log")
    process.background(start(), "start")
    async with process.in_thread(parts.items.run, "items"):
        await process.until_stopped()


def feature_consumer(settings: RecommenderSettings) -> EventConsumer:
    """The consumer of behaviour events."""
    writer = BehaviourWriter(
        redis_client.connect_blocking(settings.redis_url.get_secret_value(), CONSUMER_TIMEOUT_SECONDS),
        settings.lifetimes,
    )
    updates = FeatureUpdates(writer, user_rows(settings, CONSUMER_TIMEOUT_SECONDS), settings.experiment)
    handler = Handler(behaviour_pb2.BehaviourEvent, updates.handle)
    return EventConsumer(settings, FEATURES_GROUP, {BEHAVIOUR_TOPIC: handler})


async def seed_once(settings: RecommenderSettings) -> None:
    """The whole life of `seed`."""
    engine = database.connect(settings.database_url.get_secret_value())
    client = redis_client.connect_blocking(settings.redis_url.get_secret_value(), SEED_TIMEOUT_SECONDS)
    try:
        dataset = await asyncio.to_thread(seeding.read, settings.seed_data, settings.seed_cache)
        rows = partial(user_rows, settings, SEED_TIMEOUT_SECONDS)
        await seeding.seed(dataset, settings.seed_tenant, Store(engine), client, rows, settings.lifetimes)
    finally:
        client.close()
        await engine.dispose()


async def warm_up(serving: Serving, catalogue: Check, index: Check) -> None:
    """Loads the table, builds the indexes, answers once a tenant; then the process is ready.

    It waits for PostgreSQL and for the model server as long as it takes: without them there has never been anything to
    answer from. Once ready, a replica goes on without either.
    """
    for tenant, item in await until_available(serving.store.load, catalogue):
        serving.catalogues.put(tenant, item)
    catalogue.set(True)
    try:
        await serving.activity.refresh()
    except OnlineStoreUnavailable as error:
        _log.warning("started without aggregates and popular lists", why=str(error))
    await until_available(serving.keeper.refresh, index, unavailable=ModelUnavailable)
    for each in serving.catalogues.all():
        warm = Asked(str(UUID(int=0)), each.tenant, user_id="warm-up", session_id="warm-up")
        await serving.recommender.recommend(warm)
    index.set(True)
