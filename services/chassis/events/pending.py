"""An event on its way to the broker, and what came of it."""

import time
from concurrent.futures import Future
from typing import Any

from kafka.errors import KafkaError
from opentelemetry.trace import Span, StatusCode

from chassis.errors import CasebookError, Unavailable
from chassis.events import metrics

SLACK_SECONDS = 5.0
"""kafka-python fails every record at its deadline; past this much more, it is not waited for."""


class Pending:
    """Settles once, acknowledged or failed in our own errors; ends the event's span and records its metrics then."""

    def __init__(self, topic: str, deadline: float, span: Span | None = None) -> None:
        self.outcome: Future[None] = Future()
        self._topic = topic
        self._deadline = deadline
        self._span = span
        self._started = time.monotonic()

    def wait(self) -> None:
        """Blocks until it is settled. Raises Unavailable, LimitExceeded."""
        try:
            self.outcome.result(timeout=self._deadline + SLACK_SECONDS)
        except TimeoutError:
            raise Unavailable("kafka", f"{self._topic}: the client did not settle within its own deadline") from None

    def succeed(self, metadata: Any) -> None:
        """The broker has acknowledged."""
        if self._span is not None:
            self._span.set_attribute("messaging.destination.partition.id", str(metadata.partition))
            self._span.set_attribute("messaging.kafka.offset", metadata.offset)
        self._settle("published")
        self.outcome.set_result(None)

    def fail(self, error: Exception) -> None:
        """There is no acknowledgement, or the event was refused before it was sent."""
        if isinstance(error, KafkaError):
            why = str(error) or type(error).__name__
            translated: Exception = Unavailable("kafka", f"{self._topic}: {why}", retry_after_seconds=1.0)
            translated.__cause__ = error
        else:
            translated = error
        if self._span is not None:
            self._span.record_exception(translated)
            self._span.set_status(StatusCode.ERROR, str(translated))
        self._settle("refused" if isinstance(error, CasebookError) else "failed")
        self.outcome.set_exception(translated)

    def _settle(self, outcome: str) -> None:
        metrics.publish_duration.record(time.monotonic() - self._started, {"topic": self._topic, "outcome": outcome})
        if self._span is not None:
            self._span.end()
