"""A run as tables for people and as JSON for programs."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self, TextIO

import psutil
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from loadtests import knee, saturation
from loadtests.saturation import Observed, Reasons
from loadtests.slos import Slo, Verdict, judge
from loadtests.steps import Step, Tallies
from loadtests.telemetry import Activity

OBJECTIVES = ("p50_ms", "p99_ms", "error_rate")


@dataclass(frozen=True, slots=True)
class Run:
    """What one run measured, and what follows from it."""

    steps: tuple[Step, ...]
    observed: tuple[Observed | None, ...]
    verdicts: tuple[Verdict, ...]
    """On the first step; on everything, where the run was too short to have one."""
    ramp: knee.Ramp | None
    reasons: Reasons | None
    failures: Mapping[str, int]

    @classmethod
    def of(
        cls,
        slos: Mapping[str, Slo],
        steps: Sequence[Step],
        activities: Sequence[Activity | None],
        generator: Sequence[float],
        everything: Tallies,
        failures: Mapping[str, int],
    ) -> Self:
        """Judges it and looks for reasons."""
        observed = tuple(
            Observed(step, activity, cores) if activity else None
            for step, activity, cores in zip(steps, activities, generator, strict=True)
        )
        verdicts = tuple(judge(slos, steps[0].endpoints if steps else everything))
        ramp = knee.find(steps, slos) if steps else None
        reasons = _reasons(ramp, observed) if ramp else None
        return cls(tuple(steps), observed, verdicts, ramp, reasons, failures)

    @property
    def holds(self) -> bool:
        """Whether something was asked, and every promise kept."""
        return bool(self.verdicts) and all(verdict.holds for verdict in self.verdicts)

    def as_json(self) -> dict[str, Any]:
        """summary.json."""
        ramp = self.ramp
        return {
            "ended_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": {"cores": psutil.cpu_count(), "architecture": platform.machine(), "load": os.getloadavg()[0]},
            "holds": self.holds,
            "slos": [verdict.as_json() for verdict in self.verdicts],
            "steps": [self._step_json(place) for place in range(len(self.steps))],
            "knee": ramp.knee if ramp else None,
            "knee_reached": ramp.knee_reached if ramp else False,
            "saturated": ramp.saturated if ramp else None,
            "capacity": ramp.capacity if ramp else None,
            "reasons": self.reasons.as_json() if self.reasons else None,
            "failures": dict(self.failures),
        }

    def _step_json(self, place: int) -> dict[str, Any]:
        seen = self.observed[place]
        step = self.steps[place].as_json()
        step["kept_share"] = round(knee.kept_share(self.steps, place), 3)
        if seen:
            throughput = self.steps[place].throughput
            step |= seen.activity.as_json() | {"cores": {name: round(cores, 4) for name, cores in seen.cores.items()}}
            if throughput:
                step["cpu_ms_per_request"] = {
                    name: round(cores / throughput * 1000.0, 3) for name, cores in seen.cores.items()
                }
        return step


def keep(run: Run, where: str, output: TextIO) -> None:
    """Writes summary.json: to a file, or as one line of `output` for "-": a container leaves its log alone."""
    if where == "-":
        output.write(json.dumps(run.as_json()) + "\n")
        return
    file = Path(where)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(run.as_json(), indent=2) + "\n", encoding="utf-8")


def show(run: Run, console: Console) -> None:
    """Prints everything."""
    if len(run.steps) > 1:
        _show_steps(run, console)
    if run.reasons:
        _show_reasons(run.reasons, console)
    if run.failures:
        _show_failures(run.failures, console)
    _show_verdicts(run, console)


def _show_steps(run: Run, console: Console) -> None:
    ramp = run.ramp
    assert ramp is not None
    table = Table(title="The ramp", title_justify="left", box=None, padding=(0, 2, 0, 0))
    columns = ("users", "offered/s", "answered/s", "± %", "of the rise", "mean ms", "± %", "p99 ms", "failed %")
    for column in (*columns, "power", "busy cores", ""):
        table.add_column(column, justify="left" if not column else "right")
    for place, (step, seen) in enumerate(zip(run.steps, run.observed, strict=True)):
        marks = {"knee": ramp.knee if ramp.knee_reached else None, "saturated": ramp.saturated}
        marks["all SLOs held up to here"] = ramp.capacity
        table.add_row(
            str(step.users),
            f"{knee.offered(run.steps, place):.1f}",
            f"{step.throughput:.1f}",
            f"{step.throughput_noise * 100:.1f}",
            f"{knee.kept_share(run.steps, place):.2f}" if place else "",
            f"{step.all.mean_ms:.1f}",
            f"{step.mean_noise * 100:.1f}",
            f"{step.all.percentile_ms(0.99):.0f}",
            f"{step.all.error_rate * 100:.2f}",
            f"{step.power:.0f}",
            f"{seen.activity.machine_cores:.2f}" if seen else "",
            ", ".join(name for name, marked in marks.items() if marked == place),
        )
    console.print(table)
    if not ramp.knee_reached:
        console.print("No knee yet: the last step has the greatest power.")
    elif ramp.knee == 0:
        console.print("The knee may be below the first step: begin with fewer --design-users to see it.")
    console.print(
        "[dim]offered: as if answers stayed as quick as in the first step; of the rise: what a step kept of the "
        "offered load that it added; power: answered / mean (Kleinrock)[/]"
    )


def _show_reasons(reasons: Reasons, console: Console) -> None:
    light, heavy = reasons.light, reasons.heavy
    users = f"{light.step.users} users" if light is heavy else f"{light.step.users} users, then {heavy.step.users}"
    console.print(f"\n[bold]Where, and why[/] ({users})")
    for line in reasons.lines:
        console.print(f"  • {escape(line)}", highlight=False)
    table = Table(title="\nCPU", title_justify="left", box=None, padding=(0, 2, 0, 0))
    for column in ("process", "cores", "then", "ms a request", "then "):
        table.add_column(column, justify="left" if column == "process" else "right")
    for name, cores in sorted(heavy.cores.items(), key=lambda pair: -pair[1]):
        if name in light.cores and cores >= 0.005:
            costs = (_per_request(light, name), _per_request(heavy, name))
            table.add_row(name, f"{light.cores[name]:.2f}", f"{cores:.2f}", *costs)
    everyone = [f"{seen.activity.machine_cores:.2f}" for seen in (light, heavy)]
    table.add_row(f"the machine, of {reasons.machine_cores}", *everyone)
    console.print(table)
    for endpoint, grown in reasons.grown.items():
        table = Table(title=f"\nThe way of {endpoint}", title_justify="left", box=None, padding=(0, 2, 0, 0))
        for column in ("layer", "mean ms", "then", "its own growth", "in flight then"):
            table.add_column(column, justify="left" if column == "layer" else "right")
        for each in grown:
            table.add_row(
                "  " * each.heavy.depth + each.heavy.name,
                f"{each.light.mean_ms:.1f}",
                f"{each.heavy.mean_ms:.1f}",
                f"{each.own_growth_ms:+.1f}",
                f"{each.heavy.in_flight:.1f}",
            )
        console.print(table)


def _show_failures(failures: Mapping[str, int], console: Console) -> None:
    console.print("\n[bold]Failures[/]")
    for what, count in sorted(failures.items(), key=lambda pair: -pair[1])[:10]:
        console.print(f"  {count} × {escape(what[:300])}", highlight=False)


def _show_verdicts(run: Run, console: Console) -> None:
    of = f"{run.steps[0].users} users, {run.steps[0].seconds:.0f} s" if run.steps else "a short run, its start included"
    table = Table(title=f"\nSLOs: {of}", title_justify="left", box=None, padding=(0, 2, 0, 0))
    for column in ("endpoint", "n", *OBJECTIVES, ""):
        table.add_column(column, justify="left" if column in ("endpoint", "") else "right")
    for endpoint, promises in _by_endpoint(run.verdicts).items():
        cells = [_cell(promises[name]) if name in promises else "" for name in OBJECTIVES]
        remarks = "; ".join(each.remark for each in promises.values() if each.remark)
        n = next(iter(promises.values())).requests
        table.add_row(escape(endpoint), str(n), *cells, f"[dim]{remarks}[/]")
    console.print(table)
    missed = sum(not verdict.holds for verdict in run.verdicts)
    if not run.verdicts:
        console.print("[red bold]Nothing was asked[/]")
    elif missed:
        console.print(f"[red bold]{missed} of {len(run.verdicts)} objectives do not hold[/]")
    else:
        console.print(f"[green bold]All {len(run.verdicts)} objectives hold[/]")


def _by_endpoint(verdicts: Sequence[Verdict]) -> dict[str, dict[str, Verdict]]:
    grouped: dict[str, dict[str, Verdict]] = {}
    for verdict in verdicts:
        grouped.setdefault(verdict.endpoint, {})[verdict.objective] = verdict
    return grouped


def _cell(verdict: Verdict) -> str:
    """Measured beside its limit: "21 ≤ 50 ✓"."""
    colour, sign, mark = ("green", "≤", "✓") if verdict.holds else ("red", ">", "✗")
    return f"[{colour}]{round(verdict.measured, 4):g} {sign} {verdict.limit:g} {mark}[/]"


def _reasons(ramp: knee.Ramp, observed: Sequence[Observed | None]) -> Reasons | None:
    """Between the first step and the saturated one; the last, where none was."""
    seen = [place for place, each in enumerate(observed) if each]
    if not seen:
        return None
    wanted = len(observed) - 1 if ramp.saturated is None else ramp.saturated
    light, heavy = observed[seen[0]], observed[max((place for place in seen if place <= wanted), default=seen[0])]
    assert light is not None
    assert heavy is not None
    return saturation.explain(light, heavy)


def _per_request(seen: Observed, name: str) -> str:
    throughput = seen.step.throughput
    return f"{seen.cores[name] / throughput * 1000.0:.2f}" if throughput else ""
