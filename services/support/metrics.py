"""What operators see of support: by language, by reason, by version."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from opentelemetry.metrics import CallbackOptions, Observation

from chassis import telemetry
from support.asking import Reply
from support.calibration import Calibration, Calibrations
from support.corpus import Bases
from support.feedback import Feedback
from support.handoff import Handoff, Queue
from support.knowledge import LANGUAGES, KnowledgeBase, Language

CONFIDENCE_BUCKETS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)
WAIT_BUCKETS = (5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 4 * 3600.0, 86_400.0)

_meter = telemetry.meter("casebook.support")
_outcomes = _meter.create_counter(
    "casebook.support.outcomes",
    description="Turns of the bot, by outcome and language, and by whether a part was away.",
)
_confidence = _meter.create_histogram(
    "casebook.support.confidence",
    description="The calibrated probability that the best candidate answers, of each question, by what came of it.",
    explicit_bucket_boundaries_advisory=CONFIDENCE_BUCKETS,
)
_degraded = _meter.create_counter("casebook.support.degraded", description="Parts that could not take part in a turn.")
_stage = telemetry.latency_histogram("casebook.support.stage.duration", "Time of each stage of a turn")
_handoffs = _meter.create_counter("casebook.support.handoffs", description="Hand-offs, by reason and language.")
_waited = _meter.create_histogram(
    "casebook.support.handoff.wait",
    unit="s",
    description="From the request for a person to each claim out of the queue.",
    explicit_bucket_boundaries_advisory=WAIT_BUCKETS,
)
_lasted = _meter.create_histogram(
    "casebook.support.handoff.duration",
    unit="s",
    description="From the request for a person to the resolution.",
    explicit_bucket_boundaries_advisory=WAIT_BUCKETS,
)
_feedback = _meter.create_counter("casebook.support.feedback", description="Verdicts, by source and language.")
_encoded = _meter.create_counter("casebook.support.encoded", description="Questions, by the encoder that read them.")
_vectors = _meter.create_counter(
    "casebook.support.vectors", description="Vectors of phrasings, by encoder: kept from before, or made anew."
)


def took_turn(reply: Reply) -> None:
    """Counts a turn."""
    away = "true" if reply.degraded else "false"
    _outcomes.add(1, {"outcome": reply.outcome.value, "language": reply.language, "degraded": away})
    for part in reply.degraded:
        _degraded.add(1, {"part": part})
    for stage in reply.stages:
        _stage.record(stage.milliseconds / 1000.0, {"stage": stage.name})
    if reply.thresholds is not None:
        _confidence.record(reply.confidence, {"language": reply.language, "outcome": reply.outcome.value})
        for encoder in reply.versions.encoders:
            _encoded.add(1, {"encoder": encoder})


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


def looked_up(encoder: str, kept: int, made: int) -> None:
    """Counts phrasings whose vectors were asked for: those that were kept, and those that the encoder makes now."""
    _vectors.add(kept, {"encoder": encoder, "outcome": "kept"})
    _vectors.add(made, {"encoder": encoder, "outcome": "made"})


class BaseGauges:
    """What is searched of each knowledge base, how far the indexes are behind it, and what its confidence is worth.

    Looked at by the operators' port, from a thread of its own: nothing here writes, or walks through what may grow.
    """

    def __init__(self, bases: Bases, calibrations: Calibrations) -> None:
        self._bases = bases
        self._calibrations = calibrations
        for name, callback, description in (
            ("casebook.support.index.behind", self._behind, "Changes of articles that are not in the indexes yet."),
            ("casebook.support.index.articles", self._articles, "Articles that can be found, by language."),
            ("casebook.support.index.phrasings", self._phrasings, "What articles are found by, by language."),
            ("casebook.support.index.vectors", self._vectors, "Phrasings searched by meaning, by encoder version."),
            ("casebook.support.calibration.ece", self._ece, "Expected calibration error, by cross-validation."),
            ("casebook.support.calibration.questions", self._questions, "Labelled questions that it is fitted to."),
            ("casebook.support.threshold", self._threshold, "Answered from this probability on; above 1 nothing is."),
        ):
            _meter.create_observable_gauge(name, [callback], description=description)

    def _behind(self, _options: CallbackOptions) -> Iterable[Observation]:
        for corpus in self._bases.all():
            yield Observation(max(shelf.pending for shelf in corpus.shelves.values()), _labels(corpus.base))

    def _articles(self, _options: CallbackOptions) -> Iterable[Observation]:
        for corpus in self._bases.all():
            for language, shelf in corpus.shelves.items():
                yield Observation(shelf.articles, _labels(corpus.base, language=language))

    def _phrasings(self, _options: CallbackOptions) -> Iterable[Observation]:
        for corpus in self._bases.all():
            for language, shelf in corpus.shelves.items():
                found = sum(int(each.kept.sum()) for each in shelf.segments)
                yield Observation(found, _labels(corpus.base, language=language))

    def _vectors(self, _options: CallbackOptions) -> Iterable[Observation]:
        for corpus in self._bases.all():
            for language, shelf in corpus.shelves.items():
                for version in shelf.versions():
                    searched = sum(int(each.kept.sum()) for each in shelf.segments if version in each.dense)
                    yield Observation(searched, _labels(corpus.base, language=language, version=version))

    def _ece(self, _options: CallbackOptions) -> Iterable[Observation]:
        for base, language, calibration in self._in_force():
            yield Observation(calibration.ece, _labels(base, language=language))

    def _questions(self, _options: CallbackOptions) -> Iterable[Observation]:
        for base, language, each in self._in_force():
            labels = _labels(base, language=language, version=each.version)
            yield Observation(each.in_scope + each.out_of_scope, labels)

    def _threshold(self, _options: CallbackOptions) -> Iterable[Observation]:
        for base, language, calibration in self._in_force():
            yield Observation(calibration.threshold, _labels(base, language=language))

    def _in_force(self) -> Iterable[tuple[KnowledgeBase, Language, Calibration]]:
        for corpus in self._bases.all():
            for language in LANGUAGES:
                yield corpus.base, language, self._calibrations.read(corpus.base, language)


def _labels(base: KnowledgeBase, **more: str) -> dict[str, str]:
    return {"tenant": base.tenant, "knowledge_base": base.name, **more}


class QueueGauges:
    """How many wait for a person, how many have one, and since when the oldest waits, by tenant."""

    def __init__(self) -> None:
        self._queues: Sequence[Queue] = ()
        for name, callback, unit, description in (
            ("casebook.support.queue.waiting", self._waiting, "", "Customers who wait for a person."),
            ("casebook.support.queue.claimed", self._claimed, "", "Customers whom an agent has."),
            ("casebook.support.queue.oldest", self._oldest, "s", "How long the first of the queue has waited."),
        ):
            _meter.create_observable_gauge(name, [callback], unit, description)

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
