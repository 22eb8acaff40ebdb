"""The audit, for the administrators of a tenant."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from chassis.identity import Role, current_identity
from gateway.access import needs
from gateway.audit import AuditRecord
from gateway.dependencies import Given
from gateway.edge import EdgeRoute
from gateway.openapi import documented
from gateway.schemas import administration as schemas
from gateway.schemas.fields import Uuid7

router = APIRouter(prefix="/v1", tags=["Audit"], route_class=EdgeRoute, dependencies=[needs(Role.ADMIN)])


@router.get("/audit", responses=documented())
async def list_audit(
    given: Given,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    before: Annotated[Uuid7 | None, Query()] = None,
) -> schemas.AuditRecords:
    """Lists what was asked for: who, what, when, with what outcome; refused attempts too.

    Of keys, releases of models, and the knowledge base.
    """
    tenant = current_identity().tenant
    records = await given.audit.of_tenant(tenant, limit, UUID(before) if before else None)
    return schemas.AuditRecords(records=[_shown(record) for record in records])


def _shown(record: AuditRecord) -> schemas.AuditRecord:
    call = record.call
    return schemas.AuditRecord(
        call_id=str(call.call_id),
        called_at=record.called_at,
        principal=call.principal,
        key_id=call.key_id,
        method=call.method,
        path=call.path,
        request=call.request,
        status=record.status,
        note=record.note,
        trace_id=call.trace_id,
    )
