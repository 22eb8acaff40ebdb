"""The gateway's processes, wired from real parts."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from sqlalchemy.ext.asyncio import AsyncEngine

from casebook.recommender.v1.recommender_pb2_grpc import RecommenderServiceStub
from casebook.releases.v1.releases_pb2_grpc import ReleaseServiceStub
from chassis import database, logs
from chassis.errors import Unavailable
from chassis.events import EventProducer
from chassis.health import Check
from chassis.process import Process
from chassis.rpc import connect
from gateway import store
from gateway.app import create_app
from gateway.bootstrap import bootstrap as bootstrap_key
from gateway.dependencies import Dependencies, Support
from gateway.keys import KeyRing
from gateway.publishing import KafkaPublisher
from gateway.ratelimit import Quota, RateLimiter
from gateway.server import HttpServer
from gateway.settings import GatewaySettings

RECOMMENDER = "casebook.recommender.v1.RecommenderService"
RELEASES = "casebook.releases.v1.ReleaseService"
RECOMMENDER_CALLS = [
    f"{RECOMMENDER}/{call}" for call in ("Recommend", "GetHistory", "UpsertItem", "GetItem", "RetireItem", "UpsertUser")
]
SUPPORT_CALLS = [
    f"casebook.support.v1.{call}"
    for call in (
        "SupportService/GetConversation",
        "SupportService/GiveFeedback",
        "DeskService/ListHandoffs",
        "DeskService/GetHandoff",
        "DeskService/ClaimHandoff",
        "DeskService/ReleaseHandoff",
        "DeskService/ResolveHandoff",
        "KnowledgeService/PutArticle",
        "KnowledgeService/GetArticle",
        "KnowledgeService/ListArticles",
        "KnowledgeService/RetireArticle",
        "KnowledgeService/ImportArticles",
        "KnowledgeService/ImportQuestions",
        "KnowledgeService/ListDrafts",
        "QualityService/GetRiskCoverage",
        "QualityService/SetTargetRisk",
    )
]
"""Not among them: a repeated turn of a conversation would be a turn of its own, a reply would be said twice."""
RELEASES_CALLS = [f"{RELEASES}/{call}" for call in ("ListModels", "GetModel", "ListChanges")]
"""Tried again when no server answers. Changes of a release are not: a rollback that is done twice goes back twice."""

REDIS_CONNECTIONS = 32
CHECK_SECONDS = 2.0
PRUNE_SECONDS = 600.0

_log = logs.logger(__name__)


async def serve(process: Process[GatewaySettings]) -> None:
    """The HTTP API."""
    settings = process.settings
    engine = database.connect(settings.database_url.get_secret_value())
    redis = limiter_redis(settings)
    recommender = connect(settings.recommender_address, settings, RECOMMENDER_CALLS)
    support = connect(settings.support_address, settings, SUPPORT_CALLS)
    inference = connect(settings.inference_address, settings, RELEASES_CALLS)
    producer = EventProducer(settings, source="gateway")
    records = store.PostgresRecords(engine, timedelta(hours=settings.idempotency_hours))
    app = create_app(
        Dependencies(
            settings=settings,
            recommender=RecommenderServiceStub(recommender),
            support=Support.over(support),
            releases=ReleaseServiceStub(inference),
            publisher=KafkaPublisher(producer),
            keys=KeyRing(store.PostgresKeys(engine), settings.key_cache_seconds),
            rate_limiter=RateLimiter(redis, Quota(settings.rate_limit_per_second, settings.rate_limit_burst)),
            records=records,
            audit=store.PostgresAudit(engine),
            readiness=process.readiness,
            clock=lambda: datetime.now(UTC),
        )
    )
    server = HttpServer(app, settings)
    process.on_stop(engine.dispose)
    process.on_stop(redis.aclose)
    process.on_stop(lambda: recommender.close(grace=None))
    process.on_stop(lambda: support.close(grace=None))
    process.on_stop(lambda: inference.close(grace=None))
    process.on_stop(lambda: asyncio.to_thread(producer.close))
    process.on_stop(server.drain)  # the first to run: what the requests in flight need is still there
    process.background(_watch_database(engine, process.readiness.add("database")), "watch database")
    process.background(_prune(records), "prune idempotency records")
    process.background(server.follow_certificate(), "follow the certificate")
    server.start()
    _log.info("serving", http_port=server.port)
    await process.until_stopped()


async def bootstrap(process: Process[GatewaySettings]) -> None:
    """The first API key, in a file."""
    settings = process.settings
    engine = database.connect(settings.database_url.get_secret_value())
    keys = KeyRing(store.PostgresKeys(engine), trust_seconds=0)
    path = Path(settings.bootstrap_key_file)
    key = await bootstrap_key(keys, path, settings.bootstrap_tenant)
    await engine.dispose()
    _log.info("an API key is ready", key_id=key.key_id, tenant=key.identity.tenant, file=str(path))


def limiter_redis(settings: GatewaySettings) -> Redis:
    """A client that gives up after `redis_timeout_seconds`, once: a request waits for the rate limit no longer."""
    pool = BlockingConnectionPool.from_url(
        settings.redis_url.get_secret_value(),
        max_connections=REDIS_CONNECTIONS,
        timeout=settings.redis_timeout_seconds,
        socket_timeout=settings.redis_timeout_seconds,
        socket_connect_timeout=settings.redis_timeout_seconds,
        retry=Retry(NoBackoff(), retries=0),
    )
    return Redis.from_pool(pool)


async def _watch_database(engine: AsyncEngine, check: Check) -> None:
    while True:
        try:
            await store.ping(engine)
            check.set(True)
        except Unavailable as error:
            check.set(False, error.message)
        await asyncio.sleep(CHECK_SECONDS)


async def _prune(records: store.PostgresRecords) -> None:
    while True:
        with suppress(Unavailable):  # the database's check says it
            await records.prune()
        await asyncio.sleep(PRUNE_SECONDS)
