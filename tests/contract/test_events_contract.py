"""Events outlive the code that wrote them: what was written before is read now, and what will be written is read too.

`golden/<topic>.json` holds a Kafka message of each topic as the first version wrote it. It is never written again:
`python -m tests.contract.test_events_contract` writes only those that are missing.
"""

import base64
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from casebook.behaviour.v1.events_pb2 import Action, BehaviourEvent
from casebook.catalogue.v1.catalogue_pb2 import Item, ItemChanged
from casebook.recommender.v1.events_pb2 import RecommendationServed, ServedItem
from casebook.recommender.v1.recommender_pb2 import Channel, Versions
from casebook.support.v1.desk_pb2 import (
    Handoff,
    HandoffReason,
    HandoffState,
    Speaker,
    SuggestedArticle,
    Summary,
    Turn,
)
from casebook.support.v1.events_pb2 import ArticleChanged, FeedbackGiven, FeedbackSource, HandoffChanged
from casebook.support.v1.knowledge_pb2 import Article, Phrasings, Text
from casebook.support.v1.support_pb2 import Outcome
from casebook.support.v1.support_pb2 import Versions as SupportVersions
from chassis import topics
from chassis.events.envelope import Envelope, decode

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).parent / "golden"
AT = Timestamp(seconds=1767323045, nanos=678000000)

EVENTS: dict[str, Message] = {
    "behaviour.events.v1": BehaviourEvent(
        user_id="u1",
        session_id="s1",
        item_id="i7",
        action=Action.ACTION_RATE,
        occurred_at=AT,
        recommendation_id="0199f0a0-0000-7000-8000-000000000001",
        rating=4.5,
    ),
    "catalogue.items.v1": ItemChanged(
        item=Item(
            item_id="i7", title="Toy Story", categories=["Animation", "喜剧"], year=1995, created_at=AT, revision=3
        ),
        retired=True,
    ),
    "recommendation.served.v1": RecommendationServed(
        recommendation_id="0199f0a0-0000-7000-8000-000000000001",
        user_id="u1",
        session_id="s1",
        served_at=AT,
        items=[
            ServedItem(
                item_id="i7",
                position=1,
                score=0.75,
                propensity=0.25,
                exploration=True,
                channels=[Channel.CHANNEL_DSSM, Channel.CHANNEL_NEW_ITEM],
                features=[0.5, -1.0],
            )
        ],
        versions=Versions(user_tower="1", ranker="2", index="1", index_age_seconds=12.5, feature_age_seconds=-1),
        arm="control",
        history_item_ids=["i1", "i2"],
        feature_names=["popularity", "age"],
        degraded=["ranker"],
    ),
    "support.knowledge.v1": ArticleChanged(
        knowledge_base="bank",
        article=Article(
            article_id="lost_card",
            title=Text(en="Lost card", zh="卡丢了"),
            answer=Text(en="Freeze it.", zh="请冻结。"),
            phrasings=Phrasings(en=["my card is gone"], zh=["卡不见了"]),
            tags=["cards"],
            audience="gold",
            valid_from=AT,
            valid_to=AT,
            revision=3,
            updated_at=AT,
            retired=True,
        ),
    ),
    "support.feedback.v1": FeedbackGiven(
        conversation_id="0199f0a0-0000-7000-8000-000000000001",
        turn_id="0199f0a0-0000-7000-8000-000000000002",
        knowledge_base="bank",
        language="zh",
        question="卡不见了怎么办？",
        outcome=Outcome.OUTCOME_ANSWER,
        answered_article_id="pin_blocked",
        source=FeedbackSource.FEEDBACK_SOURCE_AGENT,
        correct_article_id="lost_card",
        in_scope=True,
        comment="不是这个",
        confidence=0.75,
        versions=SupportVersions(encoders=["encoder_zh/1"], index=7, reranker="1", calibration="default"),
        given_at=AT,
        context="新卡什么时候到？",
    ),
    "support.handoffs.v1": HandoffChanged(
        handoff=Handoff(
            handoff_id="0199f0a0-0000-7000-8000-000000000003",
            conversation_id="0199f0a0-0000-7000-8000-000000000001",
            knowledge_base="bank",
            customer_id="c1",
            state=HandoffState.HANDOFF_STATE_RESOLVED,
            reason=HandoffReason.HANDOFF_REASON_FAILED_TURNS,
            summary=Summary(
                language="en",
                question="My card is gone",
                turns=[
                    Turn(
                        turn_id="0199f0a0-0000-7000-8000-000000000002",
                        speaker=Speaker.SPEAKER_BOT,
                        text="Freeze it.",
                        at=AT,
                        outcome="answer",
                        article_id="lost_card",
                    )
                ],
                tried_article_ids=["lost_card"],
                top_candidates=[SuggestedArticle(article_id="lost_card", title="Lost card", probability=0.25)],
            ),
            requested_at=AT,
            claimed_by="remy",
            lease_until=AT,
            resolved_at=AT,
            resolution="Sent a new one.",
            revision=4,
            position=1,
        )
    ),
}
"""An event of each topic, every field set that the first version had."""


