"""What the recommender consumes and produces: behaviour into features, items from the topic, what was served."""

import asyncio
import contextvars
from datetime import UTC

from casebook.behaviour.v1 import events_pb2 as behaviour_pb2
from casebook.catalogue.v1 import catalogue_pb2
from casebook.recommender.v1 import events_pb2 as served_pb2
from casebook.recommender.v1 import recommender_pb2
from chassis import logs
from chassis.errors import CasebookError, Unavailable
from chassis.events import Event, EventProducer, PoisonMessage
from recommender import metrics
from recommender.catalogue import CatalogueItem, Catalogues
from recommender.experiments import Experiment, Tally, read_outs
from recommender.features import Interaction, ItemFacts, rating_of
from recommender.index import IndexKeeper
from recommender.live_state import Behaviour
from recommender.online_features import Applied, BehaviourWriter, EntityRows
from recommender.ports import OnlineStoreUnavailable
from recommender.ranking import FEATURE_NAMES
from recommender.recommend import Recommendation

BEHAVIOUR_TOPIC = "behaviour.events.v1"
SERVED_TOPIC = "recommendation.served.v1"
FEATURES_GROUP = "recommender.features"
SERVED_WAITING = 1_000
"""Answers whose log entry is not written yet; one more goes without, and is counted. About 10 MB."""
SERVED_WRITERS = 16
"""Log entries on their way to the broker at a time."""

_log = logs.logger(__name__)


class FeatureUpdates:
    """The handler of `behaviour.events.v1`: an event becomes features within a second."""

    def __init__(self, writer: BehaviourWriter, rows: EntityRows, experiment: Experiment) -> None:
        self._writer = writer
        self._rows = rows
        self._experiment = experiment

    def handle(self, event: Event[behaviour_pb2.BehaviourEvent]) -> None:
        """Takes the event in, then writes the user's row, which comes out the same however often it is written."""
        behaviour = behaviour_of(event)
        tenant, action = event.envelope.tenant, behaviour.interaction.action
        tally = self._tally_of(event, action)
        try:
            applied = self._writer.apply(tenant, behaviour, self._experiment.name, tally)
            if applied.row is not None:
                self._rows.write([applied.row])
        except OnlineStoreUnavailable as error:
            raise Unavailable("redis", str(error)) from error
        outcome, arm = "taken in" if applied.fresh else "repeated", tally.partition(":")[0]
        metrics.events.add(1, {"action": action, "outcome": outcome, "arm": arm})
        self._read_out(tenant, applied)

    def _tally_of(self, event: Event[behaviour_pb2.BehaviourEvent], action: str) -> str:
        """The arm's counter that the event goes to: only what a recommendation led to counts."""
        if not event.message.recommendation_id:
            return ""
        visitor = event.message.user_id or event.message.session_id
        arm = self._experiment.arm_of(f"{event.envelope.tenant}:{visitor}")
        return f"{arm.name}:{'impressions' if action == 'impression' else 'clicks'}"

    def _read_out(self, tenant: str, applied: Applied) -> None:
        counts = applied.tallies
        if not counts:
            return
        tallies = [
            Tally(counts.get(f"{arm.name}:impressions", 0), counts.get(f"{arm.name}:clicks", 0))
            for arm in self._experiment.arms
        ]
        for arm, difference in read_outs(self._experiment, tallies).items():
            labels = {"tenant": tenant, "experiment": self._experiment.name, "arm": arm}
            metrics.p_value.set(difference.p_value, labels)
            metrics.lift.set(difference.lift, labels)


def behaviour_of(event: Event[behaviour_pb2.BehaviourEvent]) -> Behaviour:
    """The event in the domain's words. Raises PoisonMessage, naming the field, for what can never be taken in."""
    message = event.message
    if not message.item_id:
        raise PoisonMessage("item_id: missing")
    if not message.user_id and not message.session_id:
        raise PoisonMessage("user_id, session_id: at least one is needed")
    try:
        action = behaviour_pb2.Action.Name(message.action).removeprefix("ACTION_").lower()
        stars = 0.0 if action == "impression" else rating_of(action, message.rating)
    except ValueError as error:
        raise PoisonMessage(f"action, rating: {error}") from error
    try:
        when = message.occurred_at.ToDatetime(UTC) if message.HasField("occurred_at") else event.envelope.time
    except ValueError as error:
        raise PoisonMessage(f"occurred_at: {error}") from error
    subject = f"user:{message.user_id}" if message.user_id else f"session:{message.session_id}"
    interaction = Interaction(message.user_id or message.session_id, message.item_id, stars, action, when)
    return Behaviour(event.envelope.id, subject, interaction)


