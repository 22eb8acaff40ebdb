"""The walk: what the system does, shown on real input through the gateway, and checked while it is shown.

`casebook demo` prints it for people; `casebook demo-check` runs the same steps and fails where one does not
hold. Nothing is prepared for it: every line printed comes out of an answer of the running system.
"""

import itertools
import statistics
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any, TypeVar

import httpx
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cli import traces

REAL_USERS = ("196", "405", "655")
"""Three users of MovieLens-100K: one with few ratings, the one with the most, one in between."""
SHOWN = 5
CANARY_SHARE = 0.2
CANARY_TOLERANCE = 0.1
"""The share counts users; with 100 users its standard deviation is 0.04 (binomial), so this is 2.5 of them."""
CANARY_USERS = 100
FRESH_WITHIN_SECONDS = 10.0
TRACE_WITHIN_SECONDS = 15.0
RELEASED_WITHIN_SECONDS = 30.0

T = TypeVar("T")


class StepFailed(Exception):
    """Something that the walk was about to show did not hold."""


@dataclass(frozen=True, slots=True)
class System:
    """The running system, as a client sees it."""

    gateway: str
    api_key: str
    trace_folder: Path


@dataclass(slots=True)
class Walk:
    """One walk through a running system."""

    http: httpx.Client
    console: Console
    trace_folder: Path
    session: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    failures: list[str] = field(default_factory=list)

    # What the steps are made of

    def call(self, method: str, path: str, body: dict[str, Any] | None = None, **headers: str) -> dict[str, Any]:
        """The answer's JSON. Raises StepFailed with the problem's own words."""
        response = self.http.request(method, path, json=body, headers=headers)
        if response.is_error:
            raise StepFailed(f"{method} {path} answered {response.status_code}: {response.text[:400]}")
        answer: dict[str, Any] = response.json() if response.content else {}
        answer["_trace_id"] = response.headers.get("X-Trace-Id", "")
        return answer

    def recommend(self, **request: Any) -> dict[str, Any]:
        """Recommendations for `user_id` or `session_id`."""
        return self.call("POST", "/v1/recommendations", request)

    def until(self, what: str, seconds: float, look: Callable[[], T | None]) -> tuple[T, float]:
        """What `look` returns once it is not None, and the seconds that took. Raises StepFailed after `seconds`."""
        started = time.perf_counter()
        while time.perf_counter() - started < seconds:
            if (found := look()) is not None:
                return found, time.perf_counter() - started
            time.sleep(0.01)
        raise StepFailed(f"{what}: not seen within {seconds:g} s")

    def check(self, holds: bool, claim: str) -> None:
        """Prints the claim as held, or raises StepFailed with it."""
        if not holds:
            raise StepFailed(f"this does not hold: {claim}")
        self.held(claim)

    def held(self, claim: str) -> None:
        """Prints a claim that `until` has just seen."""
        self.console.print(f"  [green]✓[/] {escape(claim)}")

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """One step: a heading, and the reason where it fails; the steps after it still run."""
        self.console.print(f"\n[bold]{escape(title)}[/]")
        try:
            yield
        except (StepFailed, httpx.HTTPError) as error:
            self.failures.append(f"{title}: {error}")
            self.console.print(f"  [red]✗ {escape(str(error))}[/]")

    def show(self, items: list[dict[str, Any]], shown: int = SHOWN) -> None:
        """A table of recommended items."""
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 2))
        for column in ("", "title", "categories", "score", "why"):
            table.add_column(column, overflow="ellipsis", no_wrap=True)
        for position, item in enumerate(items[:shown], 1):
            why = item["reason"] + (" [exploration]" if item["exploration"] else "")
            columns = (str(position), title(item), ", ".join(item["categories"]), f"{item['score']:.3f}", why)
            table.add_row(*(escape(column) for column in columns))
        self.console.print(table)

    # The steps

    def known_users(self) -> None:
        """History and recommendations of users whose ratings are real."""
        for user in REAL_USERS:
            with self.step(f"User {user} of MovieLens-100K"):
                history = self.call("GET", f"/v1/users/{user}/history")["entries"]
                titles = [title(entry["item"]) for entry in history[:SHOWN]]
                self.console.print("  lately: " + escape("; ".join(titles)))
                answer = self.whole_answer(user)
                self.show(answer["items"])
                stages = ", ".join(f"{stage['name']} {stage['milliseconds']:.1f} ms" for stage in answer["stages"])
                self.console.print(f"  [dim]{stages}; versions {answer['versions']}[/]")
                seen = {entry["item"]["item_id"] for entry in history}
                self.check(len(answer["items"]) == 10, "ten items come back")
                self.check(not seen & ids(answer), "none of them is in the live sequence")

    def whole_answer(self, user: str) -> dict[str, Any]:
        """An explained answer in which every stage did its work: the machine may still be busy with the start."""

        def look() -> dict[str, Any] | None:
            answer = self.recommend(user_id=user, limit=10, explain=True)
            return None if answer["degraded"] else answer

        answer, _ = self.until("an answer without fallbacks", FRESH_WITHIN_SECONDS, look)
        return answer

    def live_clicks(self) -> None:
        """Clicks change the next answer; how long that takes from outside is measured."""
        with self.step("Live clicks change the next answer"):
            user = REAL_USERS[0]
            before = self.recommend(user_id=user, limit=10)
            clicked = self.of_another_kind(user, before)
            self.console.print("  before: " + escape("; ".join(title(item) for item in before["items"][:SHOWN])))
            self.console.print("  clicks: " + escape("; ".join(title(item) for item in clicked)))
            started = time.perf_counter()
            events = [
                {"user_id": user, "item_id": item["item_id"], "action": "click",
                 "recommendation_id": before["recommendation_id"]}
                for item in clicked
            ]  # fmt: skip
            self.call("POST", "/v1/events:batch", {"events": events})
            accepted = time.perf_counter() - started
            newest = {item["item_id"] for item in clicked}

            def changed() -> dict[str, Any] | None:
                # First whether all clicks are there: an answer from before the last of them may still hold its item.
                history = self.call("GET", f"/v1/users/{user}/history?limit={len(clicked)}")["entries"]
                if {entry["item"]["item_id"] for entry in history} != newest:
                    return None
                answer = self.recommend(user_id=user, limit=10)
                return answer if steady(answer) != steady(before) else None

            after, _ = self.until("an answer that knows of the clicks", FRESH_WITHIN_SECONDS, changed)
            seconds = time.perf_counter() - started
            self.console.print("  after:  " + escape("; ".join(title(item) for item in after["items"][:SHOWN])))
            new = len(steady(after) - steady(before))
            self.held(f"{new} of 10 items are new, {seconds:.2f} s after the clicks (accepted in {accepted:.2f} s)")
            self.check(not newest & ids(after), "what was clicked does not come back")
            first = after["items"][0]
            without = self.recommend(user_id=user, limit=10, exclude_item_ids=[first["item_id"]])
            self.check(first["item_id"] not in ids(without), f"a request that excludes {title(first)} does not get it")

    def of_another_kind(self, user: str, before: dict[str, Any]) -> list[dict[str, Any]]:
        """Three items of the first category that the answer before has least of."""
        present = Counter(category for item in before["items"] for category in item["categories"])
        for category in sorted(("Horror", "Animation", "Western", "Sci-Fi", "Musical"), key=lambda name: present[name]):
            items = self.recommend(user_id=user, limit=10, category=category)["items"]
            if len(items) >= 3:
                return list(items[:3])
        raise StepFailed("no category with three items to click on")

    def anonymous_session(self) -> None:
        """A session without a user works from its clicks alone."""
        with self.step("An anonymous session: recommendations from two clicks"):
            session = f"walk-{self.session}"
            liked = ("50", "181")  # Star Wars, Return of the Jedi
            for item in liked:
                self.call("POST", "/v1/events", {"session_id": session, "item_id": item, "action": "click"})

            def knows() -> dict[str, Any] | None:
                answer = self.recommend(session_id=session, limit=10, explain=True)
                return answer if answer["history_length"] == len(liked) else None

            answer, seconds = self.until("the session's clicks", FRESH_WITHIN_SECONDS, knows)
            self.console.print(f"  clicked: Star Wars, Return of the Jedi ({seconds:.2f} s ago)")
            self.show(answer["items"])
            personal = sum(bool(channels(item) - {"popular"}) for item in answer["items"])
            self.check(personal >= 5, f"{personal} of 10 items come from its clicks, not from popularity alone")

    def new_user(self) -> None:
        """A user without any history gets what the segment takes most."""
        with self.step("A new user: popular by segment"):
            user = f"walk-new-{self.session}"
            created = self.call("PUT", f"/v1/users/{user}", {"age": 27, "gender": "F", "occupation": "artist"})
            answer = self.recommend(user_id=user, limit=10, explain=True)
            self.console.print(f"  27, F, artist: segment {created['segment']}")
            self.show(answer["items"])
            popular = sum("popular" in channels(item) for item in answer["items"])
            self.check(popular >= 5, f"{popular} of 10 items are popular in the segment")

    def new_item(self) -> None:
        """An item without any click is recalled by its content."""
        with self.step("A new item: recalled by its content as soon as it is there"):
            item = f"walk-item-{self.session}"
            name = "The Paper Lantern"
            content = {"title": name, "categories": ["Animation", "Children's", "Musical"], "year": 1998}
            started = time.perf_counter()
            self.call("PUT", f"/v1/items/{item}", content)

            def recalled() -> dict[str, Any] | None:
                answer = self.recommend(user_id=REAL_USERS[1], limit=100, category="Animation", explain=True)
                return next((one for one in answer["items"] if one["item_id"] == item), None)

            found, _ = self.until("the new item in an answer", FRESH_WITHIN_SECONDS, recalled)
            seconds = time.perf_counter() - started
            self.check(
                "new_item" in channels(found), f"“{name}” is recalled by its content tower after {seconds:.2f} s"
            )
            self.call("DELETE", f"/v1/items/{item}")

            def away() -> bool | None:
                return True if recalled() is None else None

            _, seconds = self.until("the retired item to be gone", FRESH_WITHIN_SECONDS, away)
            self.held(f"once retired it is gone after {seconds:.2f} s")

    def canary(self) -> None:
        """A canary release takes a share, and is rolled back, while requests go on."""
        with self.step(f"A canary of the ranker takes {CANARY_SHARE:.0%} and is rolled back during traffic"):
            model = self.call("GET", "/v1/models/din")
            stable = model["release"]["stable"]
            candidate = next((version for version in model["versions"] if version != stable), None)
            if candidate is None:
                raise StepFailed(f"din has no second version: {model['versions']}")
            with traffic(self) as answered:
                canary = {"version": candidate, "share": CANARY_SHARE, "reason": "the walk"}
                self.call("POST", "/v1/models/din:canary", canary)
                self.until("the canary on every replica", RELEASED_WITHIN_SECONDS, self.release_complete)
                during = answered.next_round()
                self.call("POST", "/v1/models/din:rollback", {"reason": "the walk is over"})
                self.until("the rollback on every replica", RELEASED_WITHIN_SECONDS, self.release_complete)
                after = answered.next_round()
            share = during[candidate] / max(1, sum(during.values()))
            self.console.print(f"  rankers that answered: {dict(during)} during the canary, {dict(after)} after it")
            self.console.print(
                f"  {answered.count} requests, median {answered.median_milliseconds:.0f} ms with 2 clients at a time"
            )
            self.check(answered.failed == [], f"{len(answered.failed)} of {answered.count} requests failed")
            self.check(abs(share - CANARY_SHARE) <= CANARY_TOLERANCE, f"the canary answered {share:.0%} of the users")
            self.check(set(after) == {stable}, f"after the rollback version {stable} answers everyone")
            changes = self.call("GET", "/v1/models/din/changes")["changes"]
            self.console.print(f"  on record: {changes[0]['action']} by {escape(changes[0]['changed_by'])}")

    def release_complete(self) -> bool | None:
        """True once every ready replica serves the newest release."""
        return True if self.call("GET", "/v1/models/din")["release"]["complete"] else None

    def trace(self) -> None:
        """One click and one recommendation, each as one trace over all processes."""
        with self.step("One trace: from the HTTP request over Kafka to the feature store"):
            event = {"user_id": REAL_USERS[2], "item_id": "100", "action": "click"}
            self.show_trace(self.call("POST", "/v1/events", event)["_trace_id"], {"gateway", "recommender"})
        with self.step("One trace: a recommendation"):
            answer = self.recommend(user_id=REAL_USERS[2], limit=5)
            self.show_trace(answer["_trace_id"], {"gateway", "recommender", "inference"})

    def show_trace(self, trace_id: str, services: set[str]) -> None:
        """Prints the trace once spans of all `services` have been written."""

        def whole() -> traces.Trace | None:
            found = traces.find(trace_id, self.trace_folder)
            return found if found is not None and services <= found.services and len(found.roots) == 1 else None

        trace, _ = self.until(f"trace {trace_id} over {sorted(services)}", TRACE_WITHIN_SECONDS, whole)
        self.console.print(traces.render(trace))
        self.held(f"{len(trace.spans)} spans of {', '.join(sorted(trace.services))} in one tree")


