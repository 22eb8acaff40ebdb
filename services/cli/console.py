"""How the supervisor's processes look on a terminal: a colour and a name before each line, JSON logs as sentences."""

import json

from rich.console import Console
from rich.text import Text

_COLOURS = (
    "cyan",
    "magenta",
    "green",
    "yellow",
    "blue",
    "bright_cyan",
    "bright_magenta",
    "bright_green",
    "bright_blue",
)
_LEVEL_STYLES = {"warning": "yellow", "error": "red", "critical": "red bold"}
# They stand in every line of a process, or its name says them.
_LEFT_OUT = frozenset({"service", "process", "instance", "level", "logger", "time", "message", "trace_id", "span_id"})


class TerminalEcho:
    """Prints states always, and lines as far as they matter."""

    def __init__(self, console: Console, *, warnings_only: bool) -> None:
        """`warnings_only` leaves out what is not a warning or an error, for a terminal that shows something else."""
        self._console = console
        self._warnings_only = warnings_only
        self._colours: dict[str, str] = {}

    def state(self, name: str, text: str) -> None:
        """One line, set apart."""
        self._print(name, Text(text, style="bold"))

    def line(self, name: str, text: str) -> None:
        """A line of a log."""
        level, sentence = _read(text)
        if not self._warnings_only or level in _LEVEL_STYLES:
            self._print(name, Text(sentence, style=_LEVEL_STYLES.get(level, "")))

    def _print(self, name: str, text: Text) -> None:
        colour = self._colours.setdefault(name, _COLOURS[len(self._colours) % len(_COLOURS)])
        prefix = Text(f"{name:<20}", style=colour) + Text("│ ", style="dim")
        self._console.print(prefix + text, soft_wrap=True, highlight=False)


def _read(line: str) -> tuple[str, str]:
    """The level and the sentence of a log line; a line that is no JSON log has no level."""
    try:
        record = json.loads(line)
    except ValueError:
        return "", line
    if not isinstance(record, dict) or "message" not in record:
        return "", line
    details = " ".join(f"{name}={value}" for name, value in record.items() if name not in _LEFT_OUT)
    return str(record.get("level", "")), f"{record['message']} {details}".rstrip()
