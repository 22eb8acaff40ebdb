"""Case 1 on MovieLens-100K: users it knows, clicks that count at once, a session, a new user, a new item, a canary."""

import itertools
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event
from typing import Any

import httpx
from rich.markup import escape
from rich.table import Table

from cli.walks.walk import FRESH_WITHIN_SECONDS, StepFailed, Walk

REAL_USERS = ("196", "405", "655")
"""Three users of MovieLens-100K: one with few ratings, the one with the most, one in between."""
SHOWN = 5
CANARY_SHARE = 0.2
CANARY_TOLERANCE = 0.1
"""The share counts users; with 100 users its standard deviation is 0.04 (binomial), so this is 2.5 of them."""
CANARY_USERS = 100
RELEASED_WITHIN_SECONDS = 30.0


class Recommender:
    """The steps of case 1."""

    def __init__(self, walk: Walk) -> None:
        self.walk = walk

    @property
    def steps(self) -> tuple[Callable[[], None], ...]:
        """In the order in which they are walked."""
        return (
            self.known_users,
            self.live_clicks,
            self.anonymous_session,
            self.new_user,
            self.new_item,
            self.canary,
            self.trace,
        )

    def recommend(self, **request: Any) -> dict[str, Any]:
        """Recommendations for `user_id` or `session_id`."""
        return self.walk.call("POST", "/v1/recommendations", request)

    def show(self, items: list[dict[str, Any]], shown: int = SHOWN) -> None:
        """A table of recommended items."""
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 2))
        for column in ("", "title", "categories", "score", "why"):
            table.add_column(column, overflow="ellipsis", no_wrap=True)
        for position, item in enumerate(items[:shown], 1):
            why = item["reason"] + (" [exploration]" if item["exploration"] else "")
            columns = (str(position), title(item), ", ".join(item["categories"]), f"{item['score']:.3f}", why)
            table.add_row(*(escape(column) for column in columns))
        self.walk.console.print(table)

    def known_users(self) -> None:
        """History and recommendations of users whose ratings are real."""
        for user in REAL_USERS:
            with self.walk.step(f"User {user} of MovieLens-100K"):
                history = self.walk.call("GET", f"/v1/users/{user}/history")["entries"]
                titles = [title(entry["item"]) for entry in history[:SHOWN]]
                self.walk.console.print("  lately: " + escape("; ".join(titles)))
                answer = self.whole_answer(user)
                self.show(answer["items"])
                stages = ", ".join(f"{stage['name']} {stage['milliseconds']:.1f} ms" for stage in answer["stages"])
                self.walk.console.print(f"  [dim]{stages}; versions {answer['versions']}[/]")
                seen = {entry["item"]["item_id"] for entry in history}
                self.walk.check(len(answer["items"]) == 10, "ten items come back")
                self.walk.check(not seen & ids(answer), "none of them is in the live sequence")

    def whole_answer(self, user: str) -> dict[str, Any]:
        """An explained answer in which every stage did its work: the machine may still be busy with the start."""

        def look() -> dict[str, Any] | None:
            answer = self.recommend(user_id=user, limit=10, explain=True)
            return None if answer["degraded"] else answer

        answer, _ = self.walk.until("an answer without fallbacks", FRESH_WITHIN_SECONDS, look)
        return answer

    def live_clicks(self) -> None:
        """Clicks change the next answer; how long that takes from outside is measured."""
        with self.walk.step("Live clicks change the next answer"):
            user = REAL_USERS[0]
            before = self.recommend(user_id=user, limit=10)
            clicked = self.of_another_kind(user, before)
            self.walk.console.print("  before: " + escape("; ".join(title(item) for item in before["items"][:SHOWN])))
            self.walk.console.print("  clicks: " + escape("; ".join(title(item) for item in clicked)))
            started = time.perf_counter()
            events = [
                {"user_id": user, "item_id": item["item_id"], "action": "click",
                 "recommendation_id": before["recommendation_id"]}
                for item in clicked
            ]  # fmt: skip
            self.walk.call("POST", "/v1/events:batch", {"events": events})
            accepted = time.perf_counter() - started
            newest = {item["item_id"] for item in clicked}

            def changed() -> dict[str, Any] | None:
                # First whether all clicks are there: an answer from before the last of them may still hold its item.
                history = self.walk.call("GET", f"/v1/users/{user}/history?limit={len(clicked)}")["entries"]
                if {entry["item"]["item_id"] for entry in history} != newest:
                    return None
                answer = self.recommend(user_id=user, limit=10)
                return answer if steady(answer) != steady(before) else None

            after, _ = self.walk.until("an answer that knows of the clicks", FRESH_WITHIN_SECONDS, changed)
            seconds = time.perf_counter() - started
            self.walk.console.print("  after:  " + escape("; ".join(title(item) for item in after["items"][:SHOWN])))
            new = len(steady(after) - steady(before))
            self.walk.held(
                f"{new} of 10 items are new, {seconds:.2f} s after the clicks (accepted in {accepted:.2f} s)"
            )
            self.walk.check(not newest & ids(after), "what was clicked does not come back")
            first = after["items"][0]
            without = self.recommend(user_id=user, limit=10, exclude_item_ids=[first["item_id"]])
            self.walk.check(
                first["item_id"] not in ids(without), f"a request that excludes {title(first)} does not get it"
            )

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
        with self.walk.step("An anonymous session: recommendations from two clicks"):
            session = f"walk-{self.walk.session}"
            liked = ("50", "181")  # Star Wars, Return of the Jedi
            for item in liked:
                self.walk.call("POST", "/v1/events", {"session_id": session, "item_id": item, "action": "click"})

            def knows() -> dict[str, Any] | None:
                answer = self.recommend(session_id=session, limit=10, explain=True)
                return answer if answer["history_length"] == len(liked) else None

            answer, seconds = self.walk.until("the session's clicks", FRESH_WITHIN_SECONDS, knows)
            self.walk.console.print(f"  clicked: Star Wars, Return of the Jedi ({seconds:.2f} s ago)")
            self.show(answer["items"])
            personal = sum(bool(channels(item) - {"popular"}) for item in answer["items"])
            self.walk.check(personal >= 5, f"{personal} of 10 items come from its clicks, not from popularity alone")

    def new_user(self) -> None:
        """A user without any history gets what the segment takes most."""
        with self.walk.step("A new user: popular by segment"):
            user = f"walk-new-{self.walk.session}"
            created = self.walk.call("PUT", f"/v1/users/{user}", {"age": 27, "gender": "F", "occupation": "artist"})
            answer = self.recommend(user_id=user, limit=10, explain=True)
            self.walk.console.print(f"  27, F, artist: segment {created['segment']}")
            self.show(answer["items"])
            popular = sum("popular" in channels(item) for item in answer["items"])
            self.walk.check(popular >= 5, f"{popular} of 10 items are popular in the segment")

    def new_item(self) -> None:
        """An item without any click is recalled by its content."""
        with self.walk.step("A new item: recalled by its content as soon as it is there"):
            item = f"walk-item-{self.walk.session}"
            name = "The Paper Lantern"
            content = {"title": name, "categories": ["Animation", "Children's", "Musical"], "year": 1998}
            started = time.perf_counter()
            self.walk.call("PUT", f"/v1/items/{item}", content)

            def recalled() -> dict[str, Any] | None:
                answer = self.recommend(user_id=REAL_USERS[1], limit=100, category="Animation", explain=True)
                return next((one for one in answer["items"] if one["item_id"] == item), None)

            found, _ = self.walk.until("the new item in an answer", FRESH_WITHIN_SECONDS, recalled)
            seconds = time.perf_counter() - started
            self.walk.check(
                "new_item" in channels(found), f"“{name}” is recalled by its content tower after {seconds:.2f} s"
            )
            self.walk.call("DELETE", f"/v1/items/{item}")

            def away() -> bool | None:
                return True if recalled() is None else None

            _, seconds = self.walk.until("the retired item to be gone", FRESH_WITHIN_SECONDS, away)
            self.walk.held(f"once retired it is gone after {seconds:.2f} s")

    def canary(self) -> None:
        """A canary release takes a share, and is rolled back, while requests go on."""
        with self.walk.step(f"A canary of the ranker takes {CANARY_SHARE:.0%} and is rolled back during traffic"):
            model = self.walk.call("GET", "/v1/models/din")
            stable = model["release"]["stable"]
            candidate = next((version for version in model["versions"] if version != stable), None)
            if candidate is None:
                raise StepFailed(f"din has no second version: {model['versions']}")
            with traffic(self) as answered:
                canary = {"version": candidate, "share": CANARY_SHARE, "reason": "the walk"}
                self.walk.call("POST", "/v1/models/din:canary", canary)
                self.walk.until("the canary on every replica", RELEASED_WITHIN_SECONDS, self.release_complete)
                during = answered.next_round()
                self.walk.call("POST", "/v1/models/din:rollback", {"reason": "the walk is over"})
                self.walk.until("the rollback on every replica", RELEASED_WITHIN_SECONDS, self.release_complete)
                after = answered.next_round()
            share = during[candidate] / max(1, sum(during.values()))
            self.walk.console.print(
                f"  rankers that answered: {dict(during)} during the canary, {dict(after)} after it"
            )
            self.walk.console.print(
                f"  {answered.count} requests, median {answered.median_milliseconds:.0f} ms with 2 clients at a time"
            )
            self.walk.check(answered.failed == [], f"{len(answered.failed)} of {answered.count} requests failed")
            self.walk.check(
                abs(share - CANARY_SHARE) <= CANARY_TOLERANCE, f"the canary answered {share:.0%} of the users"
            )
            self.walk.check(set(after) == {stable}, f"after the rollback version {stable} answers everyone")
            changes = self.walk.call("GET", "/v1/models/din/changes")["changes"]
            self.walk.console.print(f"  on record: {changes[0]['action']} by {escape(changes[0]['changed_by'])}")

    def release_complete(self) -> bool | None:
        """True once every ready replica serves the newest release."""
        return True if self.walk.call("GET", "/v1/models/din")["release"]["complete"] else None

    def trace(self) -> None:
        """One click and one recommendation, each as one trace over all processes."""
        with self.walk.step("One trace: from the HTTP request over Kafka to the feature store"):
            event = {"user_id": REAL_USERS[2], "item_id": "100", "action": "click"}
            self.walk.show_trace(self.walk.call("POST", "/v1/events", event)["_trace_id"], {"gateway", "recommender"})
        with self.walk.step("One trace: a recommendation"):
            answer = self.recommend(user_id=REAL_USERS[2], limit=5)
            self.walk.show_trace(answer["_trace_id"], {"gateway", "recommender", "inference"})


class Traffic:
    """Recommendations for many users, round after round, until it is stopped."""

    def __init__(self, recommender: Recommender) -> None:
        self.failed: list[str] = []
        self._recommender = recommender
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
        counted, _ = self._recommender.walk.until("a round of traffic", 60.0, lambda: self._finished.get(wanted))
        return counted

    def stop(self) -> None:
        """Ends it after the running round."""
        self._stop.set()

    def _ask(self, user: str) -> str:
        started = time.perf_counter()
        try:
            answer = self._recommender.recommend(user_id=user, limit=5)
        except (StepFailed, httpx.HTTPError) as error:
            self.failed.append(str(error))
            return ""
        self._milliseconds.append((time.perf_counter() - started) * 1000)
        version: str = answer["versions"]["ranker"]
        return version


@contextmanager
def traffic(recommender: Recommender) -> Iterator[Traffic]:
    """Traffic for the length of a block."""
    running = Traffic(recommender)
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
