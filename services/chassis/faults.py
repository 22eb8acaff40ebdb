"""Faults on demand: what an operator breaks on purpose, to see it on the dashboards and its alert (infra/faults.md).

An order is a key in Redis that ends by itself, so nobody has to remember it. Each process that allows faults (the
setting `faults`, off unless it is said) reads the orders twice a second; without Redis there are none. Where faults are
not allowed, nothing is read, and asking for one is a look into an empty dictionary.
"""

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import cast

import redis
import redis.asyncio
from opentelemetry.metrics import CallbackOptions, Observation

from chassis import logs, telemetry
from chassis.errors import InvalidField
from chassis.settings import Settings

POLL_SECONDS = 0.5
LONGEST_SECONDS = 3600
_KEY = "casebook:fault:"

_log = logs.logger(__name__)


class Fault(StrEnum):
    """What can be broken."""

    SLOW_MODEL = "slow-model"
    """Each run of a model takes longer."""
    WRONG_VERSION = "wrong-version"
    """The model server takes no new release of a model: it answers with a version that is not the released one."""
    STALE_FEATURES = "stale-features"
    """A consumer group holds its events and handles none."""
    LOST_CONSUMER = "lost-consumer"
    """The members of a consumer group leave it."""


DEFAULT_TARGETS: Mapping[Fault, str] = {
    Fault.SLOW_MODEL: "din",
    Fault.WRONG_VERSION: "din",
    Fault.STALE_FEATURES: "recommender.features",
    Fault.LOST_CONSUMER: "recommender.features",
}
"""Which model or consumer group, where the order does not say."""


@dataclass(frozen=True, slots=True)
class Order:
    """A fault that is to be."""

    fault: Fault
    target: str
    """The model or the consumer group."""
    delay_seconds: float = 0.0
    """How much longer a slow model takes."""


_ordered: dict[Fault, Order] = {}


def ordered(fault: Fault, target: str) -> Order | None:
    """The order for this fault in this target; None where all is well."""
    order = _ordered.get(fault)
    return order if order is not None and order.target == target else None


async def slow_down(model: str) -> None:
    """Takes as long as a slow model is ordered to take longer."""
    if order := ordered(Fault.SLOW_MODEL, model):
        await asyncio.sleep(order.delay_seconds)


async def follow(settings: Settings) -> None:
    """Keeps this process's orders the same as Redis', until it is cancelled."""
    async with redis.asyncio.from_url(
        settings.redis_url.get_secret_value(), socket_timeout=1.0, socket_connect_timeout=1.0
    ) as client:
        while True:
            try:
                _take(await client.mget(_keys()))
            except redis.RedisError:
                _take([])  # whoever depends on Redis says that it is away
            await asyncio.sleep(POLL_SECONDS)


def give(client: redis.Redis, order: Order, seconds: int) -> None:
    """Orders a fault for `seconds`, in place of an earlier order for the same one."""
    if not 1 <= seconds <= LONGEST_SECONDS:
        raise InvalidField("seconds", f"1 to {LONGEST_SECONDS}: a fault ends by itself", str(seconds))
    client.set(_KEY + order.fault, json.dumps(asdict(order)), ex=seconds)


def clear(client: redis.Redis, *cleared: Fault) -> None:
    """Ends these faults; without any, all."""
    client.delete(*(_KEY + fault for fault in cleared or Fault))


def orders(client: redis.Redis) -> list[tuple[Order, int]]:
    """Every fault that is ordered now, and in how many seconds it ends."""
    found = _parse(cast("list[bytes | None]", client.mget(_keys())))
    return [(order, max(0, cast("int", client.ttl(_KEY + order.fault)))) for order in found.values()]


def _keys() -> list[str]:
    return [_KEY + fault for fault in Fault]


def _parse(values: Iterable[bytes | None]) -> dict[Fault, Order]:
    read = [json.loads(value) for value in values if value is not None]
    return {Fault(each["fault"]): Order(**(each | {"fault": Fault(each["fault"])})) for each in read}


def _take(values: Iterable[bytes | None]) -> None:
    now = _parse(values)
    for fault in now.keys() - _ordered.keys():
        _log.warning("a fault begins, as ordered", **asdict(now[fault]))
    for fault in _ordered.keys() - now.keys():
        _log.warning("a fault is over", fault=fault)
        del _ordered[fault]
    # Never emptied meanwhile: a consumer asks on a thread of its own, and would join its group again for a moment.
    _ordered.update(now)


def _observe(_options: CallbackOptions) -> Iterable[Observation]:
    return [Observation(1, {"fault": order.fault, "target": order.target}) for order in list(_ordered.values())]


telemetry.meter("casebook.faults").create_observable_gauge(
    "casebook.fault.ordered", callbacks=[_observe], description="Faults that this process was ordered to have."
)
