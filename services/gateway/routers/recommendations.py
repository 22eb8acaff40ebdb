"""The best items for somebody, and the live sequence that they are made from."""

from typing import Annotated

from fastapi import APIRouter, Body, Query

from casebook.recommender.v1.recommender_pb2 import GetHistoryRequest
from chassis.identity import Role
from gateway.access import needs
from gateway.dependencies import Given
from gateway.edge import EdgeRoute
from gateway.openapi import WITH_BODY, documented
from gateway.schemas import recommender as schemas
from gateway.schemas.fields import Id
from gateway.translation import recommender as translation

router = APIRouter(prefix="/v1", tags=["Recommendations"], route_class=EdgeRoute, dependencies=[needs(Role.VIEWER)])


@router.post("/recommendations", responses=documented(*WITH_BODY))
async def recommend(request: Annotated[schemas.RecommendationRequest, Body()], given: Given) -> schemas.Recommendations:
    """Recommends items, now.

    Made anew for every request from the live behaviour sequence. Where a stage could not do its work the answer says so
    in `degraded`; where the recommender does not answer at all, you get `503` and nothing invented.
    """
    return translation.recommendations(await given.recommender.Recommend(translation.recommend_request(request)))


@router.get("/users/{user_id:id}/history", responses=documented())
async def history(user_id: Id, given: Given, limit: Annotated[int, Query(ge=1, le=50)] = 50) -> schemas.History:
    """Shows a user's live sequence, newest first."""
    return translation.history(await given.recommender.GetHistory(GetHistoryRequest(user_id=user_id, limit=limit)))
