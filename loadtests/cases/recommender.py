"""Case 1: people who are shown recommendations and click, applications that report, and a service that asks."""

import gevent
from locust import between, constant_pacing, tag, task

from casebook.recommender.v1 import recommender_pb2 as pb
from casebook.recommender.v1.recommender_pb2_grpc import RecommenderServiceStub
from loadtests.http_user import ApiUser
from loadtests.rpc_user import RpcUser, address

BATCH = 50
BURST = 20
BURST_EVERY_SECONDS = 30.0


class Shopper(ApiUser):
    """Looks at recommendations and clicks on what it was shown: the way of most traffic."""

    weight = 16
    wait_time = between(0.5, 2.0)

    @tag("recommendations", "events")
    @task(6)
    def looks_and_clicks(self) -> None:
        """A page, then a click on one of its items that says which page showed it."""
        self._click(user_id=self.people.somebody())

    @tag("recommendations", "events")
    @task(2)
    def comes_anonymously(self) -> None:
        """A session without a user: what it clicks on is all that its second page is made from."""
        session = self.people.session()
        self._click(session_id=session)
        self.post("/v1/recommendations", {"session_id": session, "limit": 10})

    @tag("history")
    @task(1)
    def looks_back(self) -> None:
        """What it has looked at lately."""
        self.get("/v1/users/{user_id}/history", user_id=self.people.somebody())

    def _click(self, **visitor: str) -> None:
        page = self.post("/v1/recommendations", {**visitor, "limit": 10})
        if page.get("items"):
            item = self.chance.choice(page["items"])["item_id"]
            click = {**visitor, "item_id": item, "action": "click"}
            self.post("/v1/events", click | {"recommendation_id": page["recommendation_id"]})


class Reporter(ApiUser):
    """An application that sends what it has gathered, once a second."""

    weight = 1
    wait_time = constant_pacing(1.0)

    @tag("events")
    @task
    def reports(self) -> None:
        """A batch of impressions."""
        gathered = [
            {"user_id": self.people.somebody(), "item_id": self.people.item(), "action": "impression"}
            for _ in range(BATCH)
        ]
        self.post("/v1/events:batch", {"events": gathered})


class Burst(ApiUser):
    """Silent for half a minute, then twenty requests with no pause: what a rate limit and a queue are for."""

    weight = 1
    wait_time = constant_pacing(BURST_EVERY_SECONDS)

    def on_start(self) -> None:
        """Begins at some time of its half minute: users who start together would burst together."""
        super().on_start()
        gevent.sleep(self.chance.uniform(0.0, BURST_EVERY_SECONDS))

    @tag("recommendations", "burst")
    @task
    def all_at_once(self) -> None:
        """Pages of as many users."""
        for _ in range(BURST):
            self.post("/v1/recommendations", {"user_id": self.people.somebody(), "limit": 10})


class RecommenderCaller(RpcUser):
    """Another service that asks the recommender itself. Needs CASEBOOK_RECOMMENDER_ADDRESS and CASEBOOK_TOKEN_KEYS."""

    target = address("CASEBOOK_RECOMMENDER_ADDRESS")
    abstract = not target
    weight = 1
    wait_time = constant_pacing(1.0)

    @tag("recommendations", "rpc")
    @task(3)
    def recommends(self) -> None:
        """A page."""
        request = pb.RecommendRequest(user_id=self.people.somebody(), limit=10)
        self.call(RecommenderServiceStub(self.channel).Recommend, request)

    @tag("history", "rpc")
    @task(1)
    def reads_history(self) -> None:
        """A live sequence."""
        request = pb.GetHistoryRequest(user_id=self.people.somebody())
        self.call(RecommenderServiceStub(self.channel).GetHistory, request)
