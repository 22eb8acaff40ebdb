"""Events over Kafka: typed protobuf values, CloudEvents headers, one trace, at-least-once delivery.

Publishing is over when the broker has acknowledged (`EventProducer`). Consuming commits after the effect, keeps the
order of a key, retries within bounds, and puts aside what can never succeed (`EventConsumer`). A replica that needs all
of a compacted topic follows it without a group (`TopicFollower`).
"""

from chassis.events.consumer import EventConsumer, Handler
from chassis.events.envelope import Envelope, Event, PoisonMessage, new_event_id
from chassis.events.follower import TopicFollower
from chassis.events.producer import EventProducer

__all__ = [
    "Envelope",
    "Event",
    "EventConsumer",
    "EventProducer",
    "Handler",
    "PoisonMessage",
    "TopicFollower",
    "new_event_id",
]
