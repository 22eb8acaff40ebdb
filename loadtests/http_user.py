"""Whoever holds an API key, over HTTP."""

import os
from typing import Any

from locust import FastHttpUser, events
from locust.env import Environment
from locust.runners import MasterRunner

from loadtests.options import people


@events.init.add_listener
def check_key(environment: Environment, **_: Any) -> None:
    """Stops before the first request where every one would be refused. A master sends none."""
    options = environment.parsed_options
    http = any(issubclass(user, ApiUser) for user in environment.user_classes)
    if http and options is not None and not options.api_key and not isinstance(environment.runner, MasterRunner):
        raise SystemExit("no API key: give --api-key, CASEBOOK_API_KEY or CASEBOOK_API_KEY_FILE")


class ApiUser(FastHttpUser):
    """Sends JSON with the key. `--host`, or CASEBOOK_GATEWAY, is where to."""

    abstract = True
    host = os.environ.get("CASEBOOK_GATEWAY", "http://127.0.0.1:8080")
    network_timeout = 10.0
    connection_timeout = 5.0

    def on_start(self) -> None:
        """Its own source of chance."""
        self.people = people(self.environment)
        self.chance = self.people.chance

    def post(self, route: str, body: dict[str, Any], **values: str) -> dict[str, Any]:
        """One request; the answer, or nothing where it failed (Locust has counted it).

        A route such as "/v1/users/{user_id}/history" is what it is counted under, `values` are what is put there.
        """
        return self._ask("POST", route.format(**values), route, json=body)

    def get(self, route: str, query: str = "", **values: str) -> dict[str, Any]:
        """The same; what stands in the `query` is not counted apart."""
        return self._ask("GET", route.format(**values) + query, route)

    def _ask(self, method: str, path: str, name: str, **more: Any) -> dict[str, Any]:
        options: Any = self.environment.parsed_options
        headers = {"Authorization": f"Bearer {options.api_key}"}
        with self.rest(method, path, name=name, headers=headers, **more) as response:
            answered = response.status_code and response.status_code < 400 and response.js
            return dict(response.js) if answered else {}
