"""Loads a data set: items and users into PostgreSQL, and what its history leaves behind into Redis and Feast.

The history is folded with the code that defines what an event does (live_state.py, features.py), and only the outcome
is written: 100,000 events take 3 s instead of the minute that as many scripts would. It may run again at any time:
items that are there stay as they are, and a Redis that holds this data set already is left alone.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import redis
from redis.exceptions import RedisError

from chassis import logs
from chassis.errors import Unavailable
from recommender import data
from recommender.features import UserProfile, segment
from recommender.live_state import Behaviour, LiveState
from recommender.online_features import EntityRows, Lifetimes, key_prefix, write_state
from recommender.store import Store

BATCH = 500

T = TypeVar("T")

_log = logs.logger(__name__)


async def seed(
    dataset: data.Dataset,
    tenant: str,
    store: Store,
    client: redis.Redis,
    rows: Callable[[], EntityRows],
    lifetimes: Lifetimes = Lifetimes(),  # noqa: B008 - frozen
) -> None:
    """Loads `dataset` for `tenant`. Raises Unavailable where PostgreSQL or Redis does not answer.

    `rows` opens the store of the users' rows; it is called only when there are rows to write.
    """
    with _step("users", len(dataset.users)):
        for profiles in _batches(dataset.users):
            await store.put_users(tenant, profiles)
    with _step("items", len(dataset.items)):
        added = sum([await store.add_missing_items(tenant, items) for items in _batches(dataset.items)])
    _log.info("items added", added=added, already_there=len(dataset.items) - added)
    with _step("events", len(dataset.interactions)):
        try:
            await asyncio.to_thread(_seed_features, dataset, tenant, client, rows, lifetimes)
        except RedisError as error:
            raise Unavailable("redis", str(error)) from error


def read(path: Path | None, cache: Path) -> data.Dataset:
    """The data set at `path`; without one MovieLens-100K, fetched once into `cache`. Raises DataError."""
    return data.load(path or data.fetch_movielens_100k(cache))


def fold(dataset: data.Dataset) -> LiveState:
    """What the data set's history leaves behind, event by event."""
    state = LiveState({f"user:{profile.user_id}": segment(profile) for profile in dataset.users})
    for number, interaction in enumerate(dataset.interactions):
        state.apply(Behaviour(str(number), f"user:{interaction.user_id}", interaction))
    return state


def _seed_features(
    dataset: data.Dataset, tenant: str, client: redis.Redis, rows: Callable[[], EntityRows], lifetimes: Lifetimes
) -> None:
    marker = f"{key_prefix(tenant)}seeded"
    if client.get(marker) == dataset.sha256:
        _log.info("Redis holds this data set already", data=dataset.name)
        return
    written = write_state(client, tenant, fold(dataset), _profiles(dataset.users), lifetimes)
    store = rows()
    for batch in _batches(written):
        store.write(batch)
    client.set(marker, dataset.sha256)


def _profiles(users: Sequence[UserProfile]) -> dict[str, UserProfile]:
    return {f"user:{profile.user_id}": profile for profile in users}


def _batches(values: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(values), BATCH):
        yield values[start : start + BATCH]


@contextmanager
def _step(what: str, count: int) -> Iterator[None]:
    """Says what is loaded, and how long it took."""
    _log.info(f"seeding {count} {what}")
    started = time.perf_counter()
    yield
    _log.info(f"seeded {what}", seconds=round(time.perf_counter() - started, 2))
