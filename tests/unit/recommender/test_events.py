"""What an event is turned into, what can never be taken in, and a log that no answer waits for."""

import asyncio
from datetime import UTC, datetime

import pytest

from casebook.behaviour.v1 import events_pb2 as behaviour_pb2
from chassis.errors import Unavailable
from chassis.events import Envelope, Event, PoisonMessage
from recommender.events import SERVED_WAITING, FeatureUpdates, ServedLog, behaviour_of, served_message
from recommender.experiments import Arm, Experiment
from recommender.features import UserAggregates, UserProfile
from recommender.online_features import Applied, UserRow
from recommender.ports import OnlineStoreUnavailable
from tests.unit.recommender.fakes import NOW, TENANT, Cinema, films

SPLIT = Experiment("diversity", (Arm("control", 0.5), Arm("varied", 0.5)))


def event(**fields: object) -> Event[behaviour_pb2.BehaviourEvent]:
    message = behaviour_pb2.BehaviourEvent(**{"item_id": "film-1", "user_id": "ana", **fields})
    return Event("behaviour.events.v1", 0, 0, "key", Envelope("e1", "type", "test", TENANT, NOW), message)


@pytest.mark.parametrize(
    ("action", "rating", "stars"),
    [("CLICK", 0.0, 4.0), ("LIKE", 0.0, 5.0), ("DISLIKE", 0.0, 1.0), ("RATE", 2.5, 2.5), ("IMPRESSION", 0.0, 0.0)],
)
def test_an_action_is_put_on_the_scale_of_stars(action, rating, stars):
    behaviour = behaviour_of(event(action=f"ACTION_{action}", rating=rating))

    assert behaviour.interaction.rating == stars
    assert behaviour.interaction.action == action.lower()
    assert behaviour.interaction.occurred_at == NOW


@pytest.mark.parametrize(
    ("who", "subject"),
    [
        ({"user_id": "ana"}, "user:ana"),
        ({"user_id": "", "session_id": "s"}, "session:s"),
        ({"user_id": "ana", "session_id": "s"}, "user:ana"),
    ],
)
def test_a_session_that_has_signed_in_acts_as_its_user(who, subject):
    assert behaviour_of(event(action="ACTION_CLICK", **who)).subject == subject


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"action": "ACTION_CLICK", "item_id": ""}, "item_id"),
        ({"action": "ACTION_CLICK", "user_id": ""}, "user_id, session_id"),
        ({"action": "ACTION_RATE", "rating": 6.0}, "rating must be 1 to 5 stars, received 6"),
        ({"action": "ACTION_UNSPECIFIED"}, "action must be one of"),
        ({"action": 99}, "action"),
    ],
)
def test_what_can_never_be_taken_in_is_poison_and_names_the_field(fields, why):
    with pytest.raises(PoisonMessage, match=why):
        behaviour_of(event(**fields))


class FakeWriter:
    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.tallies: list[str] = []

    def apply(self, tenant, behaviour, experiment="", tally=""):
        if self.error:
            raise self.error
        self.tallies.append(tally)
        return Applied(True, UserRow(tenant, UserProfile("ana"), "all", UserAggregates(1), NOW), {})


class FakeRows:
    def __init__(self) -> None:
        self.written: list[UserRow] = []

    def write(self, rows):
        self.written += rows


def test_the_row_is_written_after_the_event_is_taken_in():
    rows = FakeRows()

    FeatureUpdates(FakeWriter(), rows, Experiment()).handle(event(action="ACTION_CLICK"))

    assert rows.written[0].aggregates.events == 1


@pytest.mark.parametrize(
    ("fields", "counter"),
    [
        ({"action": "ACTION_IMPRESSION", "recommendation_id": "r"}, "impressions"),
        ({"action": "ACTION_CLICK", "recommendation_id": "r"}, "clicks"),
        ({"action": "ACTION_CLICK"}, ""),
    ],
)
def test_only_what_a_recommendation_led_to_counts_for_its_arm(fields, counter):
    writer = FakeWriter()

    FeatureUpdates(writer, FakeRows(), SPLIT).handle(event(**fields))

    arm = SPLIT.arm_of(f"{TENANT}:ana").name
    assert writer.tallies == [f"{arm}:{counter}" if counter else ""]


def test_a_store_that_is_away_is_tried_again():
    updates = FeatureUpdates(FakeWriter(OnlineStoreUnavailable("refused")), FakeRows(), Experiment())

    with pytest.raises(Unavailable, match="redis is not available: refused"):
        updates.handle(event(action="ACTION_CLICK"))


class StuckProducer:
    """A broker that does not answer until it is let."""

    def __init__(self) -> None:
        self.let = asyncio.Event()
        self.published: list[str] = []

    async def publish(self, topic, key, message, *, tenant, event_id, time):
        await self.let.wait()
        self.published.append(event_id)


async def test_an_answer_never_waits_for_its_log_entry_and_the_log_is_bounded():
    answer = await (await Cinema(films(20)).open()).recommend("ana")
    producer = StuckProducer()
    log = ServedLog(producer)
    writing = asyncio.create_task(log.run())

    for _ in range(SERVED_WAITING + 50):
        log.offer(answer)

    producer.let.set()
    await log.close()
    writing.cancel()
    assert 0 < len(producer.published) <= SERVED_WAITING


async def test_the_log_entry_is_a_training_row():
    answer = await (await Cinema(films(20)).open()).recommend("ana")

    message = served_message(answer)

    assert [item.position for item in message.items] == list(range(1, 11))
    assert len(message.items[0].features) == len(message.feature_names)
    assert all(item.propensity == 1.0 for item in message.items)
    assert message.versions.ranker == "7"
    assert message.served_at.ToDatetime(UTC) <= datetime.now(UTC)
