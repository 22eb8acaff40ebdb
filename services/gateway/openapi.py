"""The OpenAPI document: what FastAPI derives from the routes, and the problems that every route may answer with."""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.security import HTTPBearer
from pydantic.json_schema import models_json_schema

from gateway import problems
from gateway.edge import TIMEOUT_HEADER
from gateway.idempotency import HEADER as IDEMPOTENCY_HEADER
from gateway.idempotency import PATTERN as IDEMPOTENCY_PATTERN
from gateway.schemas.fields import EXAMPLE_UUID
from gateway.schemas.problems import ProblemDetails

Responses = dict[int | str, dict[str, Any]]

TITLE = "Casebook"
DESCRIPTION = """Recommendations that follow what users do within a second; answers to customers, with their source, a
question back, or a person; and the models behind both.

Every request carries an API key (`Authorization: Bearer cb_...`); a key belongs to a tenant and holds roles. Every
error is a problem (RFC 9457) with the id of its trace. `X-Request-Timeout-Ms` says how long you will wait; the time is
passed on to every service behind. `429` and `503` say in `Retry-After` when to come back."""


TAGS = [
    {"name": "Recommendations", "description": "The best items for a user or an anonymous session, now."},
    {"name": "Events", "description": "What users did. Accepted means acknowledged by every in-sync broker."},
    {"name": "Catalogue", "description": "Items. A new one can be recommended at once, by its content."},
    {"name": "Users", "description": "Profiles, which choose what somebody without history gets."},
    {
        "name": "Support",
        "description": "Conversations with customers: answered with a source, asked back, or handed over.",
    },
    {"name": "Knowledge base", "description": "Articles, and how sure the answers from them have to be."},
    {"name": "Desk", "description": "For agents: conversations that need a person."},
    {"name": "Models", "description": "Versions of the models: promote, roll back, canary, shadow. Who changed what."},
    {"name": "API keys", "description": "For administrators, within their own tenant."},
    {"name": "Audit", "description": "What administrators and operators asked for, and what came of it."},
    {"name": "Health", "description": "Without a key, for probes."},
]

MEANINGS: Mapping[int, str] = {
    400: "The body is not JSON.",
    401: "There is no API key, or it is not known, expired or revoked.",
    403: "The key lacks the role.",
    404: "There is no such thing.",
    409: "Another change came first, or the first request with this `Idempotency-Key` is still running.",
    413: "The body is too large.",
    415: "The body is of another kind than `Content-Type` may say here.",
    422: "A field breaks its limit: `errors` names it. Or the `Idempotency-Key` came with another body before.",
    429: "The key's rate limit, or a limit of a service behind, has been reached.",
    500: "The gateway failed.",
    502: "A service behind the gateway failed.",
    503: "A service behind the gateway does not answer; nothing is invented in its place.",
    504: "The time that the client gave has run out.",
}
SUCCESSES = {200: "What was asked for.", 201: "Created.", 202: "The broker has acknowledged.", 204: "Done."}
ALWAYS = (401, 403, 422, 429, 500, 502, 503, 504)
WITH_BODY = (400, 413, 415)

bearer = HTTPBearer(scheme_name="API key", bearerFormat="cb_<id>_<secret>", auto_error=False)
"""For the document alone; `gateway.edge` reads the key."""


def documented(*statuses: int) -> Responses:
    """Problem answers of a route: those that any route may give, and `statuses`."""
    return {status: {"description": MEANINGS[status]} for status in sorted({*ALWAYS, *statuses})}


def install(app: FastAPI) -> None:
    """Makes `app.openapi()` return the completed document."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _completed(
                get_openapi(title=app.title, version=app.version, description=DESCRIPTION, tags=TAGS, routes=app.routes)
            )
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _completed(document: dict[str, Any]) -> dict[str, Any]:
    _, definitions = models_json_schema(
        [(ProblemDetails, "serialization")], ref_template="#/components/schemas/{model}"
    )
    schemas = document["components"]["schemas"]
    schemas.update(definitions["$defs"])
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    for path in document["paths"].values():
        for operation in path.values():
            _complete_operation(operation)
    return document


def _complete_operation(operation: dict[str, Any]) -> None:
    # A route's docstring: its first line says what the route does, the rest what to know.
    summary, _, rest = operation.pop("description").partition("\n")
    operation["summary"] = summary.rstrip(".")
    if rest:
        operation["description"] = rest.strip()
    for status, response in operation["responses"].items():
        response["description"] = SUCCESSES.get(int(status), response["description"])
        if int(status) in MEANINGS and operation.get("security"):
            response["content"] = {problems.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}}
        if status in ("429", "503"):
            response["headers"] = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
    if operation.get("security"):
        operation.setdefault("parameters", []).append(_TIMEOUT)
    if operation.pop("x-idempotent", False):
        operation["parameters"].append(_IDEMPOTENCY_KEY)


_TIMEOUT = {
    "name": TIMEOUT_HEADER,
    "in": "header",
    "description": "How long you will wait, in milliseconds. Without it: 5 seconds.",
    "schema": {"type": "integer", "minimum": 1, "maximum": 30_000},
    "example": 2000,
}
_IDEMPOTENCY_KEY = {
    "name": IDEMPOTENCY_HEADER,
    "in": "header",
    "description": "Makes sending the request again harmless: for 24 hours it gets the answer that it got first.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": IDEMPOTENCY_PATTERN},
    "example": EXAMPLE_UUID,
}
IDEMPOTENT: dict[str, Any] = {"x-idempotent": True}
"""For `openapi_extra` of the routes of an `IdempotentRoute` router."""
