"""Where a system saturated, and why: what its own telemetry says of a light step and of a heavy one."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psutil

from loadtests.paths import PATHS, Layer, Timer, layers, unseen
from loadtests.steps import Step
from loadtests.telemetry import Activity

FULL_SHARE = 0.9
"""Of the machine's cores: above it work waits for a core, whatever the work is."""
FULL_PROCESS_CORES = 0.85
"""A Python process computes on one core (the GIL). This busy, its event loop has a queue: at 85 % a call waits nearly
six times as long as at 50 % (M/M/1: 0.85 / 0.15 against 0.5 / 0.5)."""
BEHIND_SECONDS = 15.0
"""A consumer that is further behind what is published does not keep up. (The sink writes a file every 10 s.)"""
GENERATOR = "load generator"


@dataclass(frozen=True, slots=True)
class Observed:
    """A step with what the system said of itself in it."""

    step: Step
    activity: Activity
    generator_cores: float

    @property
    def cores(self) -> dict[str, float]:
        """By process, all replicas of one together, the load generator's included."""
        return {**self.activity.cores, GENERATOR: self.generator_cores}

    @property
    def other_cores(self) -> float:
        """Used by what is none of ours, where everything runs on this machine."""
        return max(0.0, self.activity.machine_cores - sum(self.cores.values()))


@dataclass(frozen=True, slots=True)
class Grown:
    """A layer in both steps, and how much of a request's growth came about in it."""

    light: Layer
    heavy: Layer

    @property
    def own_growth_ms(self) -> float:
        """What it takes more by itself."""
        return self.heavy.own_ms - self.light.own_ms


@dataclass(frozen=True, slots=True)
class Reasons:
    """What was found."""

    light: Observed
    heavy: Observed
    machine_cores: int
    grown: Mapping[str, Sequence[Grown]]
    """By endpoint, from the outside in."""
    lines: tuple[str, ...]
    """In words, the most telling first."""

    def as_json(self) -> dict[str, Any]:
        """For summary.json."""
        return {
            "lines": list(self.lines),
            "machine_cores": self.machine_cores,
            "layers": {
                endpoint: [
                    {
                        "layer": each.heavy.name,
                        "depth": each.heavy.depth,
                        "light_ms": round(each.light.mean_ms, 3),
                        "heavy_ms": round(each.heavy.mean_ms, 3),
                        "own_growth_ms": round(each.own_growth_ms, 3),
                        "in_flight": round(each.heavy.in_flight, 2),
                    }
                    for each in grown
                ]
                for endpoint, grown in self.grown.items()
            },
        }


def explain(light: Observed, heavy: Observed, machine_cores: int | None = None) -> Reasons:
    """What limits the heavy step, by comparison with the light one."""
    cores = machine_cores or psutil.cpu_count() or 1
    grown = {name: found for name, path in PATHS.items() if (found := _grown(name, path, light, heavy))}
    lines = (*_processors(heavy, cores), *_slowest(grown), *_behind(heavy), *_unseen(heavy))
    return Reasons(light, heavy, cores, grown, lines)


def _processors(heavy: Observed, cores: int) -> Iterator[str]:
    busy = heavy.activity.machine_cores
    ranked = sorted(heavy.cores.items(), key=lambda pair: -pair[1])
    shares = ", ".join(f"{name} {used:.2f}" for name, used in ranked if used >= 0.05)
    if busy >= FULL_SHARE * cores:
        others = f"; {heavy.other_cores:.2f} are none of ours" if heavy.other_cores >= 0.05 * cores else ""
        yield f"the machine is full: {busy:.2f} of {cores} cores are busy ({shares}{others})"
    else:
        yield f"the machine is not full: {busy:.2f} of {cores} cores are busy ({shares})"
    for name, used in ranked:
        replicas = heavy.activity.replicas.get(name, 1)
        if used / replicas < FULL_PROCESS_CORES:
            continue
        if name in heavy.activity.after.cpu_seconds:  # without /metrics: no process of ours
            yield f"{name} uses {used:.2f} cores: it is full, if one thread does its work (as Redis' does)"
        else:
            advice = "more workers (--processes) are needed" if name == GENERATOR else "one more replica is needed"
            where = f" in {replicas} replicas" if replicas > 1 else ""
            yield f"{name} is full: it uses {used:.2f} cores{where}, and a Python process has one; {advice}"
    if ranked and heavy.step.throughput:
        name, used = next(pair for pair in ranked if pair[0] != GENERATOR or len(ranked) == 1)
        per_request = used / heavy.step.throughput * 1000.0
        yield f"the busiest process is {name}: {per_request:.1f} ms of CPU for each request of the mix"


def _slowest(grown: Mapping[str, Sequence[Grown]]) -> Iterator[str]:
    for endpoint, found in grown.items():
        whole = found[0].heavy.mean_ms - found[0].light.mean_ms
        worst = max(found, key=lambda each: each.own_growth_ms)
        if whole <= 0 or worst.own_growth_ms <= 0:
            continue
        yield (
            f"{endpoint} takes {found[0].heavy.mean_ms:.0f} ms in place of {found[0].light.mean_ms:.0f}; most of it, "
            f"{worst.own_growth_ms:.0f} ms, came about in: {worst.heavy.name}"
        )


def _behind(heavy: Observed) -> Iterator[str]:
    for (group, topic), lag in heavy.activity.gauge("casebook_consumer_lag", by=("group", "topic")).items():
        published = heavy.activity.count("casebook_event_publish_duration_seconds", {"topic": topic})
        behind = lag / published * heavy.activity.seconds if published > 0 else 0.0
        if behind > BEHIND_SECONDS:
            yield f"the consumer {group} falls behind: {lag:.0f} events of {topic}, {behind:.0f} s of what is published"


def _unseen(heavy: Observed) -> Iterator[str]:
    for endpoint, path in PATHS.items():
        if endpoint in heavy.step.endpoints:
            for timer in unseen(path, heavy.activity):
                labels = ", ".join(f"{name}={value}" for name, value in timer.labels.items())
                yield f"no process shows {timer.metric} ({labels}): is it in --metrics, and as paths.py names it?"


def _grown(endpoint: str, path: Timer, light: Observed, heavy: Observed) -> list[Grown]:
    then = {layer.name: layer for layer in _with_client(endpoint, path, light)}
    now = _with_client(endpoint, path, heavy)
    return [Grown(then[layer.name], layer) for layer in now if layer.name in then]


def _with_client(endpoint: str, path: Timer, observed: Observed) -> list[Layer]:
    """The layers as seen from the outside: around the first timer is what the client waited beyond it."""
    inside = list(layers(path, observed.activity, depth=1))
    seen = observed.step.endpoints.get(endpoint)
    if not inside or seen is None:
        return []
    own = max(0.0, seen.mean_ms - inside[0].mean_ms)
    in_flight = seen.total_ms / 1000.0 / observed.step.seconds
    outside = "client, network, and the wait for the gateway's event loop"
    return [Layer(outside, 0, seen.requests, seen.mean_ms, own, in_flight), *inside]
