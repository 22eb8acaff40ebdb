"""Traces and metrics by OpenTelemetry: traces go to a collector or a file, metrics are read from /metrics."""

import base64
import json
import logging
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict
from opentelemetry import metrics, trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased, TraceIdRatioBased
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from chassis import tls
from chassis.settings import Settings

LATENCY_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds. The SLOs of loadtests/ stand on these boundaries, so that a burn rate is exact there."""

EXPORT_INTERVAL_MS = 500
TRACE_FILE_LIMIT_BYTES = 64 * 1024 * 1024

_propagator = TraceContextTextMapPropagator()
_log = logging.getLogger(__name__)


def configure(settings: Settings, service: str, process: str) -> None:
    """Sets the process's tracer and meter provider. Called once, by `chassis.process.main`."""
    resource = Resource.create(
        {
            "service.name": service,
            "service.instance.id": settings.instance,
            "deployment.environment.name": settings.environment,
            "casebook.process": process,
        }
    )
    exporters: list[SpanExporter] = []
    if settings.otlp_endpoint:
        insecure = settings.otlp_endpoint.startswith("http://")
        credentials = None if insecure else tls.channel_credentials(tls.client_pem(settings))
        exporters.append(OTLPSpanExporter(settings.otlp_endpoint, insecure, credentials, timeout=5))
    if settings.trace_file:
        exporters.append(TraceFileExporter(Path(settings.trace_file)))
    # Without an exporter no span is recorded, but each has its ids, so that logs and answers still name a trace.
    sampler = ParentBased(TraceIdRatioBased(settings.trace_sample_ratio)) if exporters else ALWAYS_OFF
    provider = TracerProvider(resource=resource, sampler=sampler)
    for exporter in exporters:
        provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=EXPORT_INTERVAL_MS))
    trace.set_tracer_provider(provider)
    metrics.set_meter_provider(MeterProvider([PrometheusMetricReader(scope_info_enabled=False)], resource))


def shut_down() -> None:
    """Sends what is still waiting to be exported."""
    for provider in (trace.get_tracer_provider(), metrics.get_meter_provider()):
        if isinstance(provider, TracerProvider | MeterProvider):
            provider.shutdown()


def tracer(name: str) -> trace.Tracer:
    """The tracer of a module."""
    return trace.get_tracer(name)


def meter(name: str) -> metrics.Meter:
    """The meter of a module. `casebook.rpc.server.duration` in seconds is `casebook_rpc_server_duration_seconds`."""
    return metrics.get_meter(name)


def latency_histogram(name: str, description: str) -> metrics.Histogram:
    """A histogram of seconds with the boundaries that every latency here shares."""
    return meter("casebook").create_histogram(
        name, unit="s", description=description, explicit_bucket_boundaries_advisory=LATENCY_BUCKETS
    )


def context_from(carrier: Mapping[str, str]) -> Context:
    """The trace context in a `traceparent` header (W3C Trace Context), an empty one where there is none."""
    return _propagator.extract(carrier, context=Context())


def current_traceparent() -> str:
    """The `traceparent` of the running span, empty outside of one."""
    carrier: dict[str, str] = {}
    _propagator.inject(carrier)
    return carrier.get("traceparent", "")


def link_from(traceparent: str) -> list[trace.Link]:
    """A link to the span that `traceparent` names, for a consumer to point at its producer; none where it is empty."""
    span = trace.get_current_span(context_from({"traceparent": traceparent}))
    return [trace.Link(span.get_span_context())] if span.get_span_context().is_valid else []


class TraceFileExporter(SpanExporter):
    """Appends spans to a file as OTLP JSON, one `ExportTraceServiceRequest` a line.

    The embedded system has no collector; `casebook trace` reads these files. At 64 MiB the file is set aside as
    `<name>.1` and begun anew, so a trace file takes at most 128 MiB.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Writes one line. A full disk loses these spans and is logged; the service goes on."""
        request = MessageToDict(encode_spans(spans), use_integers_for_enums=True)
        _ids_to_hex(request)
        line = json.dumps(request, ensure_ascii=False, separators=(",", ":"))
        try:
            with self._lock, self._path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
                full = file.tell() > TRACE_FILE_LIMIT_BYTES
            if full:
                self._path.replace(self._path.with_name(self._path.name + ".1"))
        except OSError as error:
            _log.warning("spans were not written", extra={"path": str(self._path), "reason": str(error)})
            return SpanExportResult.FAILURE
        return SpanExportResult.SUCCESS


def _ids_to_hex(node: Any) -> None:
    """OTLP's JSON writes ids as hex, where protobuf's own JSON mapping writes base64 (OTLP specification 1.x, JSON)."""
    if isinstance(node, list):
        for child in node:
            _ids_to_hex(child)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key in ("traceId", "spanId", "parentSpanId"):
                node[key] = base64.b64decode(value).hex()
            else:
                _ids_to_hex(value)
