"""Makes dashboards/*.json of dashboards.yaml, with Grafana's own typed builders (grafana-foundation-sdk).

`python infra/grafana/dashboards.py` writes the files; `--check` fails where one of them is not what it would write.
"""

import sys
from pathlib import Path
from typing import Any

import yaml
from grafana_foundation_sdk.builders import dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    VariableRefresh,
)

HERE = Path(__file__).parent
PROMETHEUS = DataSourceRef(type_val="prometheus", uid="prometheus")
COLUMNS, HEIGHT = 24, 7


def board(words: dict[str, Any]) -> dashboard.Dashboard:
    """One dashboard."""
    made = (
        dashboard.Dashboard(f"Casebook: {words['title']}")
        .uid(f"casebook-{words['name']}")
        .tags(["casebook"])
        .time("now-30m", "now")
        .refresh("10s")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .readonly()
        .link(dashboard.DashboardLink("Casebook").type(DashboardLinkType.DASHBOARDS).tags(["casebook"]))
        .annotation(faults())
    )
    if words.get("by_service"):
        made = made.with_variable(
            dashboard.QueryVariable("service")
            .label("Service")
            .query('label_values(up{job="casebook"}, service)')
            .datasource(PROMETHEUS)
            .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
            .include_all(include_all=True)
            .all_value(".*")
        )
    for row in words["rows"]:
        made = made.with_row(dashboard.Row(row["title"]))
        panels = [panel for each in row["panels"] for panel in (red(each) if "red" in each else [each])]
        for panel in panels:
            made = made.with_panel(graph(panel).span(COLUMNS // len(panels)).height(HEIGHT))
    return made


def faults() -> dashboard.AnnotationQuery:
    """Marks the time in which a fault was ordered (infra/faults.md), on every dashboard."""
    return (
        dashboard.AnnotationQuery()
        .name("Faults on purpose")
        .datasource(PROMETHEUS)
        .enable(enable=True)
        .icon_color("red")
        .expr("max by (fault, target) (casebook_fault_ordered)")
    )


def graph(words: dict[str, Any]) -> timeseries.Panel | stat.Panel:
    """A panel: a graph over time, or, `now`, the newest value alone."""
    panel = stat.Panel() if words.get("now") else timeseries.Panel().fill_opacity(8)
    panel = panel.title(words["title"]).unit(words.get("unit", "none")).datasource(PROMETHEUS)
    if "description" in words:
        panel = panel.description(words["description"])
    query = prometheus.Dataquery().expr(words["expr"]).legend_format(words.get("legend", ""))
    # Exemplars are the dots on a latency that lead to its trace.
    return panel.with_target(
        query.instant() if words.get("now") else query.range().exemplar(exemplar=words.get("unit") == "s")
    )


def red(words: dict[str, Any]) -> list[dict[str, Any]]:
    """Rate, errors, duration of what a histogram counts."""
    histogram, of, by, where = words["red"], words["of"], words["by"], words["where"]
    legend = " ".join(f"{{{{{label}}}}}" for label in by.split(", "))
    every = f"sum by ({by}) (rate({histogram}_count{{{where}}}[$__rate_interval]))"
    wrong = f"sum by ({by}) (rate({histogram}_count{{{where},{words['faults']}}}[$__rate_interval]))"
    buckets = f"sum by (le, {by}) (rate({histogram}_bucket{{{where}}}[$__rate_interval]))"
    return [
        {"title": f"{of} a second", "unit": "reqps", "expr": every, "legend": legend},
        {
            "title": f"{of}: faults",
            "unit": "percentunit",
            "expr": f"({wrong} or 0 * {every}) / {every}",
            "legend": legend,
        },
        {
            "title": f"{of}: 99th percentile",
            "unit": "s",
            "expr": f"histogram_quantile(0.99, {buckets})",
            "legend": legend,
        },
    ]


def main() -> None:
    """Writes the files, or checks them."""
    encoder = JSONEncoder(sort_keys=True, indent=1)
    boards = yaml.safe_load((HERE / "dashboards.yaml").read_text(encoding="utf-8"))
    files = {
        HERE / "dashboards" / f"{each['name']}.json": encoder.encode(board(each).build()) + "\n" for each in boards
    }
    if "--check" not in sys.argv:
        for path, text in files.items():
            path.write_text(text, encoding="utf-8")
        return
    here = {path: path.read_text(encoding="utf-8") for path in (HERE / "dashboards").glob("*.json")}
    differ = sorted(path.name for path in files.keys() | here.keys() if files.get(path) != here.get(path))
    if differ:
        sys.exit(f"{', '.join(differ)}: not what dashboards.yaml says; run `make dashboards` and commit what it writes")


if __name__ == "__main__":
    main()
