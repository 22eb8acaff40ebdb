"""`casebook topics …` and `casebook dlq …`: what chassis.topics and chassis.dead_letters do, from the shell."""

import time
from contextlib import closing
from pathlib import Path

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError
from rich.console import Console
from rich.table import Table

from chassis import dead_letters, topics
from chassis.dead_letters import DeadLetter, Filter
from chassis.errors import Unavailable
from chassis.events import EventProducer
from chassis.events.connection import client_options
from chassis.retries import Retries
from chassis.settings import Settings
from chassis.topics import Applied, Topic

TIMEOUT_MS = 5000


def apply_topics(
    settings: Settings, file: Path, replication: int | None, wait_seconds: float, console: Console
) -> None:
    """Makes the cluster say what the file says, as far as that deletes nothing; waits so long for a broker.

    A container that ends and is started anew waits ever longer in between, minutes after a slow start of Kafka.
    """
    wanted = topics.load(file, replication)
    applied = _applied(settings, wanted, time.monotonic() + wait_seconds)
    if applied.skipped:
        console.print(f"skipped: {applied.skipped}")
        return
    for name in applied.created:
        console.print(f"created  {name}")
    for change in applied.changed:
        console.print(f"changed  {change}")
    for difference in applied.differing:
        console.print(f"[yellow]differs[/]  {difference}")
    if not (applied.created or applied.changed or applied.differing):
        console.print(f"{len(wanted)} topics are as {file} says")


def _applied(settings: Settings, wanted: list[Topic], deadline: float) -> Applied:
    attempts = 1
    while True:
        try:
            return topics.apply(settings, wanted)
        except Unavailable:
            pause = Retries().delay(attempts)
            if time.monotonic() + pause > deadline:
                raise
        time.sleep(pause)
        attempts += 1


def list_topics(settings: Settings, console: Console) -> None:
    """The topics of the cluster, their partitions, and how far the ends of these are from their starts."""
    table = Table("topic", "partitions", "offsets held", box=None)
    try:
        with closing(KafkaConsumer(**client_options(settings, "casebook.topics"), group_id=None)) as consumer:
            for topic in sorted(consumer.topics()):
                partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
                starts = consumer.beginning_offsets(partitions, TIMEOUT_MS).values()
                ends = consumer.end_offsets(partitions, TIMEOUT_MS).values()
                table.add_row(topic, str(len(partitions)), str(sum(ends) - sum(starts)))
    except KafkaError as error:
        raise Unavailable("kafka", str(error)) from error
    console.print(table)


def list_dead_letters(settings: Settings, topic: str, limit: int, console: Console) -> None:
    """The dead letters of a topic."""
    letters = dead_letters.list_letters(settings, topic, limit=limit)
    console.print(_table(letters) if letters else f"{topic} has no dead letters")


def replay_dead_letters(
    settings: Settings, topic: str, event_id: str, reason_contains: str, limit: int, console: Console
) -> None:
    """Publishes dead letters again, and shows which."""
    only = Filter(event_id=event_id, reason_contains=reason_contains)
    with closing(EventProducer(settings, source="casebook.dlq")) as producer:
        replayed = dead_letters.replay(settings, producer, topic, limit=limit, only=only)
    console.print(_table(replayed) if replayed else "nothing fits: nothing was replayed")


def _table(letters: list[DeadLetter]) -> Table:
    table = Table("event", "died at", "group", "attempts", "tenant", "key", "lies at", "reason", box=None)
    for letter in letters:
        died_at = letter.died_at.isoformat(sep=" ", timespec="seconds") if letter.died_at else ""
        table.add_row(
            letter.event_id,
            died_at,
            letter.group,
            str(letter.attempts),
            letter.tenant,
            letter.key,
            f"{letter.partition}@{letter.offset}",
            letter.reason,
        )
    return table
