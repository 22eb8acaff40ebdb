"""The services' JSON log lines, for people."""

import json

# They stand in every line of a process, or its name says them.
_LEFT_OUT = frozenset(
    {"service", "process", "instance", "level", "logger", "time", "message", "exception", "trace_id", "span_id"}
)


def read(line: str) -> tuple[str, str]:
    """The level and the sentence of a log line, its exception on lines of its own; other lines have no level."""
    try:
        record = json.loads(line)
    except ValueError:
        return "", line
    if not isinstance(record, dict) or "message" not in record:
        return "", line
    details = " ".join(f"{name}={value}" for name, value in record.items() if name not in _LEFT_OUT)
    sentence = f"{record['message']} {details}".rstrip()
    return str(record.get("level", "")), "\n".join([sentence, *str(record.get("exception", "")).splitlines()])
