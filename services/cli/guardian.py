"""`python -m cli.guardian`: ends what a supervisor has left behind when it could not do so itself (SIGKILL, a crash).

It reads its standard input, "start <pid> <signal>" and "end <pid>" a line. The pipe closes when the supervisor dies,
however it dies; what has started and not ended by then is ended here, the last first. Linux' PR_SET_PDEATHSIG would not
do: it is cleared when PostgreSQL is started as another user, and it reaches no grandchildren.
"""

from __future__ import annotations

import os
import signal
import sys
import time

GRACE_SECONDS = 5.0
_POLL_SECONDS = 0.05


def main() -> None:
    """Follows the supervisor until its end."""
    # A Ctrl-C in the terminal is the supervisor's to handle.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    running: dict[int, signal.Signals] = {}
    for line in sys.stdin:
        match line.split():
            case ["start", pid, how]:
                running[int(pid)] = signal.Signals(int(how))
            case ["end", pid]:
                running.pop(int(pid), None)
    end(running)


def end(running: dict[int, signal.Signals]) -> None:
    """Asks each process to end, the last started first; kills the groups of those that are still there after 5 s."""
    for pid, number in reversed(running.items()):
        _send(os.kill, pid, number)
    deadline = time.monotonic() + GRACE_SECONDS
    while time.monotonic() < deadline and any(_send(os.killpg, pid, 0) for pid in running):
        time.sleep(_POLL_SECONDS)
    for pid in running:
        _send(os.killpg, pid, signal.SIGKILL)


def _send(how: object, pid: int, number: int) -> bool:
    """Whether there was still a process to send to."""
    assert callable(how)
    try:
        how(pid, number)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    main()
