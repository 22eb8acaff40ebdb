"""Traces in a file, as OTLP JSON; trace context across a header."""

import json

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult

from chassis import telemetry
from chassis.telemetry import TraceFileExporter


def traced(path, *names):
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(TraceFileExporter(path)))
    contexts = []
    for name in names:
        with provider.get_tracer("test").start_as_current_span(name) as span:
            contexts.append(span.get_span_context())
    return contexts


def test_a_span_is_one_line_with_hex_ids(tmp_path):
    (context,) = traced(tmp_path / "traces.jsonl", "work")

    (line,) = (tmp_path / "traces.jsonl").read_text().splitlines()
    span = json.loads(line)["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    assert span["name"] == "work"
    assert span["traceId"] == f"{context.trace_id:032x}"
    assert span["spanId"] == f"{context.span_id:016x}"


def test_a_full_file_is_set_aside(tmp_path, monkeypatch):
    monkeypatch.setattr(telemetry, "TRACE_FILE_LIMIT_BYTES", 10)
    path = tmp_path / "traces.jsonl"

    traced(path, "first", "second")

    assert "second" in path.with_name("traces.jsonl.1").read_text()
    assert not path.exists()


def test_a_folder_that_cannot_be_written_loses_the_spans_and_nothing_else(tmp_path, caplog):
    path = tmp_path / "traces.jsonl"
    exporter = TraceFileExporter(path)
    path.mkdir()

    assert exporter.export([]) is SpanExportResult.FAILURE
    assert "spans were not written" in caplog.text


def test_the_trace_context_goes_through_a_header():
    provider = TracerProvider()
    with provider.get_tracer("test").start_as_current_span("here") as span:
        header = telemetry.current_traceparent()

    there = trace.get_current_span(telemetry.context_from({"traceparent": header})).get_span_context()
    (link,) = telemetry.link_from(header)
    assert there.trace_id == link.context.trace_id == span.get_span_context().trace_id
    assert there.span_id == link.context.span_id == span.get_span_context().span_id


def test_no_header_or_a_broken_one_is_no_context():
    assert telemetry.current_traceparent() == ""
    for header in ("", "nonsense", "00-" + "0" * 32 + "-" + "0" * 16 + "-01"):
        assert telemetry.link_from(header) == []
