"""Users' profiles."""

from fastapi import APIRouter

from casebook.recommender.v1.recommender_pb2 import UpsertUserRequest
from chassis.identity import Role
from gateway.access import needs
from gateway.dependencies import Given
from gateway.edge import EdgeRoute
from gateway.openapi import WITH_BODY, documented
from gateway.schemas import recommender as schemas
from gateway.schemas.fields import Id
from gateway.translation import recommender as translation

router = APIRouter(prefix="/v1", tags=["Users"], route_class=EdgeRoute, dependencies=[needs(Role.OPERATOR)])


@router.put("/users/{user_id:id}", responses=documented(409, *WITH_BODY))
async def put_user(user_id: Id, profile: schemas.UserProfile, given: Given) -> schemas.User:
    """Creates or replaces a user's profile; answers with the segment that it falls into."""
    message = UpsertUserRequest(user=translation.user_message(user_id, profile))
    return translation.user(await given.recommender.UpsertUser(message))
