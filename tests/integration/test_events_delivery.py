"""The way of an event over a real broker: published, handled once it is acknowledged, committed after its effect."""

import threading

from casebook.behaviour.v1 import events_pb2
from chassis.events import Event, EventConsumer, EventProducer, Handler


def test_event_arrives_with_its_envelope(kafka):
    topic = kafka.topic()
    producer = EventProducer(kafka.settings(), source="gateway")
    arrived: list[Event[events_pb2.BehaviourEvent]] = []
    stop = threading.Event()

    def handle(event: Event[events_pb2.BehaviourEvent]) -> None:
        arrived.append(event)
        stop.set()

    producer.publish_blocking(topic, "acme:u1", events_pb2.BehaviourEvent(user_id="u1", item_id="i7"), tenant="acme")
    EventConsumer(kafka.settings(), "recommender.test", {topic: Handler(events_pb2.BehaviourEvent, handle)}).run(stop)

    [event] = arrived
    assert (event.key, event.envelope.tenant, event.envelope.source) == ("acme:u1", "acme", "gateway")
    assert event.message.item_id == "i7"
    assert kafka.committed("recommender.test", topic) == 1
