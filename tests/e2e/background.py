"""Traffic beside a test."""

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx

from cli.walks import StepFailed

PAUSE_SECONDS = 0.1


@contextmanager
def repeating(visit: Callable[[int], None]) -> Iterator[None]:
    """Calls `visit` with 0, 1, 2 and so on, ten times a second at most, until the block ends."""
    over = threading.Event()

    def run() -> None:
        for number in itertools.count():
            if over.wait(PAUSE_SECONDS):
                return
            try:
                visit(number)
            except (StepFailed, httpx.HTTPError):
                continue  # what a fault does to a visitor is for the metrics to say

    visitor = threading.Thread(target=run, daemon=True)
    visitor.start()
    try:
        yield
    finally:
        over.set()
        visitor.join(15)
