"""Visitors in the background: recommendations that are shown, looked at and clicked, until the block ends."""

from collections.abc import Iterator
from contextlib import contextmanager

from cli.walks import Walk
from cli.walks.recommender import Recommender
from tests.e2e.background import repeating


@contextmanager
def visiting(walk: Walk) -> Iterator[None]:
    """Ten visits a second at most, each with an impression of every item, every other one with a click on the first."""

    def visit(number: int) -> None:
        user = str(number % 100 + 1)
        answer = Recommender(walk).recommend(user_id=user, limit=5)
        seen = [(item["item_id"], "impression") for item in answer["items"]]
        clicked = [(answer["items"][0]["item_id"], "click")] if number % 2 else []
        events = [
            {"user_id": user, "item_id": item, "action": action, "recommendation_id": answer["recommendation_id"]}
            for item, action in seen + clicked
        ]
        walk.call("POST", "/v1/events:batch", {"events": events})

    with repeating(visit):
        yield
