"""The services' JSON log lines, for people."""

import json
from typing import Any

# They stand in every line of a process, or its name says them.
_LEFT_OUT = frozenset(
    {"service", "process", "instance", "level", "logger", "time", "message", "exception", "trace_id", "span_id"}
)


def read(line: str) -> tuple[str, str]:
    """The level and the sentence of a log line (`sentence`); other programs' lines come back whole, with no level."""
    try:
        record = json.loads(line)
    except ValueError:
        return "", line
    if not isinstance(record, dict) or "message" not in record:
        return "", line
    return sentence(record)


def sentence(record: dict[str, Any]) -> tuple[str, str]:
    """The level of a log record and what it says with its details, the exception on lines of its own."""
    details = " ".join(f"{name}={value}" for name, value in record.items() if name not in _LEFT_OUT)
    said = f"{record.get('message', '')} {details}".strip()
    return str(record.get("level", "")), "\n".join([said, *str(record.get("exception", "")).splitlines()])
