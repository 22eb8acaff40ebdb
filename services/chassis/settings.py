"""Settings come from environment variables alone, are checked once at start, and never change while a process runs."""

import os
import socket
import sys
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "CASEBOOK_"


def _host_and_port(value: str) -> str:
    host, separator, port = value.rpartition(":")
    if not separator or not host or not port.isdigit() or not 0 <= int(port) <= 65535:
        raise ValueError("must be host:port with a port from 0 to 65535")
    return value


def _readable(value: str) -> str:
    if value:
        try:
            Path(value).read_bytes()
        except OSError as error:
            raise ValueError(f"{value}: {error.strerror}") from None
    return value


Address = Annotated[str, AfterValidator(_host_and_port)]
ReadableFile = Annotated[str, AfterValidator(_readable)]
"""A path that can be read; empty for none."""


def key_with_certificate(value: str, info: ValidationInfo) -> str:
    """For a field `..._key_file`: it is set exactly where `..._cert_file` before it is."""
    certificate = str(info.field_name).replace("key_file", "cert_file")
    if certificate in info.data and bool(value) != bool(info.data[certificate]):
        raise ValueError(f"goes with {PREFIX}{certificate.upper()}: set both or none")
    return value


class Settings(BaseSettings):
    """What every process of every service is told; a service adds its own fields in its `settings.py`.

    A secret may stand in a file: `CASEBOOK_X_FILE=/run/secrets/x` fills `CASEBOOK_X` where that is not set.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="ignore", frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True
    )

    environment: str = "embedded"
    """A label on logs, traces and metrics. Nothing branches on it."""
    instance: str = Field(default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}", min_length=1, max_length=128)
    """Which replica this is."""

    grpc_listen: Address = "127.0.0.1:50051"
    """Where the gRPC server listens. Port 0 takes any free one."""
    ops_listen: Address = "127.0.0.1:9090"
    """Where /livez, /readyz and /metrics are served, apart from the service's own traffic."""
    default_deadline_seconds: float = Field(5.0, gt=0, le=300)
    """The deadline of a call that came with none, and the longest that an outgoing call may take."""
    max_message_bytes: int = Field(4 * 1024 * 1024, ge=1024, le=256 * 1024 * 1024)
    """The largest gRPC message in either direction; a larger one ends in RESOURCE_EXHAUSTED."""
    max_concurrent_rpcs: int = Field(512, ge=1, le=100_000)
    """Calls in flight; one more ends in RESOURCE_EXHAUSTED."""
    connection_age_seconds: float = Field(300.0, ge=1, le=86_400)
    """How long a connection to the gRPC server lives. A client that connects anew looks the name up anew, so this is
    also how soon new replicas get their share, and how soon nobody calls one that has left the name."""
    drain_notice_seconds: float = Field(0.5, ge=0, le=60)
    """How long after SIGTERM new calls are still taken: whoever spreads calls needs that long to see NOT_SERVING."""
    drain_seconds: float = Field(20.0, ge=0, le=600)
    """How long after SIGTERM the calls in flight may take to end."""

    tls_cert_file: ReadableFile = ""
    """PEM; the certificate chain of the gRPC server. Empty: plain text."""
    tls_key_file: ReadableFile = Field("", validate_default=True)
    """PEM; its key."""
    tls_client_ca_file: ReadableFile = Field("", validate_default=True)
    """PEM; who calls the gRPC server must show a certificate of this authority. Empty: none is asked for."""
    tls_ca_file: ReadableFile = ""
    """PEM; gRPC servers that are called must show a certificate of this authority. Empty: plain text."""
    tls_client_cert_file: ReadableFile = Field("", validate_default=True)
    """PEM; the certificate chain shown to gRPC servers, where they ask for one."""
    tls_client_key_file: ReadableFile = Field("", validate_default=True)
    """PEM; its key."""
    tls_server_name: str = ""
    """The name in the certificate of the servers that are called, where it is not the one they are called by."""

    log_level: str = Field("INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")
    """The lowest level that is logged."""
    otlp_endpoint: str = Field("", pattern="^(https?://.+)?$")
    """Where traces go over OTLP/gRPC, e.g. http://collector:4317. Empty: nowhere."""
    trace_file: str = ""
    """A file that traces are appended to as OTLP JSON lines. Empty: none."""
    trace_sample_ratio: float = Field(1.0, ge=0, le=1)
    """The share of traces begun here that is recorded; a trace that came with the call keeps its caller's choice."""

    faults: bool = False
    """Whether an operator may break this process on purpose (`casebook fault`). Not in production."""

    token_keys: SecretStr = SecretStr("")
    """Keys of the tokens between services, "id:secret[,id:secret]": the first signs, all verify."""
    kafka_bootstrap: str = "127.0.0.1:9092"
    """Kafka's brokers, "host:port[,host:port]"."""
    kafka_api_version: str = Field("", pattern=r"^(\d+\.\d+(\.\d+)?)?$")
    """Pins the protocol for a broker that cannot be asked, "2.1" for librdkafka's mock cluster. Empty: ask."""
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_SSL", "SASL_PLAINTEXT"] = "PLAINTEXT"
    """How Kafka's brokers are reached."""
    kafka_ca_file: ReadableFile = ""
    """PEM; whose certificates the brokers must show. Empty: the system's authorities."""
    kafka_cert_file: ReadableFile = ""
    """PEM; the certificate shown to the brokers, where they ask for one."""
    kafka_key_file: ReadableFile = Field("", validate_default=True)
    """PEM; its key."""
    kafka_sasl_mechanism: Literal["", "SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"] = Field("", validate_default=True)
    """How the user is proved, with a SASL protocol."""
    kafka_username: str = Field("", validate_default=True)
    """The user."""
    kafka_password: SecretStr = Field(SecretStr(""), validate_default=True)
    """The user's password."""
    redis_url: SecretStr = SecretStr("redis://127.0.0.1:6379/0")
    """Redis with its password, for what can be rebuilt or expires; with TLS rediss://…?ssl_ca_certs=FILE."""
    database_url: SecretStr = SecretStr("")
    """This service's PostgreSQL database, as the lesser role that the service runs as; with TLS
    postgresql://…?sslmode=verify-full&sslrootcert=FILE."""
    database_owner_url: SecretStr = SecretStr("")
    """The same database as its owner; only `migrate` is given it."""

    _keys_with_certificates = field_validator("tls_key_file", "tls_client_key_file", "kafka_key_file")(
        key_with_certificate
    )

    @field_validator("tls_client_ca_file", "tls_client_cert_file")
    @classmethod
    def _only_with_tls(cls, value: str, info: ValidationInfo) -> str:
        base = "tls_cert_file" if info.field_name == "tls_client_ca_file" else "tls_ca_file"
        if value and info.data.get(base) == "":
            raise ValueError(f"needs {PREFIX}{base.upper()}: without it there is no TLS")
        return value

    @field_validator("kafka_sasl_mechanism", "kafka_username", "kafka_password")
    @classmethod
    def _only_with_sasl(cls, value: Any, info: ValidationInfo) -> Any:
        protocol = info.data.get("kafka_security_protocol")
        given = bool(value.get_secret_value() if isinstance(value, SecretStr) else value)
        if protocol is not None and protocol.startswith("SASL") != given:
            why = "is needed" if not given else "may not be set"
            raise ValueError(f"{why} with {PREFIX}KAFKA_SECURITY_PROTOCOL={protocol}")
        return value