class Traffic:
    """Recommendations for many users, round after round, until it is stopped."""

    def __init__(self, walk: Walk) -> None:
        self.failed: list[str] = []
        self._walk = walk
        self._milliseconds: list[float] = []
        self._stop = Event()
        self._round = 0
        self._finished: dict[int, Counter[str]] = {}

    @property
    def count(self) -> int:
        """Requests so far."""
        return len(self._milliseconds) + len(self.failed)

    @property
    def median_milliseconds(self) -> float:
        """Seen from outside, HTTP included."""
        return statistics.median(self._milliseconds)

    def run(self) -> None:
        """Asks for every user once a round, two at a time."""
        with ThreadPoolExecutor(2) as clients:
            for number in itertools.count():
                if self._stop.is_set():
                    return
                users = [str(user) for user in range(1, CANARY_USERS + 1)]
                self._finished[number] = Counter(filter(None, clients.map(self._ask, users)))
                self._round = number + 1

    def next_round(self) -> Counter[str]:
        """How many users each version of the ranker answered, in the first round that begins after this call."""
        # The round that is running began earlier.
        wanted = self._round + 1
        counted, _ = self._walk.until("a round of traffic", 60.0, lambda: self._finished.get(wanted))
        return counted

    def stop(self) -> None:
        """Ends it after the running round."""
        self._stop.set()

    def _ask(self, user: str) -> str:
        started = time.perf_counter()
        try:
            answer = self._walk.recommend(user_id=user, limit=5)
        except (StepFailed, httpx.HTTPError) as error:
            self.failed.append(str(error))
            return ""
        self._milliseconds.append((time.perf_counter() - started) * 1000)
        version: str = answer["versions"]["ranker"]
        return version


