"""What is counted of each version: Triton's statistics, and the metrics, all labelled with model AND version."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from opentelemetry import trace
from opentelemetry.metrics import CallbackOptions, Observation

from chassis.telemetry import latency_histogram, meter

_meter = meter(__name__)
_duration = latency_histogram(
    "casebook.inference.duration", "Time from a decoded call to its outputs, its wait included"
)
_queue = latency_histogram("casebook.inference.queue", "Time that a call waited for its batch")
_batch_rows = _meter.create_histogram(
    "casebook.inference.batch.rows",
    description="Rows that ran together",
    explicit_bucket_boundaries_advisory=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
)
_failures = _meter.create_counter(
    "casebook.inference.failures", description="Calls that ended in an error, by its code"
)
_shadow = _meter.create_counter("casebook.inference.shadow.calls", description="Shadow calls, by what became of them")
_shadow_difference = _meter.create_histogram(
    "casebook.inference.shadow.difference",
    description="The largest absolute difference between an output of the shadow and of the stable version",
    explicit_bucket_boundaries_advisory=(0.0, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0),
)
_loads = _meter.create_counter("casebook.inference.loads", description="Versions loaded, by whether that worked")


@dataclass(slots=True)
class Duration:
    """How often, and for how long in all."""

    count: int = 0
    ns: int = 0

    def add(self, ns: int) -> None:
        """One more."""
        self.count += 1
        self.ns += ns


@dataclass(slots=True)
class VersionStatistics:
    """What `ModelStatistics` reports of one version, since it was loaded. Times are in nanoseconds.

    `queue`, `compute_*` count calls; `batches` counts runs by their rows. A call's compute time is its whole batch's.
    """

    model: str
    version: str
    last_inference_ms: int = 0
    rows: int = 0
    success: Duration = field(default_factory=Duration)
    fail: Duration = field(default_factory=Duration)
    queue: Duration = field(default_factory=Duration)
    compute_input: Duration = field(default_factory=Duration)
    compute_infer: Duration = field(default_factory=Duration)
    compute_output: Duration = field(default_factory=Duration)
    batches: dict[int, Duration] = field(default_factory=dict)
    labels: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.labels = {"model": self.model, "version": self.version}

    @property
    def executions(self) -> int:
        """Runs of the model."""
        return sum(duration.count for duration in self.batches.values())

    def batch_ran(self, rows: int, compute_ns: int) -> None:
        """One run of the model."""
        ran = self.batches.get(rows)
        if ran is None:
            ran = self.batches[rows] = Duration()
        ran.add(compute_ns)
        _batch_rows.record(rows, self.labels)

    def succeeded(self, rows: int, input_ns: int, queue_ns: int, infer_ns: int, output_ns: int) -> None:
        """One call that was answered, by where its time went."""
        total = input_ns + queue_ns + infer_ns + output_ns
        self.last_inference_ms = time.time_ns() // 1_000_000
        self.rows += rows
        self.success.add(total)
        self.queue.add(queue_ns)
        self.compute_input.add(input_ns)
        self.compute_infer.add(infer_ns)
        self.compute_output.add(output_ns)
        _duration.record(total / 1e9, self.labels)
        _queue.record(queue_ns / 1e9, self.labels)

    def failed(self, ns: int, code: str) -> None:
        """One call that was not."""
        self.fail.add(ns)
        _failures.add(1, {**self.labels, "code": code})


def annotate(model: str, version: str, batch_rows: int, queue_ns: int, infer_ns: int) -> None:
    """Says on the running span which version answered, and where the time went."""
    span = trace.get_current_span()
    if span.is_recording():
        span.set_attributes(
            {
                "casebook.model": model,
                "casebook.version": version,
                "casebook.batch_rows": batch_rows,
                "casebook.queue_ms": queue_ns / 1e6,
                "casebook.compute_ms": infer_ns / 1e6,
            }
        )


def loaded(model: str, version: str, ok: bool) -> None:
    """A version was loaded, or could not be."""
    _loads.add(1, {"model": model, "version": version, "outcome": "ok" if ok else "failed"})


def shadow_compared(model: str, version: str, difference: float) -> None:
    """A shadow call ran; `difference` is against the stable version's outputs, infinite where their shapes differ."""
    labels = {"model": model, "version": version}
    _shadow.add(1, {**labels, "outcome": "compared"})
    _shadow_difference.record(difference, labels)


def shadow_skipped(model: str, version: str, outcome: str) -> None:
    """A shadow call did not run ("dropped": the machine was busy) or did not end well ("failed")."""
    _shadow.add(1, {"model": model, "version": version, "outcome": outcome})


@dataclass(frozen=True, slots=True)
class ServedNow:
    """One version as the gauges show it."""

    model: str
    version: str
    role: str
    """"stable", "canary", "shadow", or "explicit" for one that answers only when it is named."""
    waiting: int
    generation: int


def watch_served(served: Callable[[], Iterable[ServedNow]]) -> None:
    """Shows what `served()` gives, anew at each scrape, as gauges. Once a process."""

    def versions(_: CallbackOptions) -> list[Observation]:
        return [Observation(1, {"model": s.model, "version": s.version, "role": s.role}) for s in served()]

    def waiting(_: CallbackOptions) -> list[Observation]:
        return [Observation(s.waiting, {"model": s.model, "version": s.version}) for s in served()]

    def generations(_: CallbackOptions) -> list[Observation]:
        stable = (s for s in served() if s.role == "stable")
        return [Observation(s.generation, {"model": s.model, "version": s.version}) for s in stable]

    _meter.create_observable_gauge("casebook.inference.versions", [versions], description="Versions loaded, by role")
    _meter.create_observable_gauge("casebook.inference.waiting", [waiting], description="Calls in the queue")
    _meter.create_observable_gauge(
        "casebook.inference.release.generation", [generations], description="The release that this replica serves"
    )
