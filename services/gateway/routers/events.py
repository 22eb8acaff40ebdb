"""What users did. 202 means that the broker has acknowledged; a 503 may be sent again under the same ids."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

from fastapi import APIRouter

from chassis.errors import InvalidField, Unavailable
from chassis.identity import Role, current_identity
from chassis.rpc import remaining_seconds
from gateway.access import needs
from gateway.dependencies import CurrentAttempt, Dependencies, Given
from gateway.edge import IdempotentRoute
from gateway.idempotency import Attempt
from gateway.openapi import IDEMPOTENT, WITH_BODY, documented
from gateway.publishing import Outgoing
from gateway.schemas import recommender as schemas
from gateway.translation import recommender as translation

TOPIC = "behaviour.events.v1"
OLDEST = timedelta(days=7)
"""A day less than the recommender remembers event ids (8 days), so that it still knows the copy of any event taken."""
AHEAD = timedelta(minutes=5)
"""How far a client's clock may be wrong."""

router = APIRouter(prefix="/v1", tags=["Events"], route_class=IdempotentRoute, dependencies=[needs(Role.VIEWER)])


@router.post("/events", status_code=202, responses=documented(409, *WITH_BODY), openapi_extra=IDEMPOTENT)
async def record_event(event: schemas.Event, given: Given, attempt: CurrentAttempt) -> schemas.EventAccepted:
    """Records what a user did.

    The next recommendation is made with it, usually within a second. Give the event an `id`, or the request an
    `Idempotency-Key`, and sending it again after a `503` or a lost answer is harmless.
    """
    [event_id] = await _publish([event], "", given, attempt)
    return schemas.EventAccepted(id=event_id)


@router.post("/events:batch", status_code=202, responses=documented(409, *WITH_BODY), openapi_extra=IDEMPOTENT)
async def record_events(batch: schemas.EventBatch, given: Given, attempt: CurrentAttempt) -> schemas.EventsAccepted:
    """Records up to 500 events.

    One event that breaks a limit refuses the batch. After a `503` some of it may have been written: send the whole
    batch again under the same ids or `Idempotency-Key`; what is there already is recognised.
    """
    _refuse_repeated_ids(batch.events)
    return schemas.EventsAccepted(ids=await _publish(batch.events, "events.{}.", given, attempt))


async def _publish(events: Sequence[schemas.Event], place: str, given: Dependencies, attempt: Attempt) -> list[str]:
    """Publishes the events; returns their ids when every one has been acknowledged."""
    tenant, now = current_identity().tenant, given.clock()
    outgoing = [
        Outgoing(
            event_id=event.id or attempt.event_id(index),
            key=f"{tenant}:{event.user_id or event.session_id}",
            message=translation.behaviour_event(event, _occurred_at(event, now, place.format(index))),
        )
        for index, event in enumerate(events)
    ]
    # The answer about the broker comes before the request's own deadline, so that it is a 503 with `Retry-After`.
    patience = min(given.settings.publish_deadline_seconds, 0.9 * remaining_seconds())
    try:
        async with asyncio.timeout(patience):
            await given.publisher.publish(TOPIC, tenant, outgoing)
    except TimeoutError:
        raise Unavailable("kafka", f"no acknowledgement within {patience:.1f} s", retry_after_seconds=1.0) from None
    return [event.event_id for event in outgoing]


def _occurred_at(event: schemas.Event, now: datetime, place: str) -> datetime:
    if event.occurred_at is None:
        return now
    if not now - OLDEST <= event.occurred_at <= now + AHEAD:
        earliest, latest = (now - OLDEST).isoformat(timespec="seconds"), (now + AHEAD).isoformat(timespec="seconds")
        raise InvalidField(f"{place}occurred_at", f"from {earliest} to {latest}", event.occurred_at.isoformat())
    return event.occurred_at


def _refuse_repeated_ids(events: Sequence[schemas.Event]) -> None:
    """Two events under one id would become one, and nobody would hear of it."""
    first: dict[str, int] = {}
    for index, event in enumerate(events):
        if event.id is not None and first.setdefault(event.id, index) != index:
            raise InvalidField(f"events.{index}.id", f"must differ from events.{first[event.id]}.id", event.id)
