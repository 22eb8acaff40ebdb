"""Load on the HTTP API: people who are shown recommendations and click, and applications that report in bursts.

The host is `--host`, or CASEBOOK_GATEWAY; the API key CASEBOOK_API_KEY, or the file CASEBOOK_API_KEY_FILE. README.md
says how to run it.
"""

import os
import random
import uuid
from pathlib import Path
from typing import Any

from locust import FastHttpUser, between, constant_pacing, events, tag, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment

HOT_SHARE = 0.8
"""Of the requests that come from hot users: a fifth of the users makes four fifths of the traffic."""
BATCH = 50


@events.init_command_line_parser.add_listener
def add_options(parser: LocustArgumentParser) -> None:
    """What the load is made of."""
    key_file = os.environ.get("CASEBOOK_API_KEY_FILE", "")
    key = os.environ.get("CASEBOOK_API_KEY") or (Path(key_file).read_text().strip() if key_file else "")
    parser.add_argument(
        "--api-key", default=key, is_secret=True, help="API key [CASEBOOK_API_KEY, CASEBOOK_API_KEY_FILE]"
    )
    parser.add_argument("--hot-users", type=int, default=188, help="Known users with history (of ML-100K's 943)")
    parser.add_argument("--cold-users", type=int, default=100_000, help="Users that nobody knows yet")
    parser.add_argument("--items", type=int, default=1682, help="Items in the catalogue, named 1 to N")


@events.init.add_listener
def check_options(environment: Environment, **_: Any) -> None:
    """Stops before the first request where every one would be refused."""
    if environment.parsed_options is not None and not environment.parsed_options.api_key:
        raise SystemExit("no API key: give --api-key, CASEBOOK_API_KEY or CASEBOOK_API_KEY_FILE")


class ApiUser(FastHttpUser):
    """Whoever holds the API key."""

    abstract = True
    host = os.environ.get("CASEBOOK_GATEWAY", "http://127.0.0.1:8080")
    network_timeout = 10.0
    connection_timeout = 5.0

    def on_start(self) -> None:
        """A source of chance of its own."""
        self.random = random.Random(uuid.uuid4().int)  # noqa: S311 - load, not secrets

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """One request; the answer, or nothing where it failed (Locust has counted it)."""
        headers = {"Authorization": f"Bearer {self.options.api_key}"}
        with self.rest("POST", path, json=body, headers=headers) as response:
            return response.js if response.status_code and response.status_code < 400 else {}

    @property
    def options(self) -> Any:
        """The command line."""
        return self.environment.parsed_options

    def somebody(self) -> str:
        """A user's id: hot in four of five cases."""
        if self.random.random() < HOT_SHARE:
            return str(self.random.randint(1, self.options.hot_users))
        return f"cold-{self.random.randint(1, self.options.cold_users)}"

    def some_item(self) -> str:
        """An item's id; few are popular (Zipf-like), as in any catalogue."""
        return str(min(self.options.items, int(self.random.paretovariate(0.5))))


class Shopper(ApiUser):
    """Looks at recommendations and clicks on what it was shown: the way of most traffic."""

    weight = 8
    wait_time = between(0.5, 2.0)

    @tag("recommendations", "events")
    @task(3)
    def looks_and_clicks(self) -> None:
        """A page, then a click on one of its items that says which page showed it."""
        user = self.somebody()
        page = self.post("/v1/recommendations", {"user_id": user, "limit": 10})
        if page.get("items"):
            item = self.random.choice(page["items"])["item_id"]
            click = {"user_id": user, "item_id": item, "action": "click"}
            self.post("/v1/events", click | {"recommendation_id": page["recommendation_id"]})

    @tag("recommendations")
    @task(1)
    def comes_anonymously(self) -> None:
        """A session without a user, which is recommended to by its clicks alone."""
        self.post("/v1/recommendations", {"session_id": f"session-{uuid.uuid4()}", "limit": 10})


class Reporter(ApiUser):
    """An application that sends what it has gathered, once a second."""

    weight = 1
    wait_time = constant_pacing(1.0)

    @tag("events")
    @task
    def reports(self) -> None:
        """A batch with ids of its own, so that it could be sent again."""
        gathered = [
            {"user_id": self.somebody(), "item_id": self.some_item(), "action": "impression"} for _ in range(BATCH)
        ]
        self.post("/v1/events:batch", {"events": gathered})


class Burst(ApiUser):
    """Silent for half a minute, then twenty requests with no pause: what a rate limit and a queue are for."""

    weight = 1
    wait_time = constant_pacing(30.0)

    @tag("recommendations", "burst")
    @task
    def all_at_once(self) -> None:
        """Twenty pages."""
        for _ in range(20):
            self.post("/v1/recommendations", {"user_id": self.somebody(), "limit": 10})
