"""Online features on a real Redis: the Lua script against its definition, the read path, and Feast's row."""

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from chassis import redis_client
from recommender.entity_features import UserRows, connection_string
from recommender.features import Interaction, ItemAggregates, UserAggregates, UserProfile, segment
from recommender.live_state import Behaviour, LiveState
from recommender.online_features import (
    BehaviourWriter,
    Lifetimes,
    OnlineVisitors,
    UserRow,
    key_prefix,
    write_state,
)
from recommender.ports import OnlineStoreUnavailable

# Feast keeps one asyncio client for the life of the process, so all tests here share one loop, as a process does.
pytestmark = pytest.mark.asyncio(loop_scope="module")

START = datetime(2026, 1, 5, tzinfo=UTC)
FEAST = Path(__file__).parents[2] / "infra" / "feast"
USERS = [UserProfile("ana", 30, "F", "artist"), UserProfile("bob", 60, "M", "retired"), UserProfile("cat")]


@pytest.fixture
def tenant(request):
    """A tenant of its own for each test."""
    return request.node.name


@pytest.fixture
def client(redis_url):
    with redis_client.connect_blocking(redis_url, 2.0) as client:
        yield client


@pytest.fixture(scope="module")
def rows(redis_url):
    return UserRows(FEAST, redis_url, timeout_seconds=2.0, ttl_seconds=3600)


@pytest_asyncio.fixture(loop_scope="module")
async def visitors(redis_url, rows):
    async with redis_client.connect(redis_url, 2.0) as client:
        yield OnlineVisitors(client, rows, deadline_seconds=2.0)


@pytest.fixture
def writer(client):
    return BehaviourWriter(client, Lifetimes())


