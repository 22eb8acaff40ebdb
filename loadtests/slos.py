"""The service level objectives of slos.yaml, and the verdict on a step."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from loadtests.steps import Tallies, Tally

SHIPPED = Path(__file__).with_name("slos.yaml")
LATENCY_BUCKETS_MS = (0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000)
"""`chassis.telemetry.LATENCY_BUCKETS`, in milliseconds (a test compares them): importing that takes OpenTelemetry."""
ENOUGH_FOR_P99 = 100
"""With fewer requests a 99th percentile is the slowest one, and says little."""


class SloError(ValueError):
    """A file that holds no SLOs, or wrong ones; says which field of which endpoint, and its limit."""


@dataclass(frozen=True, slots=True)
class Slo:
    """What one endpoint promises."""

    p50_ms: float
    p99_ms: float
    error_rate: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """One promise of one endpoint beside what was measured."""

    endpoint: str
    objective: str
    limit: float
    measured: float
    requests: int
    holds: bool
    remark: str = ""

    def as_json(self) -> dict[str, Any]:
        """For summary.json."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def read(file: Path) -> dict[str, Slo]:
    """The SLOs by endpoint. Raises SloError."""
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise SloError(f"{file}: {error}") from error
    endpoints = content.get("endpoints") if isinstance(content, dict) else None
    if not isinstance(endpoints, dict) or not endpoints:
        raise SloError(f"{file}: endpoints: must be a mapping of at least one endpoint to its promises")
    return {str(name): _slo(f"{file}: endpoints: {name}", given) for name, given in endpoints.items()}


def judge(slos: Mapping[str, Slo], measured: Tallies) -> list[Verdict]:
    """A verdict per promise, for every endpoint that was called.

    What was called without a promise does not hold: it would be load that nobody looks at. What has a promise and was
    not called is left out, so that a run may be of some endpoints alone.
    """
    return [verdict for name, tally in sorted(measured.items()) for verdict in _verdicts(name, slos.get(name), tally)]


def _verdicts(endpoint: str, slo: Slo | None, tally: Tally) -> Iterator[Verdict]:
    n = tally.requests
    if slo is None:
        yield Verdict(endpoint, "slo", 0, 0, n, holds=False, remark="has no SLO in the file")
        return
    few = f"of {n} requests only" if n < ENOUGH_FOR_P99 else ""
    for objective, limit, value, remark in (
        ("p50_ms", slo.p50_ms, tally.percentile_ms(0.5), ""),
        ("p99_ms", slo.p99_ms, tally.percentile_ms(0.99), few),
        ("error_rate", slo.error_rate, tally.error_rate, ""),
    ):
        yield Verdict(endpoint, objective, limit, value, n, value <= limit, remark)


def _slo(where: str, given: object) -> Slo:
    if not isinstance(given, dict):
        raise SloError(f"{where}: must be a mapping of p50_ms, p99_ms and error_rate, is {given!r}")
    names = {field.name for field in fields(Slo)}
    for name in sorted(names ^ set(given)):
        raise SloError(f"{where}: {name}: " + ("is missing" if name in names else f"is none of {sorted(names)}"))
    for name in ("p50_ms", "p99_ms"):
        if _not_a_number(given[name]) or given[name] not in LATENCY_BUCKETS_MS:
            allowed = ", ".join(f"{bucket:g}" for bucket in LATENCY_BUCKETS_MS)
            raise SloError(f"{where}: {name}: must be a boundary of the histograms ({allowed}), is {given[name]!r}")
    if given["p99_ms"] < given["p50_ms"]:
        raise SloError(f"{where}: p99_ms: must be at least p50_ms ({given['p50_ms']:g}), is {given['p99_ms']:g}")
    if _not_a_number(given["error_rate"]) or not 0 <= given["error_rate"] <= 1:
        raise SloError(f"{where}: error_rate: must be from 0 to 1, is {given['error_rate']!r}")
    return Slo(**given)


def _not_a_number(value: object) -> bool:
    return isinstance(value, bool) or not isinstance(value, int | float)
