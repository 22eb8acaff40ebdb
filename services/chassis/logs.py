"""JSON logs, one object a line, each with the trace it belongs to."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog
from opentelemetry import trace

from chassis.identity import current_identity_or_none
from chassis.settings import Settings

# Before `configure`, and in tests that never call it, a logger is of the same kind as later.
structlog.configure(logger_factory=structlog.stdlib.LoggerFactory(), wrapper_class=structlog.stdlib.BoundLogger)


def configure(settings: Settings, service: str, process: str) -> None:
    """Sends structlog's and the standard library's records to standard output as JSON."""
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        structlog.stdlib.ExtraAdder(),
        _add_trace,
        _add_identity,
        structlog.processors.format_exc_info,
    ]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.EventRenamer("message"),
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler], level=settings.log_level, force=True)
    for noisy in ("kafka", "urllib3", "httpx", "feast", "asyncio"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLogger().level))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service, process=process, instance=settings.instance)


def logger(name: str) -> structlog.stdlib.BoundLogger:
    """The logger of a module: `log = logs.logger(__name__)`, then `log.info("what happened", key=value)`."""
    bound: structlog.stdlib.BoundLogger = structlog.get_logger(name)
    return bound


def _add_trace(_: Any, __: str, record: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        record["trace_id"] = f"{context.trace_id:032x}"
        record["span_id"] = f"{context.span_id:016x}"
    return record


def _add_identity(_: Any, __: str, record: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    identity = current_identity_or_none()
    if identity is not None:
        record["tenant"] = identity.tenant
        record["principal"] = identity.principal
    return record