@contextmanager
def traffic(walk: Walk) -> Iterator[Traffic]:
    """Traffic for the length of a block."""
    running = Traffic(walk)
    with ThreadPoolExecutor(1) as background:
        work = background.submit(running.run)
        try:
            yield running
        finally:
            running.stop()
            work.result(60)


def title(item: dict[str, Any]) -> str:
    """The item's title with its year."""
    return f"{item['title']} ({item['year']})" if item.get("year") else str(item["title"])


def ids(answer: dict[str, Any]) -> set[str]:
    """The ids of an answer's items."""
    return {item["item_id"] for item in answer["items"]}


def steady(answer: dict[str, Any]) -> set[str]:
    """The ids without the exploration slots, which chance fills anew with every request."""
    return {item["item_id"] for item in answer["items"] if not item["exploration"]}


def channels(item: dict[str, Any]) -> set[str]:
    """The recall channels that found the item."""
    return {channel["channel"] for channel in item["explanation"]["channels"]}


def run(system: System, console: Console) -> list[str]:
    """Walks through the system; returns what did not hold, empty when every step did."""
    headers = {"Authorization": f"Bearer {system.api_key}"}
    with httpx.Client(base_url=system.gateway, headers=headers, timeout=10.0) as http:
        walk = Walk(http, console, system.trace_folder)
        started = time.perf_counter()
        walk.known_users()
        walk.live_clicks()
        walk.anonymous_session()
        walk.new_user()
        walk.new_item()
        walk.canary()
        walk.trace()
        seconds = time.perf_counter() - started
        if walk.failures:
            console.print(f"\n[red bold]{len(walk.failures)} steps did not hold[/]")
        else:
            console.print(f"\n[green bold]Every step held[/], in {seconds:.0f} s")
        return walk.failures


def try_next(system: System, console: Console) -> None:
    """Prints lines that work as they stand, while the system stays up."""
    console.print(
        f"""
[bold]Try next[/]
  The API's page     {system.gateway}/docs
  Recommendations    curl -s {system.gateway}/v1/recommendations -H 'Authorization: Bearer {system.api_key}' \\
                       -H 'Content-Type: application/json' -d '{{"user_id": "42", "limit": 5, "explain": true}}'
  A click            curl -s {system.gateway}/v1/events -H 'Authorization: Bearer {system.api_key}' \\
                       -H 'Content-Type: application/json' -d '{{"user_id": "42", "item_id": "50", "action": "click"}}'
  Models             curl -s {system.gateway}/v1/models -H 'Authorization: Bearer {system.api_key}'
  From the shell     casebook models list; casebook models canary din 2 --share 0.2; casebook trace TRACE_ID
""",
        highlight=False,
        soft_wrap=True,
    )
