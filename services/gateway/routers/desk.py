"""The agents' desk: who is a reviewer works here, under the principal of their key."""

from typing import Annotated

from fastapi import APIRouter, Query

from casebook.support.v1 import desk_pb2 as desk
from chassis.identity import Role
from gateway.access import needs
from gateway.dependencies import Given
from gateway.edge import IdempotentRoute
from gateway.openapi import IDEMPOTENT, WITH_BODY, documented
from gateway.schemas import support as schemas
from gateway.schemas.fields import Id
from gateway.translation import support as translation

router = APIRouter(
    prefix="/v1/support/handoffs", tags=["Desk"], route_class=IdempotentRoute, dependencies=[needs(Role.REVIEWER)]
)
CHANGE = documented(404, 409, *WITH_BODY)


@router.get("", responses=documented())
async def list_handoffs(
    given: Given,
    knowledge_base: Annotated[schemas.BaseName | None, Query()] = None,
    state: Annotated[list[schemas.HandoffStateName], Query(max_length=4)] = [],  # noqa: B006 - FastAPI copies it
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
) -> schemas.Handoffs:
    """Lists conversations that need a person, oldest first; without a `state` those that are not resolved."""
    states = [translation.HANDOFF_STATES[each] for each in state]
    request = desk.ListHandoffsRequest(knowledge_base=knowledge_base or "", states=states, limit=limit)
    response = await given.support.desk.ListHandoffs(request)
    return schemas.Handoffs(handoffs=[translation.handoff(each) for each in response.handoffs])


@router.get("/{handoff_id}", responses=documented(404))
async def get_handoff(handoff_id: Id, given: Given) -> schemas.Handoff:
    """Shows one, with the whole conversation."""
    response = await given.support.desk.GetHandoff(desk.GetHandoffRequest(handoff_id=handoff_id))
    return translation.handoff(response.handoff)


@router.post("/{handoff_id}:claim", responses=CHANGE, openapi_extra=IDEMPOTENT)
async def claim_handoff(handoff_id: Id, claim: schemas.Claim, given: Given) -> schemas.Handoff:
    """Takes one, for the length of the lease."""
    request = desk.ClaimHandoffRequest(handoff_id=handoff_id, lease_seconds=claim.lease_seconds)
    return translation.handoff((await given.support.desk.ClaimHandoff(request)).handoff)


@router.post("/{handoff_id}:release", responses=documented(404, 409), openapi_extra=IDEMPOTENT)
async def release_handoff(handoff_id: Id, given: Given) -> schemas.Handoff:
    """Puts one back into the queue."""
    response = await given.support.desk.ReleaseHandoff(desk.ReleaseHandoffRequest(handoff_id=handoff_id))
    return translation.handoff(response.handoff)


@router.post("/{handoff_id}/replies", status_code=201, responses=CHANGE, openapi_extra=IDEMPOTENT)
async def reply(handoff_id: Id, said: schemas.AgentReply, given: Given) -> schemas.ConversationTurn:
    """Says something to the customer."""
    response = await given.support.desk.Reply(desk.ReplyRequest(handoff_id=handoff_id, text=said.text))
    return translation.turn(response.turn)


@router.post("/{handoff_id}:resolve", responses=CHANGE, openapi_extra=IDEMPOTENT)
async def resolve_handoff(handoff_id: Id, resolution: schemas.Resolution, given: Given) -> schemas.Resolved:
    """Ends one: the conversation is the bot's again.

    The article that would have answered is feedback; one that is proposed waits as a draft until somebody approves it.
    """
    response = await given.support.desk.ResolveHandoff(translation.resolve_request(handoff_id, resolution))
    return translation.resolved(response)
