"""Conversations on a real Redis and PostgreSQL: none is lost, none is another's, and Redis may go away meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import pytest_asyncio
import redis.asyncio

from chassis import database, redis_client
from chassis.errors import NotFound, Unavailable
from chassis.events import new_event_id
from cli.processes import free_ports
from cli.redis_server import redis_server
from cli.redis_server import redis_url as redis_address
from support.asking import Asked, Picked, Question, Reply, WantsPerson
from support.conversation import Conversation, Evidence, Outcome, Speaker, Suggestion, Turn
from support.conversation_store import RedisConversations
from support.desk_store import DeskStore
from support.dialogue import Dialogue
from support.feedback_store import FeedbackStore
from support.knowledge import KnowledgeBase, Scores
from support.ports import ContextUnavailable
from support.transcripts import Transcripts
from support.verdicts import Verdict, Verdicts
from tests.fixtures.infrastructure import DatabaseUrls, Postgres, running
from tests.unit.support.bank import ANSWERED, ASKED_BACK, BASE, NOON, UNKNOWN, FakeKnowledge, calibrations

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(60)]

TTL_SECONDS = 600


class Redis:
    """A server that a test may stop, and start again with what it had written down."""

    def __init__(self, folder) -> None:
        self.port = free_ports(1)[0]
        self._spec = redis_server(folder, self.port, "test")
        self.url = redis_address(f"127.0.0.1:{self.port}", "test")
        self.start()

    def start(self) -> None:
        self._running = running(self._spec)
        self.process = self._running.__enter__()

    def stop(self) -> None:
        self._running.__exit__(None, None, None)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def own_redis(tmp_path_factory):
    server = Redis(tmp_path_factory.mktemp("support-redis"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def urls(postgres: Postgres) -> DatabaseUrls:
    made = postgres.create_database("support")
    database.migrate("support", made.owner, made.service)
    return made


@pytest_asyncio.fixture(loop_scope="module")
async def client(own_redis) -> AsyncIterator[redis.asyncio.Redis]:
    async with redis.asyncio.Redis.from_url(own_redis.url, decode_responses=True) as client:
        yield client


@pytest.fixture
def conversations(client) -> RedisConversations:
    return RedisConversations(client, TTL_SECONDS, deadline_seconds=2.0)


class Bank:
    """The dialogue on real stores; the knowledge base alone is a fake."""

    def __init__(self, conversations: RedisConversations, engine) -> None:
        self.knowledge = FakeKnowledge()
        self.knowledge.knows("I lost my card", lost_card=ANSWERED)
        self.knowledge.knows("my card?", lost_card=ASKED_BACK, card_arrival=0.4)
        self.knowledge.knows("will it rain?", lost_card=UNKNOWN)
        self.desk = DeskStore(engine, lookup_deadline_seconds=2.0)
        parts = (conversations, self.desk, FeedbackStore(engine), new_event_id)
        self.dialogue = Dialogue(self.knowledge, self.knowledge, calibrations(), *parts)
        self.verdicts = Verdicts(self.knowledge, *parts)
        self.transcripts = Transcripts(conversations, self.desk)

    async def ask(self, said, conversation_id: str = "", customer_id: str = "ana", base: KnowledgeBase = BASE) -> Reply:
        said = Question(said) if isinstance(said, str) else said
        return await self.dialogue.ask(Asked(base, said, NOON, conversation_id, customer_id))


@pytest_asyncio.fixture(loop_scope="module")
async def bank(conversations, urls) -> AsyncIterator[Bank]:
    engine = database.connect(urls.service)
    bank = Bank(conversations, engine)
    yield bank
    await bank.desk.close()
    await engine.dispose()


def whole() -> Conversation:
    """A conversation with everything that one can have."""
    evidence = Evidence(
        "那手续费呢？", "zh", "境外汇款", (Suggestion("a", "标题 \u202bعربي\u202c 🙂", Scores(probability=0.25)),), 0.25
    )
    turns = (
        Turn("1", Speaker.CUSTOMER, "那手续费呢？\n", NOON),
        Turn("2", Speaker.BOT, "?", NOON, Outcome.CLARIFY, "", ("a",), evidence, failed=True),
    )
    return Conversation("bank", new_event_id(), "help", "ana", "zh", turns, revision=1)


async def test_a_conversation_comes_back_as_it_was_kept_and_ends_some_time_after_its_last_turn(conversations, client):
    kept = whole()

    assert await conversations.save(kept)

    assert await conversations.load("bank", kept.conversation_id) == kept
    assert 0 < await client.ttl(f"sup:{{bank}}:conversation:{kept.conversation_id}") <= TTL_SECONDS


async def test_a_revision_is_written_once_and_only_on_top_of_the_one_before(conversations):
    first = whole()
    assert await conversations.save(first)

    assert not await conversations.save(replace(first, language="en"))
    assert not await conversations.save(replace(first, revision=3))
    assert await conversations.save(replace(first, revision=2))


@asynccontextmanager
async def losing_an_answer(port: int) -> AsyncIterator[tuple[int, asyncio.Event]]:
    """A way to a Redis: once the event is set, the connection ends in place of the answer to the next script."""
    lose = asyncio.Event()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, server = await asyncio.open_connection("127.0.0.1", port)
        lost = asyncio.Event()

        async def answer() -> None:
            while data := await answers.read(65_536):
                if lost.is_set():
                    break
                writer.write(data)
            writer.close()

        answering = asyncio.create_task(answer())
        while data := await reader.read(65_536):
            if lose.is_set() and b"EVALSHA" in data:
                lose.clear()
                lost.set()
            server.write(data)
        server.close()
        await answering

    listener = await asyncio.start_server(carry, "127.0.0.1", 0)
    yield listener.sockets[0].getsockname()[1], lose
    listener.close()


async def test_a_turn_whose_answer_is_lost_is_kept_once_and_nobody_is_fetched_for_it(own_redis, urls):
    engine = database.connect(urls.service)
    async with losing_an_answer(own_redis.port) as (port, lose):
        client = redis_client.connect(redis_address(f"127.0.0.1:{port}", "test"), 2.0)
        bank = Bank(RedisConversations(client, TTL_SECONDS, deadline_seconds=2.0), engine)
        first = await bank.ask("I lost my card")
        lose.set()
        second = await bank.ask("will it rain?", first.conversation_id)
        told = await bank.transcripts.read("bank", first.conversation_id, "ana")
        await client.aclose()
    await bank.desk.close()
    await engine.dispose()

    assert not lose.is_set()
    assert (second.outcome, second.degraded) == (Outcome.OUT_OF_SCOPE, ())
    assert [each.text for each in told.turns][::2] == ["I lost my card", "will it rain?"]
    assert len(told.turns) == 4


async def test_one_that_has_ended_is_not_brought_back_by_a_late_turn(conversations, client):
    kept = whole()
    await conversations.save(kept)
    await client.delete(f"sup:{{bank}}:conversation:{kept.conversation_id}")

    assert await conversations.load("bank", kept.conversation_id) is None
    assert not await conversations.save(replace(kept, revision=2))


async def test_one_that_cannot_be_read_is_taken_for_ended(conversations, client):
    await client.hset("sup:{bank}:conversation:old", mapping={"revision": 7, "conversation": '{"kind": "another"}'})

    assert await conversations.load("bank", "old") is None


async def test_each_tenant_has_keys_of_its_own(conversations):
    kept = whole()
    await conversations.save(kept)

    assert await conversations.load("shop", kept.conversation_id) is None


async def test_turns_at_the_same_time_are_all_kept(bank):
    first = await bank.ask("I lost my card")
    questions = [f"question {number}" for number in range(4)]

    await asyncio.gather(*(bank.ask(each, first.conversation_id) for each in questions))

    transcript = await bank.transcripts.read("bank", first.conversation_id, "ana")
    said = [each.text for each in transcript.turns if each.speaker is Speaker.CUSTOMER]
    assert said[0] == "I lost my card"
    assert sorted(said[1:]) == questions


async def test_a_conversation_goes_on_in_another_process(bank, own_redis, urls):
    first = await bank.ask("my card?")
    engine = database.connect(urls.service)
    async with redis.asyncio.Redis.from_url(own_redis.url, decode_responses=True) as client:
        another = Bank(RedisConversations(client, TTL_SECONDS, 2.0), engine)
        picked = await another.ask(Picked("card-arrival"), first.conversation_id)
        await another.desk.close()
    await engine.dispose()

    assert (picked.outcome, picked.degraded) == (Outcome.ANSWER, ())


@pytest.mark.chaos
async def test_it_survives_a_restart_of_redis(bank, own_redis):
    first = await bank.ask("my card?")
    own_redis.stop()
    own_redis.start()

    assert (await bank.ask(Picked("card-arrival"), first.conversation_id)).outcome is Outcome.ANSWER


@pytest.mark.chaos
async def test_redis_is_killed_in_the_middle_of_a_conversation(bank, own_redis):
    before = await bank.ask("I lost my card")
    own_redis.kill()
    try:
        answered = await bank.ask("I lost my card", before.conversation_id)
        begun = await bank.ask("I lost my card")
        fetched = await bank.ask(WantsPerson(), before.conversation_id)
        silent = await bank.ask("are you there?", before.conversation_id)
        with pytest.raises(Unavailable, match="redis"):
            await bank.verdicts.give(Verdict("bank", before.conversation_id, before.turn_id, "ana", True, NOON))
        told = await bank.transcripts.read("bank", before.conversation_id, "ana")
    finally:
        own_redis.stop()
        own_redis.start()

    assert (answered.outcome, answered.degraded) == (Outcome.ANSWER, ("context",))
    assert (begun.conversation_id, begun.degraded) == ("", ("context",))
    assert (fetched.outcome, fetched.degraded) == (Outcome.HAND_OFF, ("context",))
    assert silent.outcome is Outcome.HAND_OFF
    assert ([each.text for each in told.turns], told.degraded) == (["A person, please", "are you there?"], ("context",))
    # Redis is back: a person still has it, and the customer sees what came before as well.
    assert (await bank.ask("hello?", before.conversation_id)).outcome is Outcome.HAND_OFF
    told = await bank.transcripts.read("bank", before.conversation_id, "ana")
    assert told.turns[0].text == "I lost my card"
    assert (told.handoff.handoff_id, told.degraded) == (fetched.handoff.handoff_id, ())


async def test_a_redis_that_does_not_answer_costs_no_more_than_its_deadline(urls):
    """A port that takes connections and says nothing."""
    listener = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    async with redis.asyncio.Redis.from_url(f"redis://127.0.0.1:{port}", decode_responses=True) as client:
        silent = RedisConversations(client, TTL_SECONDS, deadline_seconds=0.05)
        started = asyncio.get_running_loop().time()
        with pytest.raises(ContextUnavailable, match=r"no answer within 0\.05 s"):
            await silent.load("bank", "c")
        assert asyncio.get_running_loop().time() - started < 1.0
    listener.close()


@pytest.mark.parametrize(("customer_id", "tenant"), [("eve", "bank"), ("", "bank"), ("ana", "shop")])
@pytest.mark.parametrize("handed_over", [False, True])
async def test_somebody_else_is_told_that_there_is_no_such_conversation(bank, customer_id, tenant, handed_over):
    mine = await bank.ask("agent please" if handed_over else "I lost my card")
    there = mine.conversation_id

    with pytest.raises(NotFound, match="conversation"):
        await bank.ask("what did I say?", there, customer_id, KnowledgeBase(tenant, "help"))
    with pytest.raises(NotFound, match="conversation"):
        await bank.transcripts.read(tenant, there, customer_id)
    with pytest.raises(NotFound, match="conversation"):
        await bank.verdicts.give(Verdict(tenant, there, mine.turn_id, customer_id, True, NOON))
    told = await bank.transcripts.read("bank", there, "ana")
    assert told.turns[0].text == ("agent please" if handed_over else "I lost my card")
