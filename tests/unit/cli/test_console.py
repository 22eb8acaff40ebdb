"""How the processes' lines look on a terminal."""

import io
import json

import pytest
from rich.console import Console

from cli.console import TerminalEcho

WARNING = json.dumps({"level": "warning", "message": "retrying", "attempt": 2, "time": "now", "service": "gateway"})
FAILURE = json.dumps({"level": "error", "message": "failed", "exception": "Traceback:\n  OSError: no port"})
INFO = json.dumps({"level": "info", "message": "serving", "grpc_port": 5})


@pytest.mark.parametrize(
    ("line", "everything", "warnings"),
    [
        (WARNING, "gateway serve       │ retrying attempt=2\n", "gateway serve       │ retrying attempt=2\n"),
        (INFO, "gateway serve       │ serving grpc_port=5\n", ""),
        (
            FAILURE,
            "gateway serve       │ failed\nTraceback:\n  OSError: no port\n",
            "gateway serve       │ failed\nTraceback:\n  OSError: no port\n",
        ),
        ("no JSON [1]", "gateway serve       │ no JSON [1]\n", ""),
        ("[1, 2]", "gateway serve       │ [1, 2]\n", ""),
    ],
)
def test_a_json_log_reads_as_a_sentence(line: str, everything: str, warnings: str) -> None:
    for warnings_only, expected in ((False, everything), (True, warnings)):
        output = io.StringIO()
        TerminalEcho(Console(file=output, width=100), warnings_only=warnings_only).line("gateway serve", line)
        assert output.getvalue() == expected


def test_states_are_always_shown() -> None:
    output = io.StringIO()
    TerminalEcho(Console(file=output, width=100), warnings_only=True).state("redis", "ready in 0.1 s")

    assert output.getvalue() == "redis               │ ready in 0.1 s\n"
