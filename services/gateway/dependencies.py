"""What the routes stand on: one object, made by `gateway.processes` for real and by a test with its own parts."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

import grpc
from fastapi import Depends, Request

from casebook.recommender.v1.recommender_pb2_grpc import RecommenderServiceStub
from casebook.releases.v1.releases_pb2_grpc import ReleaseServiceStub
from casebook.support.v1.desk_pb2_grpc import DeskServiceStub
from casebook.support.v1.knowledge_pb2_grpc import KnowledgeServiceStub
from casebook.support.v1.quality_pb2_grpc import QualityServiceStub
from casebook.support.v1.support_pb2_grpc import SupportServiceStub
from chassis.health import Readiness
from gateway.audit import AuditLog
from gateway.idempotency import Attempt, Records
from gateway.keys import KeyRing
from gateway.publishing import Publisher
from gateway.ratelimit import RateLimiter
from gateway.settings import GatewaySettings


@dataclass(frozen=True, slots=True)
class Support:
    """The services that smart support is asked through; one process answers all four."""

    conversations: SupportServiceStub
    desk: DeskServiceStub
    knowledge: KnowledgeServiceStub
    quality: QualityServiceStub

    @classmethod
    def over(cls, channel: grpc.aio.Channel) -> "Support":
        """All four over one channel."""
        return cls(
            SupportServiceStub(channel),
            DeskServiceStub(channel),
            KnowledgeServiceStub(channel),
            QualityServiceStub(channel),
        )


@dataclass(frozen=True, slots=True)
class Dependencies:
    """Everything that the application is given."""

    settings: GatewaySettings
    recommender: RecommenderServiceStub
    support: Support
    releases: ReleaseServiceStub
    publisher: Publisher
    keys: KeyRing
    rate_limiter: RateLimiter
    records: Records
    audit: AuditLog
    readiness: Readiness
    clock: Callable[[], datetime]


def of(request: Request) -> Dependencies:
    """The application's dependencies."""
    dependencies: Dependencies = request.app.state.dependencies
    return dependencies


# FastAPI runs a plain function in a thread; a coroutine stays on the loop.
async def _dependencies(request: Request) -> Dependencies:
    return of(request)


async def _attempt(request: Request) -> Attempt:
    attempt: Attempt = request.state.attempt
    return attempt


Given = Annotated[Dependencies, Depends(_dependencies)]
CurrentAttempt = Annotated[Attempt, Depends(_attempt)]
