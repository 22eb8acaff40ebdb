"""Wires the real parts together, once a process. Tests wire the same domain to fakes."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc

from casebook.support.v1 import events_pb2
from casebook.support.v1.desk_pb2_grpc import add_DeskServiceServicer_to_server
from casebook.support.v1.knowledge_pb2_grpc import add_KnowledgeServiceServicer_to_server
from casebook.support.v1.quality_pb2_grpc import QualityServiceStub, add_QualityServiceServicer_to_server
from casebook.support.v1.support_pb2_grpc import add_SupportServiceServicer_to_server
from chassis import database, redis_client
from chassis.events import EventConsumer, Handler, TopicFollower, new_event_id
from chassis.health import Check
from chassis.identity import service_identity
from chassis.models import ModelClient, connect_to_models
from chassis.process import Process
from chassis.retries import until_available
from chassis.rpc import connect
from encoders.text import Tokeniser
from support import metrics, reranking
from support import seed as seeding
from support.calibration import Calibrations
from support.conversation_store import RedisConversations
from support.corpus import Bases, CorpusKeeper
from support.desk_service import DeskService
from support.desk_store import DeskStore
from support.desk_timers import DeskTimers
from support.dialogue import Dialogue
from support.encoding import MODELS, InferenceEncoder, VectorCache
from support.events import FEEDBACK_GROUP, FeedbackLabels, KnowledgeFeed
from support.feedback_store import FEEDBACK_TOPIC, FeedbackStore
from support.knowledge import LANGUAGES, KnowledgeBase
from support.knowledge_service import KnowledgeService
from support.ports import ModelUnavailable
from support.quality import Quality
from support.quality_service import QualityService
from support.retrieval import HybridRetriever
from support.settings import SupportSettings
from support.store import KNOWLEDGE_TOPIC, Store
from support.support_service import SupportService
from support.timers import InboxPruning, Recalibration
from support.transcripts import Transcripts
from support.verdicts import Verdicts

SERVICES = [
    f"casebook.support.v1.{name}" for name in ("SupportService", "DeskService", "KnowledgeService", "QualityService")
]
WARM_UP = {"en": "How do I reset my password?", "zh": "怎么重置密码？"}


@dataclass(frozen=True, slots=True)
class Serving:
    """The parts of `serve`: its four servicers, and what runs beside their calls."""

    support: SupportService
    desk: DeskService
    knowledge: KnowledgeService
    quality: QualityService
    store: Store
    bases: Bases
    keeper: CorpusKeeper
    retriever: HybridRetriever
    following: Quality
    articles: TopicFollower[events_pb2.ArticleChanged]

    def register(self, server: grpc.aio.Server) -> None:
        """Adds the servicers."""
        add_SupportServiceServicer_to_server(self.support, server)
        add_DeskServiceServicer_to_server(self.desk, server)
        add_KnowledgeServiceServicer_to_server(self.knowledge, server)
        add_QualityServiceServicer_to_server(self.quality, server)


def serving(process: Process[SupportSettings]) -> Serving:
    """Everything that `serve` needs, connected when first used; closed when the process stops."""
    settings = process.settings
    engine = database.connect(settings.database_url.get_secret_value())
    redis = redis_client.connect(settings.redis_url.get_secret_value(), settings.context_deadline_seconds)
    channel = connect_to_models(settings.inference_address, settings, "support")

    bases = Bases()
    reranker, defaults = reranking.shipped()
    calibrations = Calibrations(defaults)
    encoder = InferenceEncoder(
        ModelClient(channel, unavailable=ModelUnavailable),
        {language: Tokeniser(newest_version(settings.model_repository / MODELS[language])) for language in LANGUAGES},
        VectorCache(settings.vector_cache, settings.vector_cache_most),
    )
    keeper = CorpusKeeper(bases, encoder, settings.index_poll_seconds)
    retriever = HybridRetriever(bases, encoder, calibrations, reranker, settings.retrieval_deadline_seconds)
    conversations = RedisConversations(redis, settings.conversation_ttl_seconds, settings.context_deadline_seconds)
    desk, feedback, store = DeskStore(engine, settings.desk_deadline_seconds), FeedbackStore(engine), Store(engine)
    dialogue = Dialogue(retriever, bases, calibrations, conversations, desk, feedback, new_event_id)
    verdicts = Verdicts(bases, conversations, desk, feedback, new_event_id)
    quality = Quality(
        store, bases, retriever, calibrations, now, settings.calibrate_questions, settings.calibrate_concurrency
    )
    feed = KnowledgeFeed(bases, keeper, asyncio.get_running_loop())
    metrics.BaseGauges(bases, calibrations)

    async def close() -> None:
        await channel.close()
        await redis.aclose()
        await desk.close()
        await engine.dispose()

    process.on_stop(close)
    return Serving(
        SupportService(dialogue, verdicts, Transcripts(conversations, desk), bases, now),
        DeskService(desk, bases, new_event_id, now),
        KnowledgeService(store, bases, keeper),
        QualityService(quality, bases, calibrations, settings.calibrate_seconds),
        store,
        bases,
        keeper,
        retriever,
        quality,
        TopicFollower(settings, KNOWLEDGE_TOPIC, events_pb2.ArticleChanged, feed.handle, service="support"),
    )


async def serve(process: Process[SupportSettings]) -> None:
    """The whole life of `serve`."""
    parts = serving(process)
    knowledge, index = process.readiness.add("knowledge"), process.readiness.add("index")

    async def start() -> None:
        await warm_up(parts, knowledge, index)
        process.background(parts.keeper.run(), "indexes")
        process.background(parts.following.run(process.settings.quality_poll_seconds), "quality")

    await process.serve_grpc(parts.register, SERVICES)
    process.background(start(), "start")
    async with process.in_thread(parts.articles.run, "articles"):
        await process.until_stopped()


async def warm_up(parts: Serving, knowledge: Check, index: Check) -> None:
    """Loads the tables, builds the indexes, asks each base once; then the process is ready.

    It waits for PostgreSQL and for the model server as long as it takes: without them there has never been anything to
    answer from. Once ready, a replica goes on without either.
    """
    for base, article in await until_available(parts.store.load, knowledge):
        parts.bases.put(base, article, imported=True)
    await until_available(parts.following.refresh, knowledge)
    knowledge.set(True)
    await until_available(parts.keeper.refresh, index, unavailable=ModelUnavailable)
    for corpus in parts.bases.all():
        for language in LANGUAGES:
            await parts.retriever.retrieve(corpus.base, WARM_UP[language], language, now=now())
    index.set(True)


def feedback_consumer(settings: SupportSettings) -> EventConsumer:
    """The consumer of feedback."""
    engine = database.connect_blocking(settings.database_url.get_secret_value())
    handler = Handler(events_pb2.FeedbackGiven, FeedbackLabels(engine).handle)
    return EventConsumer(settings, FEEDBACK_GROUP, {FEEDBACK_TOPIC: handler})


async def timers(process: Process[SupportSettings]) -> None:
    """The whole life of `timers`: what is due at its time, whether or not somebody asks."""
    settings = process.settings
    engine = database.connect(settings.database_url.get_secret_value())
    # Past the longest that a calibration takes: `serve` ends it, and says why.
    patient = settings.model_copy(update={"default_deadline_seconds": settings.calibrate_seconds + 5.0})
    channel = connect(settings.support_address, patient, service_identity=service_identity("support"))
    recalibration = Recalibration(Store(engine), QualityServiceStub(channel), settings.recalibrate_after_seconds, now)
    desk = DeskStore(engine)
    process.on_stop(engine.dispose)
    process.on_stop(desk.close)
    process.on_stop(channel.close)
    process.background(recalibration.run(), "recalibration")
    process.background(DeskTimers(desk, timedelta(days=settings.handoff_keep_days)).run(), "desk")
    process.background(InboxPruning(engine).run(), "inbox")
    await process.until_stopped()


async def seed_once(settings: SupportSettings) -> None:
    """The whole life of `seed`."""
    articles = await asyncio.to_thread(seeding.read_articles, settings.seed_articles)
    questions = await asyncio.to_thread(seeding.read_questions, settings.seed_questions)
    engine = database.connect(settings.database_url.get_secret_value())
    try:
        base = KnowledgeBase(settings.seed_tenant, settings.seed_knowledge_base)
        await seeding.seed(Store(engine), base, articles, questions, settings.seed_target_risk)
    finally:
        await engine.dispose()


def newest_version(model: Path) -> Path:
    """The newest version's folder. All versions of an encoder share its vocabulary: training changes weights alone."""
    versions = [folder for folder in model.glob("*") if folder.name.isdigit()]
    return max(versions, key=lambda folder: int(folder.name), default=model / "1")


def now() -> datetime:
    """The clock."""
    return datetime.now(UTC)
