"""`casebook fault`: what is broken on purpose."""

from collections.abc import Iterator
from contextlib import contextmanager

import redis
from rich.console import Console
from rich.table import Table

from chassis import faults
from chassis.errors import InvalidField, Unavailable
from chassis.faults import DEFAULT_TARGETS, Fault, Order
from chassis.settings import Settings


def named(name: str) -> Fault:
    """The fault of this name. Raises InvalidField with those that there are."""
    try:
        return Fault(name)
    except ValueError:
        raise InvalidField("name", f"one of {', '.join(Fault)}", name) from None


def give(settings: Settings, fault: Fault, target: str, delay_seconds: float, seconds: int, console: Console) -> None:
    """Orders a fault; the processes that allow faults have it within a second."""
    order = Order(fault, target or DEFAULT_TARGETS[fault], delay_seconds if fault is Fault.SLOW_MODEL else 0.0)
    with _redis(settings) as client:
        faults.give(client, order, seconds)
    console.print(f"{fault} of {order.target} for {seconds} s, in the processes that allow faults")


def show(settings: Settings, console: Console) -> None:
    """The faults that are ordered now."""
    with _redis(settings) as client:
        orders = faults.orders(client)
    if not orders:
        console.print("no faults are ordered")
        return
    table = Table("fault", "of", "delay", "ends in", box=None)
    for order, seconds in orders:
        delay = f"{order.delay_seconds:g} s" if order.delay_seconds else ""
        table.add_row(order.fault, order.target, delay, f"{seconds} s")
    console.print(table)


def clear(settings: Settings, fault: Fault | None, console: Console) -> None:
    """Ends one fault, or all."""
    with _redis(settings) as client:
        faults.clear(client, *([fault] if fault else []))
    console.print(f"{fault or 'every fault'} is over within a second")


@contextmanager
def _redis(settings: Settings) -> Iterator[redis.Redis]:
    """A client for one command. Raises Unavailable where Redis does not answer it."""
    try:
        with redis.Redis.from_url(
            settings.redis_url.get_secret_value(), socket_timeout=5.0, socket_connect_timeout=5.0
        ) as client:
            yield client
    except redis.RedisError as error:
        raise Unavailable("redis", str(error)) from error
