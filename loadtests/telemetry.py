"""What the system says of itself while it is loaded: two looks at every process's /metrics, and the difference.

A look only fetches: parsing the pages takes the load generator half a second of CPU, which is spent at the end.
"""

import os
import socket
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import psutil
from prometheus_client.parser import text_string_to_metric_families

FETCH_SECONDS = 3.0

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]
"""Values by metric and labels."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where to look."""

    metrics: Mapping[str, str]
    """The operators' port, host:port, of each process by name. A host of several addresses is as many replicas."""
    pids: Mapping[str, int]
    """Processes of this machine without such a port, by name: Redis, PostgreSQL."""

    @classmethod
    def parse(cls, metrics: str, pids: str) -> "Sources":
        """Reads "name=host:port,..." and "name=pid,...". Raises ValueError."""
        return cls(_pairs("metrics", metrics), {name: int(pid) for name, pid in _pairs("pids", pids).items()})

    def __bool__(self) -> bool:
        return bool(self.metrics or self.pids)

    def replicas(self) -> Iterator["Replica"]:
        """Each process that has /metrics, as its name resolves now; none of a name that resolves to nothing."""
        for name, address in self.metrics.items():
            host, _, port = address.rpartition(":")
            try:
                found = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
            except OSError:
                continue
            # Of one family: a process that has both an IPv4 and an IPv6 address is one.
            for ip in sorted({str(place[0]) for family, *_, place in found if family == found[0][0]}):
                yield Replica(name, f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}")


class Replica(NamedTuple):
    """One of the processes of a name."""

    name: str
    address: str


@dataclass(frozen=True, slots=True)
class Look:
    """What could be seen at one moment."""

    at: float
    pages: Mapping[Replica, str]
    """/metrics of each process that answered."""
    cpu_seconds: Mapping[str, float]
    """Of the processes that have no such page."""
    machine_busy_seconds: float
    """Of all cores of the machine that looks."""
    load_average: float


def look(sources: Sources) -> Look:
    """Fetches every page. A process that does not answer is left out: it may be down, which the errors will say."""
    pages = {}
    for replica in sources.replicas():
        try:
            with urllib.request.urlopen(f"http://{replica.address}/metrics", timeout=FETCH_SECONDS) as answer:
                pages[replica] = answer.read().decode()
        except OSError:
            continue
    cpu = {name: seconds for name, pid in sources.pids.items() if (seconds := _cpu_seconds(pid)) is not None}
    times = psutil.cpu_times()
    busy = times.user + times.nice + times.system + getattr(times, "irq", 0.0) + getattr(times, "softirq", 0.0)
    return Look(time.monotonic(), pages, cpu, busy, os.getloadavg()[0])


@dataclass(frozen=True)
class Activity:
    """What happened between two looks."""

    before: Look
    after: Look

    @property
    def seconds(self) -> float:
        """Between the looks."""
        return self.after.at - self.before.at

    @property
    def machine_cores(self) -> float:
        """How many cores of the machine that looks were busy, whoever used them."""
        return (self.after.machine_busy_seconds - self.before.machine_busy_seconds) / self.seconds

    @cached_property
    def cores(self) -> dict[str, float]:
        """How many cores the replicas of each process used, the largest first.

        One that was there in one look alone, or was started anew in between, is left out.
        """
        used: dict[str, float] = {}
        for replica, cores in self._replicas.items():
            used[replica.name] = used.get(replica.name, 0.0) + cores
        return dict(sorted(used.items(), key=lambda pair: -pair[1]))

    @cached_property
    def replicas(self) -> Mapping[str, int]:
        """How many processes of each name are in `cores`."""
        return Counter(replica.name for replica in self._replicas)

    def count(self, metric: str, labels: Mapping[str, str]) -> float:
        """How many observations a histogram got, all processes together."""
        return self._growth(f"{metric}_count", labels)

    def total(self, metric: str, labels: Mapping[str, str]) -> float:
        """The sum of what a histogram got."""
        return self._growth(f"{metric}_sum", labels)

    def gauge(self, metric: str, by: tuple[str, str]) -> dict[tuple[str, str], float]:
        """A gauge at the end, by the values of two labels, all processes together."""
        found: dict[tuple[str, str], float] = {}
        for series in self._after.values():
            for (name, labels), value in series.items():
                if name == metric:
                    having = dict(labels)
                    key = (having.get(by[0], ""), having.get(by[1], ""))
                    found[key] = found.get(key, 0.0) + value
        return found

    def as_json(self) -> dict[str, Any]:
        """Of the machine, for summary.json."""
        return {"machine_cores": round(self.machine_cores, 3), "load_average": round(self.after.load_average, 2)}

    def _growth(self, metric: str, labels: Mapping[str, str]) -> float:
        wanted = set(labels.items())

        def value(series: Series) -> float:
            return sum(value for (name, has), value in series.items() if name == metric and wanted <= has)

        # A process that answered one look alone would count for all that it ever did.
        both = self._after.keys() & self._before.keys()
        return sum(value(self._after[process]) - value(self._before[process]) for process in both)

    @cached_property
    def _replicas(self) -> dict[Replica, float]:
        """The cores of each, of those that ran from one look to the other."""
        now, then = self._cpu(self.after, self._after), self._cpu(self.before, self._before)
        used = {replica: (now[replica] - then[replica]) / self.seconds for replica in now if replica in then}
        return {replica: cores for replica, cores in used.items() if cores >= 0}

    @staticmethod
    def _cpu(look: Look, pages: Mapping[Replica, Series]) -> dict[Replica, float]:
        key = ("process_cpu_seconds_total", frozenset[tuple[str, str]]())
        shown = {replica: series[key] for replica, series in pages.items() if key in series}
        return shown | {Replica(name, ""): seconds for name, seconds in look.cpu_seconds.items()}

    @cached_property
    def _before(self) -> dict[Replica, Series]:
        return {replica: parse(page) for replica, page in self.before.pages.items()}

    @cached_property
    def _after(self) -> dict[Replica, Series]:
        return {replica: parse(page) for replica, page in self.after.pages.items()}


def parse(page: str) -> Series:
    """The samples of a /metrics page, but for the buckets."""
    text = "\n".join(line for line in page.splitlines() if "_bucket{" not in line)
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def _cpu_seconds(pid: int) -> float | None:
    """Of a process and those below it; None once it has ended."""
    try:
        process = psutil.Process(pid)
        times = [each.cpu_times() for each in (process, *process.children(recursive=True))]
    except psutil.Error:
        return None
    return float(sum(each.user + each.system for each in times))


def _pairs(option: str, text: str) -> dict[str, str]:
    pairs = {}
    for entry in filter(None, (entry.strip() for entry in text.split(","))):
        name, separator, value = entry.partition("=")
        if not separator or not name or not value:
            raise ValueError(f"--{option}: {entry!r} is not name=value")
        pairs[name] = value
    return pairs
