"""What was measured, as Markdown."""

from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median

from infra.bench.inference.load import Measurement


def render(measurements: list[Measurement], bare: dict[str, float], failed: dict[str, str]) -> str:
    """One table of all cells (the median of the rounds), one of what a call costs over a bare run, one of ratios."""
    parts = [_cells(measurements), _overhead(measurements, bare), _ratios(measurements)]
    parts += [f"Not measured: {name}: {why}" for name, why in failed.items()]
    return "\n\n".join(parts)


def processor() -> str:
    """What the processor calls itself."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown processor"


def _cells(measurements: list[Measurement]) -> str:
    rows = [
        "| model | callers | server | p50 ms | p99 ms | calls/s | CPU s / 1,000 calls | RSS MiB | PSS MiB | n |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for case, concurrency, server, group in _groups(measurements):
        columns = (
            f"{_middle(group, lambda m: m.p50_ms):.2f}",
            f"{_middle(group, lambda m: m.p99_ms):.2f}",
            f"{_middle(group, lambda m: m.calls_a_second):,.0f}",
            f"{_middle(group, lambda m: m.cpu_seconds_a_thousand):.3f}",
            f"{_middle(group, lambda m: m.rss_mib):.0f}",
            f"{_middle(group, lambda m: m.pss_mib):.0f}",
            f"{sum(m.calls for m in group):,}",
        )
        rows.append(f"| {case} | {concurrency} | {server} | {' | '.join(columns)} |")
    return "\n".join(rows)


def _overhead(measurements: list[Measurement], bare: dict[str, float]) -> str:
    rows = [
        "| server | model | bare run ms | empty call ms | call ms | call − empty − bare ms |",
        "|---|---|---|---|---|---|",
    ]
    for server in dict.fromkeys(m.server for m in measurements):
        empty = _middle(_of(measurements, server, "empty", 1), lambda m: m.p50_ms)
        for case, run in bare.items():
            call = _middle(_of(measurements, server, case, 1), lambda m: m.p50_ms)
            rows.append(f"| {server} | {case} | {run:.3f} | {empty:.3f} | {call:.3f} | {call - empty - run:.3f} |")
    return "\n".join(rows)


def _ratios(measurements: list[Measurement]) -> str:
    """Each peer against `casebook` at 32 callers: its CPU and its throughput, as multiples of ours."""
    rows = ["| model, 32 callers | peer | its CPU / ours | our calls/s / its |", "|---|---|---|---|"]
    for case in dict.fromkeys(m.case for m in measurements if m.case != "empty"):
        ours = _of(measurements, "casebook", case, 32)
        for peer in dict.fromkeys(m.server for m in measurements if m.server != "casebook"):
            theirs = _of(measurements, peer, case, 32)
            if ours and theirs:
                cpu = _middle(theirs, lambda m: m.cpu_seconds_a_thousand) / _middle(
                    ours, lambda m: m.cpu_seconds_a_thousand
                )
                speed = _middle(ours, lambda m: m.calls_a_second) / _middle(theirs, lambda m: m.calls_a_second)
                rows.append(f"| {case} | {peer} | {cpu:.2f} | {speed:.2f} |")
    return "\n".join(rows)


def _groups(measurements: list[Measurement]) -> Iterable[tuple[str, int, str, list[Measurement]]]:
    for case, concurrency in dict.fromkeys((m.case, m.concurrency) for m in measurements):
        for server in dict.fromkeys(m.server for m in measurements):
            group = _of(measurements, server, case, concurrency)
            if group:
                yield case, concurrency, server, group


def _of(measurements: list[Measurement], server: str, case: str, concurrency: int) -> list[Measurement]:
    key = (server, case, concurrency)
    return [m for m in measurements if (m.server, m.case, m.concurrency) == key]


def _middle(group: list[Measurement], value: Callable[[Measurement], float]) -> float:
    return median(value(measurement) for measurement in group)