class CatalogueFeed:
    """The handler of `catalogue.items.v1` in every replica. Called from the follower's thread."""

    def __init__(self, catalogues: Catalogues, keeper: IndexKeeper, loop: asyncio.AbstractEventLoop) -> None:
        self._catalogues = catalogues
        self._keeper = keeper
        self._loop = loop

    def handle(self, event: Event[catalogue_pb2.ItemChanged]) -> None:
        """Hands the item to the event loop, which alone writes to the catalogue; an older revision changes nothing."""
        message = event.message
        item = message.item
        facts = ItemFacts(item.item_id, item.title, tuple(item.categories), item.year)
        state = CatalogueItem(facts, item.created_at.ToDatetime(UTC), item.revision, message.retired)
        self._loop.call_soon_threadsafe(self._take, event.envelope.tenant, state)

    def _take(self, tenant: str, item: CatalogueItem) -> None:
        if self._catalogues.put(tenant, item):
            self._keeper.wake()


class ServedLog:
    """The producer of `recommendation.served.v1`. An answer never waits for it: what does not fit is counted."""

    def __init__(self, producer: EventProducer) -> None:
        self._producer = producer
        self._waiting: asyncio.Queue[tuple[Recommendation, contextvars.Context]] = asyncio.Queue(SERVED_WAITING)

    def offer(self, answer: Recommendation) -> None:
        """Takes an answer for the log, with the trace that it belongs to."""
        try:
            self._waiting.put_nowait((answer, contextvars.copy_context()))
        except asyncio.QueueFull:
            metrics.dropped.add(1, {"why": "queue full"})

    async def run(self) -> None:
        """Writes what waits, until cancelled."""
        await asyncio.gather(*(self._write_on() for _ in range(SERVED_WRITERS)))

    async def close(self, seconds: float = 3.0) -> None:
        """Writes what still waits, `seconds` long."""

        async def rest() -> None:
            while not self._waiting.empty():
                await self._write(*self._waiting.get_nowait())

        try:
            await asyncio.wait_for(rest(), seconds)
        except TimeoutError:
            metrics.dropped.add(self._waiting.qsize(), {"why": "stopped"})

    async def _write_on(self) -> None:
        while True:
            await self._write(*await self._waiting.get())

    async def _write(self, answer: Recommendation, context: contextvars.Context) -> None:
        await asyncio.get_running_loop().create_task(self._publish(answer), context=context)

    async def _publish(self, answer: Recommendation) -> None:
        asked = answer.asked
        try:
            await self._producer.publish(
                SERVED_TOPIC,
                asked.visitor_key,
                served_message(answer),
                tenant=asked.tenant,
                event_id=asked.recommendation_id,
                time=answer.served_at,
            )
        except CasebookError as error:
            metrics.dropped.add(1, {"why": "broker"})
            _log.warning("an answer is not in the log of what was served", why=str(error))


def served_message(answer: Recommendation) -> served_pb2.RecommendationServed:
    """The training row: what was shown, where, with what probability, and the features as the ranker saw them."""
    message = served_pb2.RecommendationServed(
        recommendation_id=answer.asked.recommendation_id,
        user_id=answer.asked.user_id,
        session_id=answer.asked.session_id,
        versions=versions_message(answer),
        arm=answer.arm.name,
        history_item_ids=[each.item_id for each in answer.visitor.history],
        feature_names=FEATURE_NAMES,
        degraded=answer.degraded,
    )
    message.served_at.FromDatetime(answer.served_at)
    for item in answer.items:
        message.items.add(
            item_id=item.item.facts.item_id,
            position=item.final_rank,
            score=item.score,
            propensity=item.propensity,
            exploration=item.exploration,
            channels=[each.channel.value for each in item.channels],
            features=item.features,
        )
    return message


def versions_message(answer: Recommendation) -> recommender_pb2.Versions:
    """The versions and ages that the answer was made from."""
    query = answer.ranked.candidates.query
    return recommender_pb2.Versions(
        user_tower=query.user_tower,
        ranker=answer.ranked.version,
        index=query.index.version if query.index else "",
        index_age_seconds=query.index.age_seconds if query.index else 0.0,
        feature_age_seconds=answer.feature_age_seconds,
    )
