"""Publishing what a request holds: in its order, and over when the broker has acknowledged all of it."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from google.protobuf.message import Message

from chassis.events import Envelope, EventProducer
from chassis.events.pending import Pending


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An event before it is published. `key` decides the partition, and so what keeps its order."""

    event_id: str
    key: str
    message: Message


class Publisher(Protocol):
    """What accepts events."""

    async def publish(self, topic: str, tenant: str, events: Sequence[Outgoing]) -> None:
        """Returns once every event is acknowledged. Raises Unavailable; some may be written all the same."""


class KafkaPublisher:
    """`Publisher` over one producer: the events of a request are handed over in their order, then awaited together."""

    def __init__(self, producer: EventProducer) -> None:
        self._producer = producer

    async def publish(self, topic: str, tenant: str, events: Sequence[Outgoing]) -> None:
        """Returns once every event is acknowledged by all in-sync replicas. Raises Unavailable."""
        envelopes = [self._producer.envelope(event.message, tenant, event.event_id) for event in events]
        pending = await asyncio.to_thread(self._hand_over, topic, events, envelopes)
        # Shielded: a request that gives up must not cancel what the producer is still going to settle.
        await asyncio.gather(*(asyncio.shield(asyncio.wrap_future(event.outcome)) for event in pending))

    def _hand_over(self, topic: str, events: Sequence[Outgoing], envelopes: Sequence[Envelope]) -> list[Pending]:
        pending = []
        for event, envelope in zip(events, envelopes, strict=True):
            begun = self._producer.begin(topic, event.key, event.message.SerializeToString(), envelope)
            if begun.outcome.done():
                # Refused at once, after a wait where no broker answers: the next would wait as long again.
                begun.outcome.result()
            pending.append(begun)
        return pending
