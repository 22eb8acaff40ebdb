"""`casebook fault`: what is broken on purpose."""

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
    try:
        faults.give(_redis(settings), order, seconds)
    except redis.RedisError as error:
        raise Unavailable("redis", str(error)) from error
    console.print(f"{fault} of {order.target} for {seconds} s, in the processes that allow faults")


def show(settings: Settings, console: Console) -> None:
    """The faults that are ordered now."""
    try:
        orders = faults.orders(_redis(settings))
    except redis.RedisError as error:
        raise Unavailable("redis", str(error)) from error
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
    try:
        faults.clear(_redis(settings), *([fault] if fault else []))
    except redis.RedisError as error:
        raise Unavailable("redis", str(error)) from error
    console.print(f"{fault or 'every fault'} is over within a second")


def _redis(settings: Settings) -> redis.Redis:
    return redis.Redis.from_url(settings.redis_url, socket_timeout=5.0, socket_connect_timeout=5.0)
