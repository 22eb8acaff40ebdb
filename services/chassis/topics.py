"""Topics as data: what `infra/kafka/topics.yaml` says, and making a cluster say the same."""

from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import (
    KafkaConnectionError,
    KafkaError,
    TopicAlreadyExistsError,
    UnknownBrokerIdError,
    UnsupportedVersionError,
)

from chassis.errors import InvalidField, Unavailable
from chassis.events.burial import topic_of
from chassis.events.connection import client_options
from chassis.settings import Settings


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic as it should be."""

    name: str
    partitions: int
    replication: int
    key: str = ""
    """What decides the partition, for people."""
    groups: tuple[str, ...] = ()
    """The consumer groups that read it."""
    configs: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Applied:
    """What `apply` did and found."""

    created: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    """One line a change made: a topic, a setting, from what to what."""
    differing: tuple[str, ...] = ()
    """One line a difference that is not touched: fewer partitions, another replication, a topic that the file lacks."""
    skipped: str = ""
    """Why nothing was done, where the cluster cannot do it."""


def load(path: Path, replication: int | None = None) -> list[Topic]:
    """Reads the file; each topic brings its dead-letter topic. `replication` overrides what the file says.

    Raises InvalidField, naming the topic and the field.
    """
    document = yaml.safe_load(path.read_text())
    defaults = dict(document["defaults"])
    dead_letters = defaults | document["dead_letters"]
    topics = []
    for name, entry in document["topics"].items():
        topics.append(_topic(path, name, defaults, entry, replication))
        topics.append(_topic(path, topic_of(name), dead_letters, {"key": entry.get("key", "")}, replication))
    return topics


def _topic(path: Path, name: str, defaults: dict[str, Any], entry: dict[str, Any], replication: int | None) -> Topic:
    unknown = sorted(entry.keys() - {"partitions", "replication", "key", "groups", "configs"})
    if unknown:
        raise InvalidField(f"{path}: topics.{name}", f"has no field {', '.join(unknown)}")
    merged = defaults | entry
    for field_name in ("partitions", "replication"):
        if not isinstance(merged.get(field_name), int) or merged[field_name] < 1:
            raise InvalidField(f"{path}: topics.{name}.{field_name}", "must be a number from 1", merged.get(field_name))
    replicas = replication or merged["replication"]
    # What is acknowledged outlives one broker, and one broker may be away: of three replicas, two must have it.
    in_sync = {"min.insync.replicas": max(1, replicas - 1)}
    configs = in_sync | defaults.get("configs", {}) | entry.get("configs", {})
    return Topic(
        name=name,
        partitions=merged["partitions"],
        replication=replicas,
        key=merged.get("key", ""),
        groups=tuple(merged.get("groups", ())),
        configs={key: _text(value) for key, value in configs.items()},
    )


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def apply(settings: Settings, topics: list[Topic]) -> Applied:
    """Creates what is missing and changes settings that differ; deletes nothing, and names what it leaves alone.

    Repeating it changes nothing. Partitions are not added (a key would move to another one and lose its order) and
    replication is not changed: both are named in `differing`. Raises Unavailable where no broker answers.
    """
    try:
        with closing(KafkaAdminClient(**client_options(settings, "casebook.topics"))) as admin:
            return _apply(admin, topics)
    except (UnknownBrokerIdError, UnsupportedVersionError, KafkaConnectionError) as error:
        if not settings.kafka_api_version:
            raise Unavailable("kafka", str(error)) from error
        # librdkafka's mock cluster. It has named its topics by now, so it is no broker that is down.
        return Applied(
            skipped=f"the cluster at {settings.kafka_bootstrap} has no CreateTopics: it makes topics when used"
        )
    except KafkaError as error:
        raise Unavailable("kafka", str(error)) from error


def _apply(admin: KafkaAdminClient, topics: list[Topic]) -> Applied:
    existing = {entry["name"]: entry for entry in admin.describe_topics() if not entry["is_internal"]}
    missing = [topic for topic in topics if topic.name not in existing]
    if missing:
        _create(admin, missing)
    present = [topic for topic in topics if topic.name in existing]
    changed = _change_configs(admin, present)
    differing = [line for topic in present for line in _differences(topic, existing[topic.name])]
    unknown = sorted(existing.keys() - {topic.name for topic in topics})
    return Applied(
        created=tuple(topic.name for topic in missing),
        changed=tuple(changed),
        differing=(*differing, *(f"{name}: exists and stands in no file" for name in unknown)),
    )


def _create(admin: KafkaAdminClient, topics: list[Topic]) -> None:
    wanted = {
        topic.name: {
            "num_partitions": topic.partitions,
            "replication_factor": topic.replication,
            "configs": topic.configs,
        }
        for topic in topics
    }
    try:
        admin.create_topics(wanted)
    except TopicAlreadyExistsError:  # another `apply` was faster
        admin.create_topics(wanted, raise_errors=False)
    admin.wait_for_topics(list(wanted))


def _change_configs(admin: KafkaAdminClient, topics: list[Topic]) -> list[str]:
    if not topics:
        return []
    resources = [ConfigResource(ConfigResourceType.TOPIC, topic.name) for topic in topics]
    held = admin.describe_configs(resources, config_filter="all")["topic"]
    changed, changes = [], []
    for topic in topics:
        now = {key: held[topic.name][key]["value"] for key in topic.configs}
        differing = {key: value for key, value in topic.configs.items() if now[key] != value}
        changed += [f"{topic.name}: {key} from {now[key]} to {value}" for key, value in differing.items()]
        if differing:
            changes.append(ConfigResource(ConfigResourceType.TOPIC, topic.name, differing))
    if changes:
        admin.alter_configs(changes)
    return changed


def _differences(topic: Topic, entry: dict[str, Any]) -> list[str]:
    partitions = len(entry["partitions"])
    replicas = {len(partition["replica_nodes"]) for partition in entry["partitions"]}
    lines = []
    if partitions != topic.partitions:
        lines.append(f"{topic.name}: has {partitions} partitions, the file says {topic.partitions}")
    if replicas != {topic.replication}:
        lines.append(f"{topic.name}: has {sorted(replicas)} replicas, the file says {topic.replication}")
    return lines
