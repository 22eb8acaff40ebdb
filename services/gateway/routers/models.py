"""Releases of models: which version answers. A change answers when it is recorded; `complete` says when it is done."""

from typing import Annotated

from fastapi import APIRouter, Query

from casebook.releases.v1 import releases_pb2 as releases
from chassis.identity import Role
from gateway.access import needs
from gateway.dependencies import Given
from gateway.edge import AuditedIdempotentRoute
from gateway.openapi import IDEMPOTENT, WITH_BODY, documented
from gateway.schemas import releases as schemas
from gateway.translation import releases as translation

router = APIRouter(prefix="/v1", tags=["Models"], route_class=AuditedIdempotentRoute)

OPERATOR = [needs(Role.OPERATOR)]
VIEWER = [needs(Role.VIEWER)]
CHANGE = documented(404, 409, *WITH_BODY)


@router.get("/models", responses=documented(), dependencies=VIEWER)
async def list_models(given: Given) -> schemas.Models:
    """Lists every model with its release and the versions in the repository."""
    response = await given.releases.ListModels(releases.ListModelsRequest())
    return schemas.Models(models=[translation.model(model) for model in response.models])


@router.get("/models/{name}", responses=documented(404), dependencies=VIEWER)
async def get_model(name: schemas.ModelName, given: Given) -> schemas.Model:
    """Shows one model."""
    response = await given.releases.GetModel(releases.GetModelRequest(model=name))
    return translation.model(response.model)


@router.get("/models/{name}/changes", responses=documented(404), dependencies=VIEWER)
async def list_changes(
    name: schemas.ModelName, given: Given, limit: Annotated[int, Query(ge=1, le=500)] = 50
) -> schemas.Changes:
    """Lists who changed what, when; newest first."""
    return translation.changes(await given.releases.ListChanges(releases.ListChangesRequest(model=name, limit=limit)))


@router.post("/models/{name}:promote", responses=CHANGE, dependencies=OPERATOR, openapi_extra=IDEMPOTENT)
async def promote(name: schemas.ModelName, promotion: schemas.Promotion, given: Given) -> schemas.Release:
    """Makes a version stable; a canary of it ends."""
    request = releases.PromoteRequest(model=name, version=promotion.version, reason=promotion.reason)
    return translation.release((await given.releases.Promote(request)).release)


@router.post("/models/{name}:rollback", responses=CHANGE, dependencies=OPERATOR, openapi_extra=IDEMPOTENT)
async def roll_back(name: schemas.ModelName, rolling_back: schemas.RollingBack, given: Given) -> schemas.Release:
    """Ends a canary where there is one, else puts the previous version back."""
    request = releases.RollbackRequest(model=name, reason=rolling_back.reason)
    return translation.release((await given.releases.Rollback(request)).release)


@router.post("/models/{name}:canary", responses=CHANGE, dependencies=OPERATOR, openapi_extra=IDEMPOTENT)
async def set_canary(name: schemas.ModelName, canary: schemas.Canary, given: Given) -> schemas.Release:
    """Sends a share of the traffic to a version. Share 0 ends it."""
    request = releases.SetCanaryRequest(model=name, version=canary.version, share=canary.share, reason=canary.reason)
    return translation.release((await given.releases.SetCanary(request)).release)


@router.post("/models/{name}:shadow", responses=CHANGE, dependencies=OPERATOR, openapi_extra=IDEMPOTENT)
async def set_shadow(name: schemas.ModelName, shadow: schemas.Shadow, given: Given) -> schemas.Release:
    """Runs a version beside the stable one and compares; it never answers. Without a version the shadow ends."""
    request = releases.SetShadowRequest(model=name, version=shadow.version or "", reason=shadow.reason)
    return translation.release((await given.releases.SetShadow(request)).release)
