"""Two runs side by side: what a change did, beside how much the figures vary without one."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

SURE = 2.0
"""A ratio is said to differ when it is further from 1 than so many standard errors of it."""

Summary = Mapping[str, Any]


class NoRunError(Exception):
    """There is no such run."""

    def __init__(self, name: str, file: Path) -> None:
        super().__init__(f"no run {name!r}: there is no {file}")


def read(name: str, runs: Path) -> Summary:
    """The summary of a run, by its name in `runs` or by its folder. Raises NoRunError."""
    folder = Path(name) if Path(name).is_dir() else runs / name
    file = folder / "summary.json"
    if not file.exists():
        raise NoRunError(name, file)
    summary: Summary = json.loads(file.read_text(encoding="utf-8"))
    return summary


def ratio(before: float, after: float, noise_before: float = 0.0, noise_after: float = 0.0) -> str:
    """After over before with its standard error, and whether that is more than noise: "0.82 ± 0.03 ▼"."""
    if not before:
        return ""
    value = after / before
    error = value * math.hypot(noise_before, noise_after)
    if not error:
        return f"{value:.2f}"
    mark = "≈" if abs(value - 1) <= SURE * error else "▲" if value > 1 else "▼"
    return f"{value:.2f} ± {error:.2f} {mark}"


def show(before: Summary, after: Summary, console: Console) -> None:
    """Prints the steps that both runs have, the endpoints and the processes of the first, and what the ramps found."""
    console.print(_steps(before, after))
    first = (before["steps"][0], after["steps"][0])
    console.print(_endpoints(*first))
    if all("cpu_ms_per_request" in step for step in first):
        console.print(_processes(*first))
    console.print(_findings(before, after))
    loads = [max((step.get("load_average", 0.0) for step in run["steps"]), default=0.0) for run in (before, after)]
    console.print(
        f"[dim]±: standard error over the windows of a step. ≈: within {SURE:g} of them. What differs from run to run "
        f"(other work on the machine: load average up to {loads[0]:g} and {loads[1]:g}) is not in it: repeat a run to "
        "see it.[/]"
    )


def _steps(before: Summary, after: Summary) -> Table:
    table = _table("Steps", "users", "answered/s", "after", "ratio", "mean ms", "after ", "ratio ", "p99 ms", "after  ")
    later = {step["users"]: step for step in after["steps"]}
    for step in before["steps"]:
        if (other := later.get(step["users"])) is None:
            continue
        was, now = step["all"], other["all"]
        table.add_row(
            str(step["users"]),
            f"{step['throughput']:.1f}",
            f"{other['throughput']:.1f}",
            ratio(step["throughput"], other["throughput"], step["throughput_noise"], other["throughput_noise"]),
            f"{was['mean_ms']:.1f}",
            f"{now['mean_ms']:.1f}",
            ratio(was["mean_ms"], now["mean_ms"], step["mean_noise"], other["mean_noise"]),
            f"{was['p99_ms']:.0f}",
            f"{now['p99_ms']:.0f}",
        )
    return table


def _endpoints(before: Summary, after: Summary) -> Table:
    table = _table(f"\nEndpoints at {before['users']} users", "endpoint", "n", "p50 ms", "after", "p99 ms", "after ")
    for name, was in before["endpoints"].items():
        if now := after["endpoints"].get(name):
            requests = f"{was['requests']}, {now['requests']}"
            times = [f"{run[key]:.0f}" for key in ("p50_ms", "p99_ms") for run in (was, now)]
            table.add_row(name, requests, *times)
    return table


def _processes(before: Summary, after: Summary) -> Table:
    title = f"\nCPU for each request of the mix at {before['users']} users, in milliseconds"
    table = _table(title, "process", "before", "after", "ratio")
    costs = (before["cpu_ms_per_request"], after["cpu_ms_per_request"])
    for name in sorted(costs[0], key=lambda name: -costs[0][name]):
        if name in costs[1]:
            table.add_row(name, *(f"{cost[name]:.2f}" for cost in costs), ratio(costs[0][name], costs[1][name]))
    totals = [sum(cost.values()) for cost in costs]
    table.add_row("together", *(f"{total:.2f}" for total in totals), ratio(*totals))
    return table


def _findings(before: Summary, after: Summary) -> Table:
    table = _table("\nFound by the ramps", "", "before", "after")
    for name in ("knee", "saturated", "capacity"):
        table.add_row(name, *(_place(run, name) for run in (before, after)))
    return table


def _place(run: Summary, name: str) -> str:
    place = run[name]
    if place is None or (name == "knee" and not run["knee_reached"]):
        return "not reached" if name != "capacity" else "below the first step"
    step = run["steps"][place]
    return f"{step['users']} users, {step['throughput']:.1f}/s"


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for place, column in enumerate(columns):
        table.add_column(column, justify="right" if place else "left")
    return table
