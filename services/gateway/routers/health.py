"""For probes that reach the API's port alone; the operators' port has the same, and the metrics."""

from fastapi import APIRouter, Response

from gateway.dependencies import Given
from gateway.schemas.problems import Health

router = APIRouter(tags=["Health"])


@router.get("/livez")
async def livez() -> Health:
    """Says that the process lives."""
    return Health(status="live")


@router.get("/readyz", responses={503: {"model": Health, "description": "Not ready; `reasons` says why."}})
async def readyz(given: Given, response: Response) -> Health:
    """Says whether requests may be sent here.

    Kafka, Redis and the services behind do not count: without them some routes answer `503`, and taking every replica
    out of service would turn that into a failure of all.
    """
    reasons = given.readiness.reasons()
    if reasons:
        response.status_code = 503
        return Health(status="not ready", reasons=reasons)
    return Health(status="ready")
