"""The log lines of one trace, out of the JSON logs of all processes, in the order in which they were written."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rich.text import Text

from cli import log_lines


def find(trace_id: str, folder: Path) -> list[dict[str, Any]]:
    """The records of `<folder>/*.log*` that carry the trace's id, by time."""
    return pick(trace_id, (line for file in sorted(folder.glob("*.log*")) for line in _lines(file)))


def pick(trace_id: str, lines: Iterable[str]) -> list[dict[str, Any]]:
    """The same out of lines, such as those of `docker compose logs --no-log-prefix` or `kubectl logs`."""
    return sorted(_records(trace_id, lines), key=lambda record: str(record.get("time", "")))


def render(records: Iterable[dict[str, Any]]) -> Text:
    """One line a record: time, process, level, sentence."""
    text = Text()
    for record in records:
        level, sentence = log_lines.sentence(record)
        process = f"{record.get('service', '')} {record.get('process', '')}"
        text.append(f"{record.get('time', '')}  ", style="dim").append(f"{process:<20} ", style="cyan")
        text.append(f"{level:<8} {sentence}\n")
    return text


def _lines(file: Path) -> Iterator[str]:
    with file.open(encoding="utf-8", errors="replace") as lines:
        yield from lines


def _records(trace_id: str, lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        if trace_id in line and (record := _record(line)).get("trace_id") == trace_id:
            yield record


def _record(line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError:  # another program's line, or half of one
        return {}
    return record if isinstance(record, dict) else {}
