"""API keys, for the administrators of a tenant. `Idempotency-Key` is not taken here: it would store the secret."""

from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from chassis.identity import Identity, Role, current_identity
from gateway.access import needs
from gateway.dependencies import Dependencies, Given
from gateway.edge import AuditedRoute
from gateway.keys import ApiKey, Credential
from gateway.openapi import WITH_BODY, documented
from gateway.schemas import administration as schemas
from gateway.schemas.fields import Id

router = APIRouter(prefix="/v1", tags=["API keys"], route_class=AuditedRoute, dependencies=[needs(Role.ADMIN)])


@router.post("/keys", status_code=201, responses=documented(*WITH_BODY))
async def create_key(new: schemas.NewKey, given: Given, request: Request) -> schemas.CreatedKey:
    """Creates a key of your tenant. This answer shows its secret, once."""
    admin = current_identity()
    owner = Identity(admin.tenant, new.principal, frozenset(new.roles))
    return _created(request, *await given.keys.create(owner, admin.principal, _expiry(given, new.expires_in_days)))


@router.post("/keys/{key_id}:rotate", status_code=201, responses=documented(404, 409, *WITH_BODY))
async def rotate_key(key_id: Id, rotation: schemas.Rotation, given: Given, request: Request) -> schemas.CreatedKey:
    """Makes a new key for the same principal and roles; the old one works until the grace time is over.

    Both work meanwhile, so that whoever uses the key takes up the new one without a failed request.
    """
    admin, grace = current_identity(), timedelta(seconds=rotation.grace_seconds)
    expiry = _expiry(given, rotation.expires_in_days)
    return _created(request, *await given.keys.rotate(admin.tenant, key_id, admin.principal, expiry, grace))


@router.get("/keys", responses=documented())
async def list_keys(given: Given) -> schemas.Keys:
    """Lists your tenant's keys, the revoked ones too, without their secrets."""
    return schemas.Keys(keys=[_shown(key) for key in await given.keys.of_tenant(current_identity().tenant)])


@router.delete("/keys/{key_id}", status_code=204, responses=documented(404))
async def revoke_key(key_id: Id, given: Given, grace_seconds: Annotated[schemas.GraceSeconds, Query()] = 0) -> Response:
    """Revokes a key, at once or after a grace time; an earlier end that was set before stays.

    It ends here to the moment, and on every replica within 10 seconds (at most 30, by setting).
    """
    await given.keys.revoke(current_identity().tenant, key_id, timedelta(seconds=grace_seconds))
    return Response(status_code=204)


def _expiry(given: Dependencies, days: int | None) -> datetime | None:
    return None if days is None else given.clock() + timedelta(days=days)


def _created(request: Request, credential: Credential, key: ApiKey) -> schemas.CreatedKey:
    request.state.audit_note = f"made key {key.key_id}"
    return schemas.CreatedKey(**_shown(key).model_dump(), key=str(credential))


def _shown(key: ApiKey) -> schemas.Key:
    return schemas.Key(
        key_id=key.key_id,
        tenant=key.identity.tenant,
        principal=key.identity.principal,
        roles=sorted(key.identity.roles),
        created_at=key.created_at,
        created_by=key.created_by,
        expires_at=key.expires_at,
        revoked_at=key.revoked_at,
    )
