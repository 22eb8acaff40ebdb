"""The log lines of one trace, out of the JSON logs of all processes, in the order in which they were written."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.text import Text

from cli.log_lines import LogLine


def find(trace_id: str, folder: Path) -> list[dict[str, Any]]:
    """The records of every `<folder>/*.log*` that carry the trace's id, by time."""
    return sorted(_records(trace_id, folder), key=lambda record: str(record.get("time", "")))


def _records(trace_id: str, folder: Path) -> Iterator[dict[str, Any]]:
    for file in sorted(folder.glob("*.log*")):
        with file.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if trace_id in line and (record := _record(line)).get("trace_id") == trace_id:
                    yield record


def _record(line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError:  # another program's line, or half of one
        return {}
    return record if isinstance(record, dict) else {}
