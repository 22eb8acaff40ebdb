"""Faults on purpose: ordered for a while, of one target, and nothing where nobody ordered them."""

import asyncio

import pytest
import redis

from chassis import faults
from chassis.errors import InvalidField
from chassis.faults import Fault, Order
from chassis.settings import Settings

SLOW_DIN = Order(Fault.SLOW_MODEL, "din", 0.3)


@pytest.fixture
def client(redis_url):
    client = redis.Redis.from_url(redis_url)
    faults.clear(client)
    yield client
    faults.clear(client)


@pytest.fixture
async def process(redis_url):
    following = asyncio.create_task(faults.follow(Settings(redis_url=redis_url)))
    yield
    following.cancel()
    faults._take([])


async def until(holds):
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - another task changes it
            await asyncio.sleep(0.02)


async def test_an_order_reaches_the_process_and_its_end_does_too(client, process):
    faults.give(client, SLOW_DIN, seconds=60)
    await until(lambda: faults.ordered(Fault.SLOW_MODEL, "din") == SLOW_DIN)

    assert faults.ordered(Fault.SLOW_MODEL, "dssm_user") is None
    assert faults.ordered(Fault.WRONG_VERSION, "din") is None

    faults.clear(client, Fault.SLOW_MODEL)
    await until(lambda: faults.ordered(Fault.SLOW_MODEL, "din") is None)


def test_an_order_ends_by_itself(client):
    faults.give(client, SLOW_DIN, seconds=60)

    [(order, seconds)] = faults.orders(client)

    assert order == SLOW_DIN
    assert 0 < seconds <= 60


@pytest.mark.parametrize("seconds", [0, 3601])
def test_an_order_without_a_near_end_is_refused(client, seconds):
    with pytest.raises(InvalidField, match="a fault ends by itself"):
        faults.give(client, SLOW_DIN, seconds)
