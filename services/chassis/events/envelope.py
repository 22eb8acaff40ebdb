"""What travels around a message: CloudEvents 1.0 attributes in Kafka headers (binary mode), and the trace.

CloudEvents' Kafka binding writes the attributes as `ce_<name>` headers and the data's type as `content-type`. The
tenant is an extension attribute. `traceparent` is W3C Trace Context's own header, which OpenTelemetry reads and writes.
"""

import os
import time as clock
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar

from google.protobuf.message import DecodeError, Message

CONTENT_TYPE = "application/protobuf"
SPEC_VERSION = "1.0"

M = TypeVar("M", bound=Message)
M_co = TypeVar("M_co", bound=Message, covariant=True)
Headers = list[tuple[str, bytes]]


class PoisonMessage(Exception):
    """This message can never be handled, however often it is tried: it goes to the dead-letter topic at once."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Envelope:
    """Who says what about a message. `id` is what consumers deduplicate by; a replay keeps it."""

    id: str
    type: str
    source: str
    tenant: str
    time: datetime
    traceparent: str = ""

    def to_headers(self) -> Headers:
        """The Kafka headers of this envelope."""
        texts = {
            "ce_specversion": SPEC_VERSION,
            "ce_id": self.id,
            "ce_type": self.type,
            "ce_source": self.source,
            "ce_time": self.time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "ce_tenant": self.tenant,
            "content-type": CONTENT_TYPE,
            "traceparent": self.traceparent,
        }
        return [(name, text.encode()) for name, text in texts.items() if text]

    @classmethod
    def from_headers(cls, headers: Iterable[tuple[str, bytes]]) -> "Envelope":
        """Reads the headers of a message. Raises PoisonMessage, naming the header that is missing or wrong."""
        texts = {name: value.decode(errors="replace") for name, value in headers if value is not None}
        for name in ("ce_id", "ce_type", "ce_source", "ce_time", "ce_tenant"):
            if not texts.get(name):
                raise PoisonMessage(f"header {name}: missing")
        if texts.get("ce_specversion") != SPEC_VERSION:
            raise PoisonMessage(f"header ce_specversion: must be {SPEC_VERSION}, is {texts.get('ce_specversion')!r}")
        if texts.get("content-type") != CONTENT_TYPE:
            raise PoisonMessage(f"header content-type: must be {CONTENT_TYPE}, is {texts.get('content-type')!r}")
        try:
            time = datetime.fromisoformat(texts["ce_time"])
        except ValueError:
            raise PoisonMessage(f"header ce_time: not an RFC 3339 time: {texts['ce_time']!r}") from None
        return cls(
            id=texts["ce_id"],
            type=texts["ce_type"],
            source=texts["ce_source"],
            tenant=texts["ce_tenant"],
            time=time if time.tzinfo else time.replace(tzinfo=UTC),
            traceparent=texts.get("traceparent", ""),
        )


@dataclass(frozen=True, slots=True)
class Event(Generic[M_co]):
    """A message as its handler gets it. `attempts` counts this one: 1 is the first."""

    topic: str
    partition: int
    offset: int
    key: str
    envelope: Envelope
    message: M_co
    attempts: int = 1


def decode(message_class: type[M], envelope: Envelope, value: bytes | None) -> M:
    """The typed message. Raises PoisonMessage where the value is of another type, or is no message of this type.

    Unknown fields are kept, so that an older consumer reads what a newer producer wrote.
    """
    expected = message_class.DESCRIPTOR.full_name
    if envelope.type != expected:
        raise PoisonMessage(f"header ce_type: this topic carries {expected}, not {envelope.type}")
    if value is None:
        raise PoisonMessage("the value is a tombstone, and this topic has none: a removal is an event of its own")
    message = message_class()
    try:
        message.ParseFromString(value)
    except DecodeError as error:
        raise PoisonMessage(f"the value is no {expected}: {error}") from None
    return message


def new_event_id() -> str:
    """A UUIDv7 (RFC 9562): 48 bits of milliseconds, then chance, so that ids sort by the time they were made."""
    milliseconds = clock.time_ns() // 1_000_000
    chance = int.from_bytes(os.urandom(10), "big")
    high, low = chance >> 68, chance & ((1 << 62) - 1)
    return str(uuid.UUID(int=(milliseconds << 80) | (0x7 << 76) | (high << 64) | (0b10 << 62) | low))
