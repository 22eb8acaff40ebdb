"""What operators see of support: by language, by reason, by version."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from opentelemetry.metrics import CallbackOptions, Observation

from chassis import telemetry
from support.asking import Reply
from support.feedback import Feedback
from support.handoff import Handoff, Queue

CONFIDENCE_BUCKETS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)
WAIT_BUCKETS = (5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 4 * 3600.0, 86_400.0)

_meter = telemetry.meter("casebook.support")
_outcomes = _meter.create_counter(
    "casebook.support.outcomes",
    description="Turns of the bot, by outcome and language, and by whether a part was away.",
)
_confidence = _meter.create_histogram(
    "casebook.support.confidence",
    description="The calibrated probability that the best candidate answers, by language and calibration.",
    explicit_bucket_boundaries_advisory=CONFIDENCE_BUCKETS,
)
_degraded = _meter.create_counter("casebook.support.degraded", description="Parts that could not take part in a turn.")
_stage = telemetry.latency_histogram("casebook.support.stage.duration", "Time of each stage of a turn")
_handoffs = _meter.create_counter("casebook.support.handoffs", description="Hand-offs, by reason and language.")
_waited = _meter.create_histogram(
    "casebook.support.handoff.wait",
    unit="s",
    description="From the request for a person to an agent's first claim.",
    explicit_bucket_boundaries_advisory=WAIT_BUCKETS,
)
_lasted = _meter.create_histogram(
    "casebook.support.handoff.duration",
    unit="s",
    description="From the request for a person to the resolution.",
    explicit_bucket_boundaries_advisory=WAIT_BUCKETS,
)
_feedback = _meter.create_counter("casebook.support.feedback", description="Verdicts, by source and language.")


def took_turn(reply: Reply) -> None:
    """Counts a turn."""
    away = "true" if reply.degraded else "false"
    _outcomes.add(1, {"outcome": reply.outcome.value, "language": reply.language, "degraded": away})
    for part in reply.degraded:
        _degraded.add(1, {"part": part})
    for stage in reply.stages:
        _stage.record(stage.milliseconds / 1000.0, {"stage": stage.name})
    if reply.thresholds is not None:
        _confidence.record(reply.confidence, {"language": reply.language, "calibration": reply.versions.calibration})


def handed_over(handoff: Handoff) -> None:
    """Counts a new hand-off."""
    _handoffs.add(1, {"reason": handoff.reason.value, "language": handoff.summary.language})


def claimed(handoff: Handoff, now: datetime) -> None:
    """Measures how long a customer has waited for a person."""
    _waited.record((now - handoff.requested_at).total_seconds(), {"reason": handoff.reason.value})


def resolved(handoff: Handoff, now: datetime) -> None:
    """Measures how long a hand-off has lasted."""
    _lasted.record((now - handoff.requested_at).total_seconds(), {"reason": handoff.reason.value})


def judged(feedback: Feedback) -> None:
    """Counts a verdict."""
    _feedback.add(1, {"source": feedback.source.value, "language": feedback.evidence.language})


class QueueGauges:
    """How many wait for a person, how many have one, and since when the oldest waits, by tenant."""

    def __init__(self) -> None:
        self._queues: Sequence[Queue] = ()
        for name, description, unit in (
            ("waiting", "Customers who wait for a person.", ""),
            ("claimed", "Customers whom an agent has.", ""),
            ("oldest", "How long the first of the queue has waited.", "s"),
        ):
            _meter.create_observable_gauge(
                f"casebook.support.queue.{name}", [getattr(self, f"_{name}")], unit, description
            )

    def set(self, queues: Sequence[Queue]) -> None:
        """What is observed from now on; a tenant that had a queue and has none any more has one of length 0."""
        gone = {each.tenant for each in self._queues} - {each.tenant for each in queues}
        self._queues = (*queues, *(Queue(tenant, 0, 0, None) for tenant in sorted(gone)))

    def _waiting(self, _options: CallbackOptions) -> Iterable[Observation]:
        return [Observation(each.waiting, {"tenant": each.tenant}) for each in self._queues]

    def _claimed(self, _options: CallbackOptions) -> Iterable[Observation]:
        return [Observation(each.claimed, {"tenant": each.tenant}) for each in self._queues]

    def _oldest(self, _options: CallbackOptions) -> Iterable[Observation]:
        now = datetime.now(UTC)
        for each in self._queues:
            age = 0.0 if each.oldest is None else (now - each.oldest).total_seconds()
            yield Observation(age, {"tenant": each.tenant})
