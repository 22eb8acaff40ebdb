"""What the gateway is told, beside what every process is told (`chassis.settings`)."""

from typing import Annotated

from pydantic import BeforeValidator, Field, field_validator
from pydantic_settings import NoDecode

from chassis.settings import Address, ReadableFile, Settings, key_with_certificate


def _separated_by_commas(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


Origins = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_separated_by_commas)]


class GatewaySettings(Settings):
    """One class for all three processes: `serve`, `migrate`, `bootstrap`."""

    http_listen: Address = "127.0.0.1:8080"
    """Where the REST API listens."""
    http_tls_cert_file: ReadableFile = ""
    """PEM; the certificate chain of the REST API. Empty: HTTP, for an ingress in front."""
    http_tls_key_file: ReadableFile = Field("", validate_default=True)
    """PEM; its key."""
    recommender_address: Address = "127.0.0.1:50052"
    """The recommender's gRPC server."""
    support_address: Address = "127.0.0.1:50053"
    """Support's gRPC server."""
    inference_address: Address = "127.0.0.1:50051"
    """The model server's gRPC server, for releases."""

    max_body_bytes: int = Field(1024 * 1024, ge=1024, le=64 * 1024 * 1024)
    """The largest request body, whether it says its length or comes in chunks; a larger one ends in 413."""
    max_import_bytes: int = Field(256 * 1024 * 1024, ge=1024, le=4 * 1024 * 1024 * 1024)
    """The largest file that is imported, a line at a time; a line takes as much as a request body."""
    max_deadline_seconds: float = Field(30.0, gt=0, le=30)
    """The longest that a client may ask for by `X-Request-Timeout-Ms`; without it: `default_deadline_seconds`."""
    max_connections: int = Field(2048, ge=1, le=100_000)
    """Connections and requests at a time; one more gets 503."""
    cors_origins: Origins = ()
    """Origins whose pages may call the API from a browser, separated by commas. Empty: none (CORS is off)."""

    key_cache_seconds: float = Field(10.0, ge=0, le=30)
    """How long a key is trusted without asking the database; so long may a revoked key work on another replica."""
    rate_limit_per_second: float = Field(200.0, gt=0, le=1_000_000)
    """Requests per second and API key, over time."""
    rate_limit_burst: int = Field(400, ge=1, le=1_000_000)
    """Requests that a key which has been quiet may send at once."""
    redis_timeout_seconds: float = Field(0.1, gt=0, le=5)
    """How long a request waits for the rate limit before it passes without one."""
    idempotency_hours: float = Field(24.0, gt=0, le=24 * 30)
    """How long the answer to an `Idempotency-Key` is kept."""
    publish_deadline_seconds: float = Field(3.0, gt=0, le=30)
    """How long the broker may take to acknowledge an event before the client is told to try again (503)."""

    bootstrap_key_file: str = ""
    """`bootstrap` writes the first API key here, readable by its owner alone; a key that stands here is kept."""
    bootstrap_tenant: str = Field("demo", min_length=1, max_length=64, pattern=r"^[a-z0-9][a-z0-9-]*$")
    """The tenant of the first key."""

    _http_key_with_certificate = field_validator("http_tls_key_file")(key_with_certificate)
