"""One trace from who publishes to the last consumer, and a link at every hop."""

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from casebook.behaviour.v1.events_pb2 import BehaviourEvent
from chassis.events import EventConsumer, EventProducer, Handler, tracing
from chassis.retries import Retries
from tests.fixtures.kafka import running, wait_until


@pytest.fixture
def spans(monkeypatch):
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing, "_tracer", provider.get_tracer("test"))
    monkeypatch.setattr(exporter, "tracer", provider.get_tracer("test"), raising=False)
    return exporter


async def test_consumer_is_a_child_of_the_producer_and_links_to_it(kafka, spans):
    topic = kafka.topic()
    producer = EventProducer(kafka.settings(), source="gateway")

    def fail_once(event):
        if event.attempts == 1:
            raise RuntimeError("not yet")

    with spans.tracer.start_as_current_span("POST /v1/events") as request:
        await producer.publish(topic, "acme:u1", BehaviourEvent(item_id="i1"), "acme", event_id="e-1")
    handlers = {topic: Handler(BehaviourEvent, fail_once)}
    with running(EventConsumer(kafka.settings(), "recommender.test", handlers, retries=Retries(shortest_seconds=0.01))):
        wait_until("the offset to be committed", lambda: kafka.committed("recommender.test", topic) == 1)
    producer.close()

    _, send, first, second = sorted(spans.get_finished_spans(), key=lambda span: span.start_time)
    assert {span.context.trace_id for span in (send, first, second)} == {request.get_span_context().trace_id}
    assert (send.name, send.kind, send.parent.span_id) == (
        f"send {topic}",
        SpanKind.PRODUCER,
        request.get_span_context().span_id,
    )
    for attempt in (first, second):
        assert (attempt.name, attempt.kind) == (f"process {topic}", SpanKind.CONSUMER)
        assert attempt.parent.span_id == send.context.span_id
        assert [link.context.span_id for link in attempt.links] == [send.context.span_id]
    assert (first.status.status_code, second.status.status_code) == (StatusCode.ERROR, StatusCode.UNSET)
    assert second.attributes == {
        "messaging.system": "kafka",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": topic,
        "messaging.destination.partition.id": "0",
        "messaging.consumer.group.name": "recommender.test",
        "messaging.kafka.offset": 0,
        "messaging.kafka.message.key": "acme:u1",
        "messaging.message.id": "e-1",
        "casebook.tenant": "acme",
        "casebook.attempt": 2,
    }


def test_publishing_that_fails_says_so_in_its_span(kafka, spans):
    settings = kafka.settings(default_deadline_seconds=0.5)
    producer = EventProducer(settings, source="gateway")

    with pytest.raises(Exception, match="nowhere"):
        producer.publish_blocking("nowhere.v1", "acme:u1", BehaviourEvent(), "acme")
    producer.close()

    [send] = spans.get_finished_spans()
    assert send.status.status_code == StatusCode.ERROR
    assert send.end_time is not None
