"""Single values."""

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp


def time(timestamp: Timestamp) -> datetime:
    """The moment, in UTC."""
    return timestamp.ToDatetime(tzinfo=UTC)


def decimal(value: float) -> float:
    """A float32 as the decimal number that it stands for: 0.1, not 0.10000000149011612 (7 digits are all it has)."""
    return float(f"{value:.7g}")
