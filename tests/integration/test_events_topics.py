"""`apply` makes a cluster say what the file says, touches nothing else, and may be repeated."""

from pathlib import Path

import pytest
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType

from chassis import topics
from chassis.errors import InvalidField, Unavailable
from chassis.settings import Settings
from chassis.topics import Topic

FILE = Path(__file__).parents[2] / "infra" / "kafka" / "topics.yaml"


def retention_of(kafka, name):
    with KafkaAdminClient(bootstrap_servers=kafka.bootstrap) as admin:
        resource = ConfigResource(ConfigResourceType.TOPIC, name)
        return admin.describe_configs([resource], config_filter="all")["topic"][name]["retention.ms"]["value"]


def topic(name, partitions=2, retention="600000"):
    return Topic(name, partitions, replication=1, configs={"retention.ms": retention})


def test_missing_topics_are_made_once(kafka):
    wanted = [topic("apply.a.v1"), topic("apply.b.v1", partitions=3)]

    assert topics.apply(kafka.settings(), wanted).created == ("apply.a.v1", "apply.b.v1")
    again = topics.apply(kafka.settings(), wanted)

    assert (again.created, again.changed) == ((), ())
    assert retention_of(kafka, "apply.a.v1") == "600000"


def test_setting_that_differs_is_changed_and_named(kafka):
    topics.apply(kafka.settings(), [topic("apply.c.v1")])

    applied = topics.apply(kafka.settings(), [topic("apply.c.v1", retention="700000")])

    assert applied.changed == ("apply.c.v1: retention.ms from 600000 to 700000",)
    assert retention_of(kafka, "apply.c.v1") == "700000"


def test_what_is_not_touched_is_named(kafka):
    topics.apply(kafka.settings(), [topic("apply.d.v1"), topic("apply.e.v1")])

    applied = topics.apply(kafka.settings(), [topic("apply.d.v1", partitions=8)])

    assert "apply.d.v1: has 2 partitions, the file says 8" in applied.differing
    assert "apply.e.v1: exists and stands in no file" in applied.differing


def test_file_of_this_repository_can_be_applied(kafka):
    applied = topics.apply(kafka.settings(), topics.load(FILE))

    assert {"behaviour.events.v1", "behaviour.events.v1.dlq", "catalogue.items.v1"} <= set(applied.created)


def test_mock_cluster_is_skipped_in_words(embedded_kafka):
    settings = Settings(kafka_bootstrap=embedded_kafka.bootstrap, kafka_api_version="2.1")

    applied = topics.apply(settings, [topic("apply.a.v1")])

    assert applied.created == ()
    assert (
        applied.skipped == f"the cluster at {embedded_kafka.bootstrap} has no CreateTopics: it makes topics when used"
    )


def test_no_broker_is_unavailable(monkeypatch):
    monkeypatch.setattr("chassis.events.connection.BOOTSTRAP_SECONDS", 0.5)

    with pytest.raises(Unavailable, match="Unable to bootstrap"):
        topics.apply(Settings(kafka_bootstrap="127.0.0.1:9"), [topic("apply.a.v1")])


def test_topic_brings_its_dead_letters_and_a_wrong_field_is_named(tmp_path):
    by_name = {topic.name: topic for topic in topics.load(FILE, replication=3)}

    assert by_name["catalogue.items.v1"].configs["cleanup.policy"] == "compact"
    assert by_name["behaviour.events.v1"].groups == ("recommender.features", "recommender.sink")
    assert by_name["behaviour.events.v1.dlq"].configs["retention.ms"] == "2592000000"
    assert {topic.replication for topic in by_name.values()} == {3}
    assert {topic.configs["min.insync.replicas"] for topic in by_name.values()} == {"2"}
    assert topics.load(FILE)[0].configs["min.insync.replicas"] == "1"

    wrong = tmp_path / "topics.yaml"
    wrong.write_text(FILE.read_text().replace("partitions: 6", "partitions: many"))
    with pytest.raises(InvalidField, match=r"topics\.behaviour\.events\.v1\.partitions: must be a number from 1"):
        topics.load(wrong)
