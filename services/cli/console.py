"""How the supervisor's processes look on a terminal: a colour and a name before each line, JSON logs as sentences."""

from rich.console import Console
from rich.text import Text

from cli import log_lines

_COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "bright_cyan", "bright_magenta", "bright_green")
_LEVEL_STYLES = {"warning": "yellow", "error": "red", "critical": "red bold"}


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
        level, sentence = log_lines.read(text)
        if not self._warnings_only or level in _LEVEL_STYLES:
            self._print(name, Text(sentence, style=_LEVEL_STYLES.get(level, "")))

    def _print(self, name: str, text: Text) -> None:
        colour = self._colours.setdefault(name, _COLOURS[len(self._colours) % len(_COLOURS)])
        prefix = Text(f"{name:<20}", style=colour) + Text("│ ", style="dim")
        self._console.print(prefix + text, soft_wrap=True, highlight=False)
