"""Reading one trace out of the OTLP JSON lines that every process writes, and showing it as a tree.

What went over Kafka is in it too: a consumer's span links to the producer's, and stands below it with an arrow.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.text import Text
from rich.tree import Tree

_ERROR = (2, "STATUS_CODE_ERROR")
"""OTLP's JSON has the number, protobuf's own the name."""


@dataclass(frozen=True, slots=True)
class Span:
    """One span; times are nanoseconds since the epoch."""

    trace_id: str
    span_id: str
    parent_id: str
    links: tuple[str, ...]
    """Ids of the spans that it follows from: the producer's of the event that it handles."""
    service: str
    process: str
    name: str
    started: int
    ended: int
    error: str
    """Empty where it went well."""

    @property
    def milliseconds(self) -> float:
        """How long it took."""
        return (self.ended - self.started) / 1e6


@dataclass(frozen=True, slots=True)
class Trace:
    """All spans of one trace, and those of other traces that link to it."""

    trace_id: str
    spans: tuple[Span, ...]
    """By start."""
    _children: dict[str, list[Span]] = field(repr=False)
    roots: tuple[Span, ...]
    """The spans above which nothing is known: one, in a whole trace."""

    @property
    def services(self) -> set[str]:
        """The services that took part."""
        return {span.service for span in self.spans}

    def below(self, span: Span) -> list[Span]:
        """The spans that it called or caused, by start."""
        return self._children.get(span.span_id, [])


def find(trace_id: str, folder: Path) -> Trace | None:
    """The trace as far as it has been written to `<folder>/*.jsonl` yet; None where no span of it has."""
    spans = [span for line in _lines_with(trace_id, folder) for span in _spans(json.loads(line), trace_id)]
    spans.sort(key=lambda span: (span.started, -span.ended))
    return _trace(trace_id, spans) if spans else None


def render(trace: Trace) -> Tree:
    """The tree, for `rich`: service, name, start after the trace's own, duration; what failed in red."""
    start = trace.spans[0].started
    title = f"trace {trace.trace_id}: {len(trace.spans)} spans, {_length(trace):.1f} ms"
    tree = Tree(Text(title, style="bold"), guide_style="dim")

    def add(above: Tree, span: Span) -> None:
        branch = above.add(_line(span, start))
        for child in trace.below(span):
            add(branch, child)

    for root in trace.roots:
        add(tree, root)
    return tree


def _line(span: Span, start: int) -> Text:
    arrow = "[yellow]⇢ [/]" if span.links else ""
    process = f" [dim]{escape(span.process)}[/]" if span.process not in ("", "serve") else ""
    times = f"[dim]+{(span.started - start) / 1e6:.1f} ms[/]  {span.milliseconds:.1f} ms"
    failure = f"  [red]{escape(span.error)}[/]" if span.error else ""
    return Text.from_markup(f"{arrow}[cyan]{escape(span.service)}[/]{process}  {escape(span.name)}  {times}{failure}")


def _length(trace: Trace) -> float:
    return (max(span.ended for span in trace.spans) - trace.spans[0].started) / 1e6


def _trace(trace_id: str, spans: list[Span]) -> Trace:
    known = {span.span_id for span in spans}
    children: dict[str, list[Span]] = {}
    roots = []
    for span in spans:
        above = next((candidate for candidate in (span.parent_id, *span.links) if candidate in known), None)
        if above is None:
            roots.append(span)
        else:
            children.setdefault(above, []).append(span)
    return Trace(trace_id, tuple(spans), children, tuple(roots))


def _lines_with(trace_id: str, folder: Path) -> Iterator[str]:
    for file in sorted(folder.glob("*.jsonl*")):
        with file.open(encoding="utf-8") as lines:
            # A line without its end is still being written.
            yield from (line for line in lines if trace_id in line and line.endswith("\n"))


def _spans(request: dict[str, Any], trace_id: str) -> Iterator[Span]:
    """The spans of an ExportTraceServiceRequest that are of the trace, or link to it from another."""
    for resource_spans in request["resourceSpans"]:
        resource = _attributes(resource_spans["resource"])
        for scope_spans in resource_spans["scopeSpans"]:
            for span in scope_spans["spans"]:
                links = [link for link in span.get("links", []) if link["traceId"] == trace_id]
                if span["traceId"] == trace_id or links:
                    yield _span(span, links, resource)


def _span(span: dict[str, Any], links: list[dict[str, Any]], resource: dict[str, str]) -> Span:
    status = span.get("status", {})
    return Span(
        trace_id=span["traceId"],
        span_id=span["spanId"],
        parent_id=span.get("parentSpanId", ""),
        links=tuple(link["spanId"] for link in links),
        service=resource.get("service.name", "unknown"),
        process=resource.get("casebook.process", ""),
        name=span["name"],
        started=int(span["startTimeUnixNano"]),
        ended=int(span["endTimeUnixNano"]),
        error=(status.get("message") or "failed") if status.get("code") in _ERROR else "",
    )


def _attributes(resource: dict[str, Any]) -> dict[str, str]:
    return {entry["key"]: entry["value"].get("stringValue", "") for entry in resource.get("attributes", [])}
