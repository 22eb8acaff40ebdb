"""The gateway over real PostgreSQL, Redis and gRPC, with fakes for the services and for Kafka's acknowledgement."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import httpx
from fastapi import FastAPI
from google.protobuf.message import Message

from casebook.catalogue.v1 import catalogue_pb2 as catalogue
from casebook.recommender.v1 import recommender_pb2 as recommender
from casebook.recommender.v1 import recommender_pb2_grpc as recommender_rpc
from casebook.releases.v1 import releases_pb2 as releases
from casebook.releases.v1 import releases_pb2_grpc as releases_rpc
from chassis import database
from chassis.errors import CasebookError, FailedPrecondition, NotFound
from chassis.health import Readiness
from chassis.identity import Identity, Role, TokenKeys, current_identity, require
from chassis.rpc import connect, create_server, remaining_seconds
from gateway.app import create_app
from gateway.dependencies import Dependencies, Support
from gateway.keys import ApiKey, Credential, KeyRing
from gateway.processes import limiter_redis
from gateway.publishing import Publisher
from gateway.ratelimit import Quota, RateLimiter
from gateway.server import HttpServer
from gateway.settings import GatewaySettings
from gateway.store import PostgresAudit, PostgresKeys, PostgresRecords
from tests.unit.gateway.support_parts import FakeSupport

TOKEN_KEYS = "test:" + "k" * 32


@dataclass
class FakeRecommender(recommender_rpc.RecommenderServiceServicer):
    """Keeps items and users in memory; notes under whom, and with how much time, it was called."""

    items: dict[str, catalogue.Item] = field(default_factory=dict)
    fails_with: CasebookError | None = None
    answers_after_seconds: float = 0.0
    last_request: Message | None = None
    last_identity: Identity | None = None
    last_deadline_seconds: float = 0.0

    async def Recommend(self, request, context):
        await self._called(request)
        items = [
            recommender.RecommendedItem(
                item_id="302", title="L.A. Confidential (1997)", year=1997, score=0.1, propensity=1
            )
        ]
        if request.explain:
            items[0].explanation.channels.add(channel=recommender.CHANNEL_ITEM_TO_ITEM, because_of_item_id="242")
            items[0].explanation.features["user.events"] = 0.3
        return recommender.RecommendResponse(
            recommendation_id=str(uuid.UUID(int=7 << 76 | 2 << 62)),
            items=items[: request.limit],
            versions=recommender.Versions(user_tower="1", ranker="1", index="1", feature_age_seconds=-1),
            arm="control",
        )

    async def GetHistory(self, request, context):
        await self._called(request)
        entry = recommender.HistoryEntry(item=catalogue.Item(item_id="242", title="Kolya (1996)"), action="click")
        return recommender.GetHistoryResponse(entries=[entry])

    async def UpsertItem(self, request, context):
        require(Role.OPERATOR)
        await self._called(request)
        item = catalogue.Item()
        item.CopyFrom(request.item)
        item.revision = self.items[item.item_id].revision + 1 if item.item_id in self.items else 1
        item.created_at.FromDatetime(datetime(2026, 1, 1, tzinfo=UTC))
        self.items[item.item_id] = item
        return recommender.UpsertItemResponse(item=item)

    async def GetItem(self, request, context):
        await self._called(request)
        if request.item_id not in self.items:
            raise NotFound("item", request.item_id)
        return recommender.GetItemResponse(item=self.items[request.item_id])

    async def RetireItem(self, request, context):
        await self._called(request)
        if self.items.pop(request.item_id, None) is None:
            raise NotFound("item", request.item_id)
        return recommender.RetireItemResponse()

    async def UpsertUser(self, request, context):
        await self._called(request)
        return recommender.UpsertUserResponse(user=request.user, segment="25-34/F")

    async def _called(self, request):
        self.last_request, self.last_identity = request, current_identity()
        self.last_deadline_seconds = remaining_seconds()
        await asyncio.sleep(self.answers_after_seconds)
        if self.fails_with is not None:
            raise self.fails_with


@dataclass
class FakeReleases(releases_rpc.ReleaseServiceServicer):
    """One model with two versions."""

    release: releases.Release = field(default_factory=lambda: releases.Release(model="din", stable="1", complete=True))
    changes: list[releases.Change] = field(default_factory=list)
    answers_after_seconds: float = 0.0

    async def ListModels(self, request, context):
        return releases.ListModelsResponse(models=[self._model()])

    async def GetModel(self, request, context):
        self._known(request.model)
        return releases.GetModelResponse(model=self._model())

    async def Promote(self, request, context):
        self._known(request.model, request.version)
        self._change("promote", request.reason, previous=self.release.stable, stable=request.version, canary="")
        return releases.PromoteResponse(release=self.release)

    async def Rollback(self, request, context):
        self._known(request.model)
        if not self.release.previous:
            raise FailedPrecondition("model din", "there is no previous version")
        self._change("rollback", request.reason, stable=self.release.previous, previous=self.release.stable)
        return releases.RollbackResponse(release=self.release)

    async def SetCanary(self, request, context):
        self._known(request.model, request.version)
        self._change("canary", request.reason, canary=request.version, canary_share=request.share)
        return releases.SetCanaryResponse(release=self.release)

    async def SetShadow(self, request, context):
        self._known(request.model, request.version or "1")
        await asyncio.sleep(self.answers_after_seconds)
        self._change("shadow", request.reason, shadow=request.version)
        return releases.SetShadowResponse(release=self.release)

    async def ListChanges(self, request, context):
        self._known(request.model)
        return releases.ListChangesResponse(changes=list(reversed(self.changes))[: request.limit])

    def _model(self):
        return releases.Model(name="din", versions=["1", "2"], release=self.release)

    def _known(self, model, version="1"):
        require(Role.VIEWER)
        if model != "din":
            raise NotFound("model", model)
        if version not in ("1", "2"):
            raise NotFound("version", f"din/{version}")

    def _change(self, action, reason, **fields):
        require(Role.OPERATOR)
        for name, value in fields.items():
            setattr(self.release, name, value)
        self.release.generation += 1
        after = releases.Release()
        after.CopyFrom(self.release)
        self.changes.append(
            releases.Change(
                model="din", action=action, after=after, reason=reason, changed_by=current_identity().principal
            )
        )


@dataclass(frozen=True)
class Published:
    """An event that was acknowledged."""

    topic: str
    key: str
    message: Message
    tenant: str
    event_id: str


@dataclass
class FakeBroker:
    """Acknowledges at once, or fails as it is told."""

    published: list[Published] = field(default_factory=list)
    fails_with: CasebookError | None = None
    acknowledges: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self):
        self.acknowledges.set()

    async def publish(self, topic, tenant, events):
        for event in events:
            self.published.append(Published(topic, event.key, event.message, tenant, event.event_id))
        await self.acknowledges.wait()
        if self.fails_with is not None:
            raise self.fails_with


@dataclass
class MemoryKeys:
    """`gateway.keys.KeyStore`; counts how often it is asked."""

    keys: dict[str, ApiKey] = field(default_factory=dict)
    asked: int = 0

    async def add(self, key: ApiKey) -> None:
        self.keys[key.key_id] = key

    async def find(self, key_id: str) -> ApiKey | None:
        self.asked += 1
        return self.keys.get(key_id)

    async def of_tenant(self, tenant: str) -> Sequence[ApiKey]:
        return [key for key in self.keys.values() if key.identity.tenant == tenant]

    async def revoke(self, tenant: str, key_id: str, at: datetime) -> bool:
        key = self.keys.get(key_id)
        if key is None or key.identity.tenant != tenant:
            return False
        self.keys[key_id] = replace(key, revoked_at=min(key.revoked_at or at, at))
        return True

    async def replace(self, key_id: str, new: ApiKey, at: datetime) -> bool:
        if key_id not in self.keys or self.keys[key_id].has_ended(new.created_at):
            return False
        await self.add(new)
        return await self.revoke(new.identity.tenant, key_id, at)


@dataclass
class Clock:
    """A clock that a test moves."""

    now: datetime = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def monotonic(self) -> float:
        return self.now.timestamp()

    def pass_seconds(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass
class Gateway:
    """The application and what stands behind it. `tenant` is this test's own."""

    app: FastAPI
    given: Dependencies
    client: httpx.AsyncClient
    recommender: FakeRecommender
    support: FakeSupport
    releases: FakeReleases
    broker: FakeBroker
    tenant: str
    principal: str = "tester"

    async def key(self, *roles: Role, tenant: str = "", principal: str = "") -> Credential:
        """A new key with these roles."""
        owner = Identity(tenant or self.tenant, principal or self.principal, frozenset(roles))
        credential, _ = await self.given.keys.create(owner, created_by="test", expires_at=None)
        return credential

    def as_(self, credential: Credential, **headers: str) -> dict[str, str]:
        """Headers of a request with that key."""
        return {"Authorization": f"Bearer {credential}", **headers}


