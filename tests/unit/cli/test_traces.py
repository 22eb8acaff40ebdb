"""`casebook trace`: one trace out of what several processes wrote, as a tree."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from cli import traces

TRACE = "0af7651916cd43dd8448eb211c80319c"
OTHER = "11111111111111111111111111111111"


def span(
    name: str, span_id: str, parent: str = "", *, start: int, end: int, trace: str = TRACE, **more: Any
) -> dict[str, Any]:
    """A span of OTLP's JSON; `start` and `end` in milliseconds."""
    return {
        "traceId": trace,
        "spanId": span_id,
        "parentSpanId": parent,
        "name": name,
        "startTimeUnixNano": str(start * 1_000_000),
        "endTimeUnixNano": str(end * 1_000_000),
    } | more


def write(folder: Path, service: str, process: str, *spans: dict[str, Any]) -> None:
    resource = {
        "attributes": [
            {"key": "service.name", "value": {"stringValue": service}},
            {"key": "casebook.process", "value": {"stringValue": process}},
        ]
    }
    request = {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": list(spans)}]}]}
    with (folder / f"{service}-{process}.jsonl").open("a") as file:
        file.write(json.dumps(request) + "\n")


def printed(trace: traces.Trace) -> list[str]:
    output = io.StringIO()
    Console(file=output, width=120).print(traces.render(trace))
    return [line.rstrip() for line in output.getvalue().splitlines()]


@pytest.fixture
def click(tmp_path: Path) -> Path:
    """A click: HTTP request, Kafka, and what the consumer did with it a while later."""
    write(
        tmp_path,
        "gateway",
        "serve",
        span("POST /v1/events", "a1", start=1000, end=1012),
        span("other", "z", start=1, end=2, trace=OTHER),
    )
    write(tmp_path, "gateway", "serve", span("send behaviour.events.v1", "a2", "a1", start=1004, end=1010))
    link = [{"traceId": TRACE, "spanId": "a2"}]
    write(
        tmp_path,
        "recommender",
        "consume",
        span("EVALSHA", "b2", "b1", start=1032, end=1033, status={"code": "STATUS_CODE_ERROR", "message": "no script"}),
        span("process behaviour.events.v1", "b1", "a2", start=1030, end=1034, links=link),
    )
    return tmp_path


def test_a_trace_over_kafka_is_one_tree_with_offsets_and_durations(click: Path) -> None:
    trace = traces.find(TRACE, click)

    assert trace is not None
    assert printed(trace) == [
        f"trace {TRACE}: 4 spans, 34.0 ms",
        "└── gateway  POST /v1/events  +0.0 ms  12.0 ms",
        "    └── gateway  send behaviour.events.v1  +4.0 ms  6.0 ms",
        "        └── ⇢ recommender consume  process behaviour.events.v1  +30.0 ms  4.0 ms",
        "            └── recommender consume  EVALSHA  +32.0 ms  1.0 ms  no script",
    ]
    assert trace.services == {"gateway", "recommender"}


def test_a_span_of_another_trace_stands_below_the_one_it_links_to(click: Path) -> None:
    link = [{"traceId": TRACE, "spanId": "a2"}]
    write(click, "recommender", "sink", span("write batch", "c1", start=2000, end=2001, trace=OTHER, links=link))

    trace = traces.find(TRACE, click)

    assert trace is not None
    assert "        └── ⇢ recommender sink  write batch  +1000.0 ms  1.0 ms" in printed(trace)
    assert len(trace.roots) == 1


def test_a_span_whose_parent_has_not_been_written_yet_is_a_root(tmp_path: Path) -> None:
    write(tmp_path, "gateway", "serve", span("send", "a2", "a1", start=1, end=2))

    trace = traces.find(TRACE, tmp_path)

    assert trace is not None
    assert [root.name for root in trace.roots] == ["send"]


def test_a_line_that_is_still_being_written_is_left_out(click: Path) -> None:
    with (click / "gateway-serve.jsonl").open("a") as file:
        file.write(f'{{"resourceSpans": [{{"traceId": "{TRACE}"')

    trace = traces.find(TRACE, click)

    assert trace is not None
    assert len(trace.spans) == 4


def test_an_unknown_trace_is_not_found(click: Path) -> None:
    assert traces.find("f" * 32, click) is None