def golden(topic: str) -> tuple[Envelope, bytes]:
    document = json.loads((GOLDEN / f"{topic}.json").read_text())
    headers = [(name, text.encode()) for name, text in document["headers"].items()]
    return Envelope.from_headers(headers), base64.b64decode(document["value"])


def newer(message_class: type[Message]) -> type[Message]:
    """The message as a later version would define it: with one more field, and one more in every message inside."""
    files, pool = {}, descriptor_pool.DescriptorPool()

    def add(file) -> None:
        if file.name in files:
            return
        for dependency in file.dependencies:
            add(dependency)
        proto = descriptor_pb2.FileDescriptorProto()
        file.CopyToProto(proto)
        if file.package.startswith("casebook."):
            for message in proto.message_type:
                message.field.add(
                    name="from_a_later_version",
                    number=1000,
                    label=1,
                    type=descriptor_pb2.FieldDescriptorProto.TYPE_STRING,
                )
        files[file.name] = pool.Add(proto)

    add(message_class.DESCRIPTOR.file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(message_class.DESCRIPTOR.full_name))


def test_every_topic_has_a_golden_message():
    declared = {topic.name for topic in topics.load(ROOT / "infra" / "kafka" / "topics.yaml")}

    assert {name for name in declared if not name.endswith(".dlq")} == set(EVENTS)
    assert {path.stem for path in GOLDEN.glob("*.json")} == set(EVENTS)


@pytest.mark.parametrize("topic", EVENTS)
def test_what_the_first_version_wrote_is_read_now(topic):
    envelope, value = golden(topic)

    assert decode(type(EVENTS[topic]), envelope, value) == EVENTS[topic]
    assert envelope == Envelope(
        id="0199f0a0-0000-7000-8000-0000000000ff",
        type=EVENTS[topic].DESCRIPTOR.full_name,
        source="golden",
        tenant="acme",
        time=datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC),
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    )


@pytest.mark.parametrize("topic", EVENTS)
def test_what_a_later_version_writes_is_read_now_and_passed_on_whole(topic):
    later = newer(type(EVENTS[topic]))
    written = later.FromString(golden(topic)[1])
    written.from_a_later_version = "unknown here"
    for inner in (value for field, value in written.ListFields() if field.name in ("item", "versions")):
        inner.from_a_later_version = "unknown here too"

    read = decode(type(EVENTS[topic]), golden(topic)[0], written.SerializeToString())

    assert later.FromString(read.SerializeToString()) == written
    read.DiscardUnknownFields()
    assert read == EVENTS[topic]


@pytest.mark.parametrize("topic", EVENTS)
def test_what_is_written_now_is_read_by_a_later_version(topic):
    later = newer(type(EVENTS[topic]))

    read = later.FromString(EVENTS[topic].SerializeToString())

    assert read.from_a_later_version == ""
    assert read.SerializeToString(deterministic=True) == EVENTS[topic].SerializeToString(deterministic=True)


def write_missing() -> None:
    for topic, event in EVENTS.items():
        path = GOLDEN / f"{topic}.json"
        if path.exists():
            continue
        envelope = Envelope(
            id="0199f0a0-0000-7000-8000-0000000000ff",
            type=event.DESCRIPTOR.full_name,
            source="golden",
            tenant="acme",
            time=datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC),
            traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        )
        headers = {name: value.decode() for name, value in envelope.to_headers()}
        value = base64.b64encode(event.SerializeToString(deterministic=True)).decode()
        path.write_text(json.dumps({"headers": headers, "value": value}, indent=2) + "\n")


if __name__ == "__main__":
    write_missing()
