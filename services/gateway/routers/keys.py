"""API keys, for the administrators of a tenant. `Idempotency-Key` is not taken here: it would store the secret."""

from datetime import timedelta

from fastapi import APIRouter, Response

from chassis.identity import Identity, Role, current_identity
from gateway import schemas
from gateway.access import needs
from gateway.dependencies import Given
from gateway.edge import EdgeRoute
from gateway.keys import ApiKey
from gateway.openapi import WITH_BODY, documented

router = APIRouter(prefix="/v1", tags=["API keys"], route_class=EdgeRoute, dependencies=[needs(Role.ADMIN)])


@router.post("/keys", status_code=201, responses=documented(*WITH_BODY))
async def create_key(new: schemas.NewKey, given: Given) -> schemas.CreatedKey:
    """Creates a key of your tenant. This answer shows its secret, once."""
    admin = current_identity()
    owner = Identity(admin.tenant, new.principal, frozenset(new.roles))
    expires_at = None if new.expires_in_days is None else given.clock() + timedelta(days=new.expires_in_days)
    credential, key = await given.keys.create(owner, admin.principal, expires_at)
    return schemas.CreatedKey(**_shown(key).model_dump(), key=str(credential))


@router.get("/keys", responses=documented())
async def list_keys(given: Given) -> schemas.Keys:
    """Lists your tenant's keys, the revoked ones too, without their secrets."""
    return schemas.Keys(keys=[_shown(key) for key in await given.keys.of_tenant(current_identity().tenant)])


@router.delete("/keys/{key_id}", status_code=204, responses=documented(404))
async def revoke_key(key_id: schemas.Id, given: Given) -> Response:
    """Revokes a key. It stops working here at once, and on every replica within 10 seconds (at most 30, by setting)."""
    await given.keys.revoke(current_identity().tenant, key_id)
    return Response(status_code=204)


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
