"""Every process that a conversation touches is killed, one after the other; it goes on, and nothing said is lost."""

import uuid

import pytest
import redis

from cli.redis_server import redis_url
from cli.walks.support import ENGLISH
from tests.e2e.customers import CONVERSATIONS, turn
from tests.fixtures.system import until

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(90)]

SERVERS = {"redis": "redis-server", "postgres": "postgres"}
"""By the name of the process."""
VICTIMS = (
    *(f"support {each}" for each in ("serve", "timers", "relay", "consume", "sink")),
    "gateway serve",
    "inference serve",
    *SERVERS,
)
LOST = ("there is no conversation", "is none of the candidates")
"""What somebody is told whose conversation is gone."""


class Customer:
    """Somebody who says a thing again until it has been taken, under one key, so that it is taken once."""

    def __init__(self, walk):
        self.customer_id = f"chaos-{uuid.uuid4().hex[:8]}"
        self.conversation = ""
        self.turns = []
        self._walk = walk

    def say(self, what, **said):
        """The answer to a turn that every store took part in."""
        key = uuid.uuid4().hex

        def look():
            nonlocal key
            path = f"{self.conversation}/turns" if self.conversation else CONVERSATIONS
            body = turn(customer_id=self.customer_id, language="en", **said)
            response = self._walk.http.post(path, json=body, headers={"Idempotency-Key": key})
            if any(each in response.text for each in LOST):
                pytest.fail(f"{what}: {response.text}")
            answer = response.raise_for_status().json()
            if {"context", "desk"} & set(answer["degraded"]):
                key = uuid.uuid4().hex  # what was said without its context is not kept: said again, it is another turn
                return None
            return answer

        answer = until(what, look)
        self.conversation = f"{CONVERSATIONS}/{answer['conversation_id']}"
        self.turns.append(answer["turn_id"])
        return answer

    def told(self):
        """The conversation as it is read back, out of every store."""

        def look():
            response = self._walk.http.get(self.conversation, params={"customer_id": self.customer_id})
            told = response.raise_for_status().json()
            return None if told["degraded"] else told

        return until("the whole conversation", look)


def asked_back(walk):
    """A customer whose first question was asked back, and the candidates."""
    for question in ENGLISH.vague:
        customer = Customer(walk)
        answer = customer.say(f"an answer to {question!r}", question=question)
        if answer["outcome"] == "clarify":
            return customer, [each["article_id"] for each in answer["candidates"]]
    pytest.fail(f"none of {ENGLISH.vague} is asked back")


def found(system, victim):
    """The process as it runs now."""
    if victim not in SERVERS:
        return system.process(*victim.split())
    named = [each for each in system.supervisor.children() if each.name() == SERVERS[victim]]
    assert len(named) == 1, f"{victim}: {named}"
    return named[0]


def kill(system, victim):
    """Ends it at once. Redis may lose what it has not written yet, a second of it; so that is waited for."""
    if victim == "redis":
        address, password = system.home.addresses()["CASEBOOK_REDIS_ADDRESS"], system.home.secret("redis")
        with redis.Redis.from_url(redis_url(address, password), socket_timeout=5) as client:
            until("Redis to have written all", lambda: client.info("persistence")["aof_buffer_length"] == 0, 10)
    process = found(system, victim)
    process.kill()
    return process


def successor(system, victim, died):
    until(f"a new {victim}", lambda: found(system, victim).pid != died.pid)


def kept(customer, told):
    """Those of the customer's turns that are told, in the order in which they are told."""
    return [each["turn_id"] for each in told["turns"] if each["turn_id"] in customer.turns]


def test_a_conversation_outlives_every_process(system, walk):
    customer, candidates = asked_back(walk)

    for number, victim in enumerate(VICTIMS):
        died = kill(system, victim)
        picked = candidates[number % len(candidates)]
        answer = customer.say(f"a pick to be answered after {victim} was killed", picked_article_id=picked)
        assert (answer["outcome"], answer["answer"]["article_id"]) == ("answer", picked), victim
        successor(system, victim, died)

    told = customer.told()
    assert kept(customer, told) == customer.turns
    assert [each["speaker"] for each in told["turns"][:2]] == ["customer", "bot"]


def test_an_open_hand_off_outlives_every_process(system, walk):
    customer = Customer(walk)
    customer.say("a first answer", question=ENGLISH.answered)
    handoff = customer.say("a person", wants_person=True)["handoff"]
    desk = f"/v1/support/handoffs/{handoff['handoff_id']}"
    agent = walk.call("POST", f"{desk}:claim", {"lease_seconds": 300})["claimed_by"]

    for victim in VICTIMS:
        died = kill(system, victim)
        answer = customer.say(f"the agent to be told after {victim} was killed", question=f"{victim} died")
        assert (answer["outcome"], answer["handoff"]["claimed_by"]) == ("hand_off", agent), victim
        successor(system, victim, died)

    walk.call("POST", f"{desk}/replies", {"text": "I am still here."})
    walk.call("POST", f"{desk}:resolve", {"resolution": "It is done."})
    back = customer.say("the bot to have it again", question=ENGLISH.answered)
    told = customer.told()
    assert (back["handoff"], told["handoff"]) == (None, None)
    assert back["outcome"] != "hand_off"
    assert kept(customer, told) == customer.turns
    said = {*(f"{each} died" for each in VICTIMS), "I am still here.", "It is done."}
    assert said - {each["text"] for each in told["turns"]} == set()
