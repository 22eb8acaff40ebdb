"""RED metrics of every topic, and how far a group is behind."""

import time
from collections.abc import Iterable

from opentelemetry.metrics import CallbackOptions, Observation

from chassis import telemetry

_meter = telemetry.meter("casebook.events")

publish_duration = telemetry.latency_histogram(
    "casebook.event.publish.duration",
    "From publish to the broker's acknowledgement, by topic and outcome (published, refused, failed).",
)
process_duration = telemetry.latency_histogram(
    "casebook.event.process.duration",
    "One attempt at an event, or at a batch that is written whole, by topic, group and outcome (done, retried, dead).",
)
event_age = _meter.create_histogram(
    "casebook.event.age",
    unit="s",
    description="From the event's own time to the end of its effect, by topic and group.",
    explicit_bucket_boundaries_advisory=[0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0],
)
dead_letters = _meter.create_counter(
    "casebook.event.dead.letters", description="Events written to a dead-letter topic, by topic and group."
)
skipped = _meter.create_counter(
    "casebook.event.skipped", description="Poison messages that a follower left out, by topic and service."
)

_lag: dict[tuple[str, str, int], tuple[int, float | None]] = {}


def set_lag(group: str, topic: str, partition: int, events: int, oldest: float | None) -> None:
    """Events of the partition whose effect `group` has not had yet, and when the first that it holds was published.

    `oldest` is in seconds since the epoch, None where the group holds none.
    """
    _lag[(group, topic, partition)] = events, oldest


def lag(group: str, topic: str, partition: int) -> int | None:
    """What was measured last; None where this process does not hold the partition."""
    return _lag.get((group, topic, partition), (None,))[0]


def forget_lag(group: str) -> None:
    """The group's partitions may belong to another process now, which reports them."""
    for key in [key for key in _lag if key[0] == group]:
        del _lag[key]


def _observe_lag(_options: CallbackOptions) -> Iterable[Observation]:
    for (group, topic, partition), (events, _) in list(_lag.items()):
        yield Observation(events, {"group": group, "topic": topic, "partition": str(partition)})


def _observe_oldest(_options: CallbackOptions) -> Iterable[Observation]:
    for (group, topic, partition), (_, oldest) in list(_lag.items()):
        age = 0.0 if oldest is None else max(0.0, time.time() - oldest)
        yield Observation(age, {"group": group, "topic": topic, "partition": str(partition)})


_meter.create_observable_gauge(
    "casebook.consumer.lag",
    unit="{event}",
    callbacks=[_observe_lag],
    description="Events that a consumer group has not handled yet, by group, topic and partition.",
)
_meter.create_observable_gauge(
    "casebook.consumer.oldest",
    unit="s",
    callbacks=[_observe_oldest],
    description="How long ago the first event that a group holds was published; looked at every five seconds.",
)