def behaviours(count: int, seed: int) -> list[Behaviour]:
    """Events of three users and a session over 90 items: in disorder, repeated, some items again and again."""
    chance = random.Random(seed)
    events = []
    for number in range(count):
        subject = chance.choice(["user:ana", "user:bob", "user:cat", "session:s"])
        stars = float(chance.randint(1, 5))
        when = START + timedelta(seconds=number + chance.choice([0, 0, 0, -30, -300]))
        item = f"film|{chance.randint(1, 90)}"
        events.append(Behaviour(f"e{number}", subject, Interaction(subject[5:], item, stars, "rate", when)))
    return [*events, *chance.sample(events, count // 10)]


async def test_the_script_does_what_its_definition_does(tenant, client, writer, visitors):
    state = LiveState({f"user:{user.user_id}": segment(user) for user in USERS})
    for user in USERS:
        await visitors.put_profile(tenant, user, Lifetimes())

    for behaviour in behaviours(600, seed=3):
        assert writer.apply(tenant, behaviour).fresh == state.apply(behaviour)

    for subject, expected in state.subjects.items():
        user_id = subject.removeprefix("user:") if subject.startswith("user:") else ""
        session_id = subject.removeprefix("session:") if not user_id else ""
        live = await visitors.history(tenant, user_id, session_id)
        assert [(each.item_id, each.rating, each.occurred_at) for each in live] == [
            (each.item_id, each.rating, each.occurred_at) for each in expected.live
        ]
        fields = client.hgetall(f"{key_prefix(tenant)}profile:{subject}")
        assert (
            UserAggregates(
                int(fields["events"]), float(fields["rating_sum"]), int(fields["likes"]), int(fields["dislikes"])
            )
            == expected.aggregates
        )
        seen = client.zrange(f"{key_prefix(tenant)}seen:{subject}", 0, -1, withscores=True)
        assert dict(seen) == expected.seen
    activity = await visitors.activity(tenant, 0.0)
    assert {each.item_id: each.aggregates for each in activity.items} == dict(state.items)
    for each in activity.items:
        assert dict(each.neighbours) == dict(state.together[each.item_id])
    assert {name: dict(counts) for name, counts in activity.popular.items()} == {
        name: dict(counts) for name, counts in state.popular.items()
    }


async def test_a_folded_history_is_written_as_its_events_would_be(tenant, writer, client, visitors):
    folded = LiveState({f"user:{user.user_id}": segment(user) for user in USERS})
    one_by_one = f"{tenant}-one-by-one"
    for user in USERS:
        await visitors.put_profile(one_by_one, user, Lifetimes())
    for behaviour in behaviours(300, seed=4):
        if behaviour.subject.startswith("user:"):
            folded.apply(behaviour)
            writer.apply(one_by_one, behaviour)
    write_state(client, tenant, folded, {f"user:{user.user_id}": user for user in USERS}, Lifetimes())

    assert everything(client, tenant) == everything(client, one_by_one)


def everything(client, tenant: str) -> dict[str, object]:
    """All that is kept of a tenant but the times of writing; 9.0 and Redis' 9 are the same number."""
    prefix, found = key_prefix(tenant), {}
    for key in client.scan_iter(f"{prefix}*"):
        name = key.removeprefix(prefix)
        if client.type(key) == "hash":
            fields = client.hgetall(key)
            found[name] = fields | {"updated": "", "rating_sum": float(fields["rating_sum"])}
        elif client.type(key) == "list":
            found[name] = client.lrange(key, 0, -1)
        elif client.type(key) == "zset" and name != "dirty":
            found[name] = dict(client.zrange(key, 0, -1, withscores=True))
    return found


async def test_every_key_of_a_visitor_and_every_event_id_expires(tenant, client, writer):
    for subject in ("user:ana", "session:s"):
        interaction = Interaction(subject[5:], "film", 4.0, "click", START)
        writer.apply(tenant, Behaviour(f"e-{subject}", subject, interaction))

    prefix, lifetimes = key_prefix(tenant), Lifetimes()
    for kind in ("live", "seen", "profile"):
        assert 0 < client.ttl(f"{prefix}{kind}:user:ana") <= lifetimes.user
        assert 0 < client.ttl(f"{prefix}{kind}:session:s") <= lifetimes.session
    assert 7 * 86_400 < client.ttl(f"{prefix}event:e-user:ana") <= lifetimes.deduplication


async def test_an_impression_feeds_the_experiment_and_never_the_sequence(tenant, client, writer):
    interaction = Interaction("ana", "film", 0.0, "impression", START)

    applied = writer.apply(tenant, Behaviour("e1", "user:ana", interaction), "diversity", "varied:impressions")
    again = writer.apply(tenant, Behaviour("e1", "user:ana", interaction), "diversity", "varied:impressions")

    assert applied.tallies == again.tallies == {"varied:impressions": 1}
    assert not client.exists(f"{key_prefix(tenant)}live:user:ana")


async def test_activity_is_read_incrementally(tenant, writer, visitors):
    for number in range(3):
        interaction = Interaction("ana", f"film-{number}", 1.0, "dislike", START)
        writer.apply(tenant, Behaviour(f"e{number}", "user:ana", interaction))
    first = await visitors.activity(tenant, 0.0)
    writer.apply(tenant, Behaviour("e9", "user:bob", Interaction("bob", "film-1", 5.0, "like", START)))

    second = await visitors.activity(tenant, first.until)

    assert {each.item_id for each in first.items} == {"film-0", "film-1", "film-2"}
    assert [each.item_id for each in second.items] == ["film-1"]
    assert second.items[0].aggregates == ItemAggregates(2, 6.0, 1, 1)
    assert not (await visitors.activity(tenant, second.until)).items


async def test_a_session_that_signs_in_brings_its_clicks(tenant, writer, visitors):
    for number, subject in enumerate(["user:ana", "session:s", "session:s"]):
        interaction = Interaction(subject[5:], f"film-{number % 2}", 4.0, "click", START + timedelta(seconds=number))
        writer.apply(tenant, Behaviour(f"e{number}", subject, interaction))

    visitor = await visitors.visitor(tenant, "ana", "s")

    assert [each.item_id for each in visitor.history] == ["film-0", "film-1"]
    assert visitor.seen == {"film-0", "film-1"}


async def test_the_feature_row_is_read_back_and_an_older_one_changes_nothing(tenant, writer, rows, visitors):
    await visitors.put_profile(tenant, USERS[0], Lifetimes())
    first = writer.apply(tenant, Behaviour("e1", "user:ana", Interaction("ana", "film", 5.0, "like", START)))
    second = writer.apply(tenant, Behaviour("e2", "user:ana", Interaction("ana", "film", 1.0, "dislike", START)))

    rows.write([second.row])
    rows.write([first.row])
    rows.write([second.row])

    visitor = await visitors.visitor(tenant, "ana", "")
    assert visitor.profile == USERS[0]
    assert visitor.segment == "25-34/F"
    assert visitor.aggregates == UserAggregates(2, 6.0, 1, 1)
    assert (await rows.read(tenant, "ana")) == second.row
    assert not visitor.degraded


async def test_a_lost_feature_row_is_made_up_from_the_sequence_and_said(tenant, writer, visitors):
    writer.apply(tenant, Behaviour("e1", "user:ana", Interaction("ana", "film", 5.0, "like", START)))

    visitor = await visitors.visitor(tenant, "ana", "")

    assert visitor.aggregates == UserAggregates(1, 5.0, 1, 0)
    assert visitor.degraded == ("the user's feature row is missing: aggregates of the live sequence alone",)


async def test_a_user_who_has_just_come_is_no_fault(tenant, visitors):
    visitor = await visitors.visitor(tenant, "nobody", "")

    assert visitor.segment == "all"
    assert not visitor.history
    assert not visitor.degraded


async def test_without_redis_the_visitor_is_unknown_and_the_writer_says_so(rows, tenant):
    nowhere = "redis://127.0.0.1:1/0"
    async with redis_client.connect(nowhere, 0.2) as client:
        broken_rows = UserRows(FEAST, nowhere, timeout_seconds=0.2, ttl_seconds=3600)
        visitor = await OnlineVisitors(client, broken_rows, deadline_seconds=0.5).visitor(tenant, "ana", "")

    assert visitor.segment == "all"
    assert "online features are not available" in visitor.degraded[0]
    broken_writer = BehaviourWriter(redis_client.connect_blocking(nowhere, 0.2), Lifetimes())
    behaviour = Behaviour("e1", "user:ana", Interaction("ana", "film", 5.0, "like", START))
    with pytest.raises(OnlineStoreUnavailable):
        broken_writer.apply(tenant, behaviour)
    with pytest.raises(OnlineStoreUnavailable):
        broken_rows.write([UserRow(tenant, USERS[0], "all", UserAggregates(), START)])


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://h:1/2", "h:1,db=2,socket_timeout=0.2,socket_connect_timeout=0.2,retry=null"),
        (
            "rediss://:s%2F1@h",
            'h:6379,db=0,socket_timeout=0.2,socket_connect_timeout=0.2,retry=null,password="s/1",ssl=true',
        ),
    ],
)
async def test_feast_is_told_the_same_redis(url, expected):
    assert connection_string(url, 0.2) == expected