class SinkSettings(Settings):
    """Beside those, of a service whose events are written for training (`chassis.sink`)."""

    sink_url: str = "sink"
    """Where the sink writes, an fsspec address: a folder, s3://bucket/prefix."""
    sink_batch_events: int = Field(5_000, ge=1, le=100_000)
    """Events of a partition that are written as one file."""
    sink_batch_seconds: float = Field(10.0, gt=0, le=600)
    """The longest that an event waits for its file."""


S = TypeVar("S", bound=Settings)


def load(settings_class: type[S]) -> S:
    """Reads and checks the environment.

    A wrong value ends the process with status 2 and one line a variable, naming it; the value itself is not printed,
    since it may be a secret.
    """
    try:
        return settings_class(**_secrets_from_files(settings_class))
    except ValidationError as error:
        for problem in error.errors():
            variable = PREFIX + "_".join(str(part) for part in problem["loc"]).upper()
            print(f"{variable}: {problem['msg']}", file=sys.stderr)  # noqa: T201 - no logger without settings
        raise SystemExit(2) from None
    except OSError as error:
        print(f"{error.filename}: {error.strerror}", file=sys.stderr)  # noqa: T201
        raise SystemExit(2) from None


def secret(variable: str) -> str:
    """The variable's value, else what stands in the file that `<variable>_FILE` names; empty without either.

    Raises OSError where the file cannot be read.
    """
    if variable in os.environ:
        return os.environ[variable]
    file = os.environ.get(f"{variable}_FILE", "")
    return Path(file).read_text().strip() if file else ""


def _secrets_from_files(settings_class: type[Settings]) -> dict[str, Any]:
    variables = {name: PREFIX + name.upper() for name in settings_class.model_fields}
    return {
        name: secret(variable)
        for name, variable in variables.items()
        if variable not in os.environ and os.environ.get(f"{variable}_FILE")
    }