@asynccontextmanager
async def running_gateway(
    database_url: str, redis_url: str, publisher: Publisher | None = None, **settings: object
) -> AsyncIterator[Gateway]:
    """A gateway whose client holds a key with every role."""
    given = {"key_cache_seconds": 0, "rate_limit_burst": 100_000, "rate_limit_per_second": 100_000} | settings
    configured = GatewaySettings(token_keys=TOKEN_KEYS, redis_url=redis_url, database_url=database_url, **given)
    fake_recommender, fake_support, fake_releases = FakeRecommender(), FakeSupport(), FakeReleases()
    broker = FakeBroker()
    async with AsyncExitStack() as stack:
        server = create_server(configured, TokenKeys.parse(TOKEN_KEYS))
        recommender_rpc.add_RecommenderServiceServicer_to_server(fake_recommender, server)
        fake_support.add_to(server)
        releases_rpc.add_ReleaseServiceServicer_to_server(fake_releases, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        stack.push_async_callback(server.stop, None)
        channel = connect(f"127.0.0.1:{port}", configured)
        stack.push_async_callback(channel.close)
        engine = database.connect(database_url)
        stack.push_async_callback(engine.dispose)
        redis = limiter_redis(configured)
        stack.push_async_callback(redis.aclose)
        dependencies = Dependencies(
            settings=configured,
            recommender=recommender_rpc.RecommenderServiceStub(channel),
            support=Support.over(channel),
            releases=releases_rpc.ReleaseServiceStub(channel),
            publisher=publisher or broker,
            keys=KeyRing(PostgresKeys(engine), configured.key_cache_seconds),
            rate_limiter=RateLimiter(redis, Quota(configured.rate_limit_per_second, configured.rate_limit_burst)),
            records=PostgresRecords(engine, timedelta(hours=configured.idempotency_hours)),
            audit=PostgresAudit(engine),
            readiness=Readiness(),
            clock=lambda: datetime.now(UTC),
        )
        app = create_app(dependencies)
        client = await stack.enter_async_context(
            httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://gateway")
        )
        tenant = f"tenant-{uuid.uuid4().hex[:8]}"
        gateway = Gateway(app, dependencies, client, fake_recommender, fake_support, fake_releases, broker, tenant)
        client.headers["Authorization"] = f"Bearer {await gateway.key(Role.ADMIN)}"
        yield gateway


@dataclass
class Served:
    """A gateway on a port."""

    url: str
    key: str
    gateway: Gateway


@contextmanager
def served_gateway(database_url: str, redis_url: str) -> Iterator[Served]:
    """A gateway on a port, in a thread with a loop of its own, for clients that block."""
    started, stop, served = threading.Event(), threading.Event(), []

    async def serve() -> None:
        async with running_gateway(database_url, redis_url, http_listen="127.0.0.1:0") as gateway:
            gateway.given.readiness.start()
            server = HttpServer(gateway.app, gateway.given.settings)
            server.start()
            served.append(Served(f"http://127.0.0.1:{server.port}", str(await gateway.key(Role.ADMIN)), gateway))
            started.set()
            await asyncio.to_thread(stop.wait)
            await server.drain()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert started.wait(20), "the API did not start within 20 s"
        yield served[0]
    finally:
        stop.set()
        thread.join(20)
