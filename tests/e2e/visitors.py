"""Visitors in the background: recommendations that are shown, looked at and clicked, until the block ends."""

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from cli.walks import StepFailed, Walk
from cli.walks.recommender import Recommender

PAUSE_SECONDS = 0.1


@contextmanager
def visiting(walk: Walk) -> Iterator[None]:
    """Ten visits a second at most, each with an impression of every item and a click on the first."""
    over = threading.Event()

    def visit() -> None:
        for number in itertools.count():
            if over.wait(PAUSE_SECONDS):
                return
            user = str(number % 100 + 1)
            try:
                answer = Recommender(walk).recommend(user_id=user, limit=5)
                seen = [(item["item_id"], "impression") for item in answer["items"]]
                clicked = [(answer["items"][0]["item_id"], "click")] if number % 2 else []
                events = [
                    {
                        "user_id": user,
                        "item_id": item,
                        "action": action,
                        "recommendation_id": answer["recommendation_id"],
                    }
                    for item, action in seen + clicked
                ]
                walk.call("POST", "/v1/events:batch", {"events": events})
            except (StepFailed, httpx.HTTPError):
                continue  # what a fault does to a visitor is for the metrics to say

    visitor = threading.Thread(target=visit, daemon=True)
    visitor.start()
    try:
        yield
    finally:
        over.set()
        visitor.join(15)
