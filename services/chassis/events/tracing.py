"""Spans of the two ends of a topic.

OpenTelemetry's messaging conventions let the span that processes a message either continue the producer's trace or only
link to it. Here it does both. It is a child of the producer's span, in the same trace: one message is processed at a
time, so the parent is not in doubt, and `casebook trace` shows a request to its last effect as one tree. And it carries
a link to the same span: the conventions prescribe it, tools that draw message flows read it, and it says that the
parent is a message that was sent, not a call that waits.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind

from chassis import telemetry
from chassis.events.envelope import Envelope

_tracer = telemetry.tracer("casebook.events")


def start_send_span(topic: str, key: str, envelope: Envelope) -> Span:
    """The span of publishing one event: a child of the span in the envelope. It ends with the acknowledgement."""
    return _tracer.start_span(
        f"send {topic}",
        context=telemetry.context_from({"traceparent": envelope.traceparent}),
        kind=SpanKind.PRODUCER,
        attributes={
            "messaging.system": "kafka",
            "messaging.operation.name": "send",
            "messaging.operation.type": "send",
            "messaging.destination.name": topic,
            "messaging.kafka.message.key": key,
            "messaging.message.id": envelope.id,
            "casebook.tenant": envelope.tenant,
        },
    )


def traceparent_of(span: Span) -> str:
    """The span as W3C `traceparent`; empty where nothing is traced."""
    with trace.use_span(span):
        return telemetry.current_traceparent()


@contextmanager
def process_span(
    topic: str, group: str, partition: int, offset: int, key: str, envelope: Envelope, attempts: int
) -> Iterator[Span]:
    """The span of one attempt at handling one event: a child of the producer's span, with a link to it."""
    with _tracer.start_as_current_span(
        f"process {topic}",
        context=telemetry.context_from({"traceparent": envelope.traceparent}),
        kind=SpanKind.CONSUMER,
        links=telemetry.link_from(envelope.traceparent),
        attributes={
            "messaging.system": "kafka",
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.destination.name": topic,
            "messaging.destination.partition.id": str(partition),
            "messaging.consumer.group.name": group,
            "messaging.kafka.offset": offset,
            "messaging.kafka.message.key": key,
            "messaging.message.id": envelope.id,
            "casebook.tenant": envelope.tenant,
            "casebook.attempt": attempts,
        },
    ) as span:
        yield span
