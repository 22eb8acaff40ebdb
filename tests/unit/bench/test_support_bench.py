"""What the bench of the running service measures: which replica is asked for a change, and when an import is in."""

from contextlib import AsyncExitStack

import grpc
import pytest
import pytest_asyncio

from casebook.support.v1 import knowledge_pb2, knowledge_pb2_grpc, support_pb2, support_pb2_grpc
from cli.home import Home
from infra.bench.support import running
from infra.bench.support.__main__ import _material, _times

LATER = 3
"""The other replica finds a change at this question, counted from the change on."""


class Replica(support_pb2_grpc.SupportServiceServicer, knowledge_pb2_grpc.KnowledgeServiceServicer):
    """Finds each article that it has heard of, whatever is asked."""

    def __init__(self, other=None):
        self.asked, self.degraded, self.dense, self.languages = 0, [], 1.0, ["en", "zh"]
        self._other = other
        self._heard_at = []

    def hears(self, article, at):
        self._heard_at.append((article, at))

    async def Ask(self, request, context):
        self.asked += 1
        scores = support_pb2.Scores(dense=self.dense)
        known = [article for article, at in self._heard_at if self.asked >= at]
        found = [
            support_pb2.Candidate(article_id=each.article_id, matched_phrasing=each.phrasings.en[-1], scores=scores)
            for each in reversed(known)
        ]
        found = found if request.language in self.languages else []
        return support_pb2.AskResponse(retrieved=found, degraded=self.degraded)

    async def PutArticle(self, request, context):
        self.hears(request.article, self.asked)
        if self._other is not None:
            self._other.hears(request.article, self._other.asked + LATER)
        return knowledge_pb2.PutArticleResponse()

    async def ImportArticles(self, request, context):
        for each in request.articles:
            await self.PutArticle(knowledge_pb2.PutArticleRequest(article=each), context)
        return knowledge_pb2.ImportArticlesResponse()


class World:
    """Two replicas, and a client of each."""

    def __init__(self):
        self.elsewhere = Replica()
        self.here = Replica(self.elsewhere)
        self.client: running.Client
        self.other: running.Client


@pytest_asyncio.fixture
async def world(tmp_path):
    world = World()
    async with AsyncExitStack() as stack:

        async def client(replica):
            server = grpc.aio.server()
            support_pb2_grpc.add_SupportServiceServicer_to_server(replica, server)
            knowledge_pb2_grpc.add_KnowledgeServiceServicer_to_server(replica, server)
            port = server.add_insecure_port("127.0.0.1:0")
            await server.start()
            stack.push_async_callback(server.stop, None)
            client = running.Client(Home(tmp_path), "bench", f"127.0.0.1:{port}")
            stack.push_async_callback(client.close)
            return client

        world.client, world.other = await client(world.here), await client(world.elsewhere)
        yield world


async def test_a_change_is_made_here_and_looked_for_here(world):
    assert await world.client.refresh_ms() > 0

    assert (world.here.asked, world.elsewhere.asked) == (1, 0)


async def test_a_change_is_made_here_and_looked_for_elsewhere_until_it_is_there(world):
    milliseconds = await world.client.refresh_ms(world.other)

    assert (world.here.asked, world.elsewhere.asked) == (0, LATER)
    assert milliseconds > 10 * (LATER - 1), "the clock runs from the change on, not from the last question"


async def test_every_change_is_another_one(world):
    for _ in range(2):
        await world.client.refresh_ms(world.other)

    assert world.elsewhere.asked == 2 * LATER


async def test_an_import_is_in_once_the_replica_that_is_asked_finds_its_last_article(world):
    await world.client.fill({"first": ["one"], "last": ["two"]}, world.other)

    assert (world.here.asked, world.elsewhere.asked) == (0, LATER + 1), "twice in both languages"


@pytest.mark.parametrize(
    ("replica", "article_id", "finds"),
    [
        ({}, "known", True),
        ({}, "another one with the same phrasing", False),
        ({"dense": 0.98}, "known", True),
        ({"dense": 0.89}, "known", False),
        ({"degraded": ["model"]}, "known", False),
        ({"languages": ["en"]}, "known", False),
        ({"languages": ["zh"]}, "known", False),
    ],
)
async def test_what_counts_as_found_by_meaning(world, replica, article_id, finds):
    for name, value in replica.items():
        setattr(world.here, name, value)
    phrasings = knowledge_pb2.Phrasings(en=["one"])
    world.here.hears(knowledge_pb2.Article(article_id="known", phrasings=phrasings), 0)

    assert await world.client.finds(knowledge_pb2.Article(article_id=article_id, phrasings=phrasings)) is finds


def test_median_and_slowest_by_name():
    assert _times("refresh", [30.4, 10.0, 20.0]) == {"refresh_ms": 20, "slowest_refresh_ms": 30}


def test_what_is_imported_later_shares_no_article_and_no_phrasing_with_what_was_imported_first():
    first, more, _ = _material(2_000)

    assert not first.keys() & more.keys()
    assert not {text for own in first.values() for text in own} & {text for own in more.values() for text in own}
    assert sum(map(len, more.values())) >= 2_000
