"""The application: routes, error mapping and the edge around them, over whatever parts it is given."""

from fastapi import Depends, FastAPI
from fastapi.middleware.cors import CORSMiddleware

from gateway import edge, idempotency, openapi, problems, reference
from gateway.dependencies import Dependencies
from gateway.middleware import EdgeHeaders
from gateway.routers import (
    audit,
    desk,
    events,
    health,
    items,
    keys,
    knowledge,
    models,
    recommendations,
    support,
    users,
)

VERSION = "1"
API = (
    recommendations.router,
    events.router,
    items.router,
    users.router,
    support.router,
    knowledge.files,
    knowledge.router,
    desk.router,
    models.router,
    keys.router,
    audit.router,
)


def create_app(dependencies: Dependencies) -> FastAPI:
    """The API over `dependencies`; starts nothing, owns nothing."""
    app = FastAPI(
        title=openapi.TITLE,
        version=VERSION,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
        # FastAPI makes the span of a request (W3C traceparent in) and `http.server.request.duration` by route.
        telemetry={"logs": False, "operation_spans": False},
    )
    app.state.dependencies = dependencies
    for router in API:
        app.include_router(router, dependencies=[Depends(openapi.bearer)])
    app.include_router(health.router)
    problems.install(app)
    openapi.install(app)
    reference.install(app)
    if dependencies.settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=dependencies.settings.cors_origins,
            allow_methods=["GET", "POST", "PUT", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "Traceparent", idempotency.HEADER, edge.TIMEOUT_HEADER],
            expose_headers=["RateLimit", "RateLimit-Policy", "Retry-After", "Traceparent", "X-Trace-Id"],
        )
    app.add_middleware(EdgeHeaders)
    return app
