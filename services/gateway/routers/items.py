"""The catalogue."""

from fastapi import APIRouter, Response

from casebook.catalogue.v1 import catalogue_pb2 as catalogue
from casebook.recommender.v1 import recommender_pb2 as recommender
from chassis.identity import Role
from gateway.access import needs
from gateway.dependencies import Given
from gateway.edge import EdgeRoute
from gateway.openapi import WITH_BODY, documented
from gateway.schemas import recommender as schemas
from gateway.schemas.fields import Id
from gateway.translation import recommender as translation

router = APIRouter(prefix="/v1", tags=["Catalogue"], route_class=EdgeRoute)


@router.put("/items/{item_id:id}", responses=documented(409, *WITH_BODY), dependencies=[needs(Role.OPERATOR)])
async def put_item(item_id: Id, content: schemas.ItemContent, given: Given) -> schemas.Item:
    """Creates or replaces an item.

    It can be recommended by its content as soon as this returns. Sending it again changes nothing.
    """
    item = catalogue.Item(item_id=item_id, title=content.title, categories=content.categories, year=content.year or 0)
    stored = await given.recommender.UpsertItem(recommender.UpsertItemRequest(item=item))
    return translation.item(stored.item)


@router.get("/items/{item_id:id}", responses=documented(404), dependencies=[needs(Role.VIEWER)])
async def get_item(item_id: Id, given: Given) -> schemas.Item:
    """Shows an item."""
    found = await given.recommender.GetItem(recommender.GetItemRequest(item_id=item_id))
    return translation.item(found.item)


@router.delete("/items/{item_id:id}", status_code=204, responses=documented(404), dependencies=[needs(Role.OPERATOR)])
async def retire_item(item_id: Id, given: Given) -> Response:
    """Retires an item: it is no longer recommended."""
    await given.recommender.RetireItem(recommender.RetireItemRequest(item_id=item_id))
    return Response(status_code=204)
