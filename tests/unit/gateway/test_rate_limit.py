"""The rate limit, on a real Redis, which is killed where that is the question."""

import asyncio
import time
import uuid
from contextlib import AsyncExitStack

import pytest

from cli.processes import free_ports
from cli.redis_server import redis_server
from cli.redis_server import redis_url as redis_address
from gateway.processes import limiter_redis
from gateway.ratelimit import PAUSE_SECONDS, Quota, RateLimiter
from gateway.settings import GatewaySettings
from tests.fixtures.infrastructure import running
from tests.unit.gateway.parts import Clock


@pytest.fixture
async def limiter_at():
    async with AsyncExitStack() as stack:

        def make(url, per_second=10.0, burst=3, monotonic=time.monotonic):
            redis = limiter_redis(GatewaySettings(redis_url=url, redis_timeout_seconds=1.0))
            stack.push_async_callback(redis.aclose)
            return RateLimiter(redis, Quota(per_second, burst), monotonic)

        yield make


@pytest.fixture
def key():
    return uuid.uuid4().hex


async def test_a_quiet_key_may_send_its_burst_and_no_more(limiter_at, redis_url, key):
    limiter = limiter_at(redis_url, per_second=0.1)

    decisions = [await limiter.take(key) for _ in range(5)]

    assert [decision.allowed for decision in decisions] == [True, True, True, False, False]
    assert [decision.remaining for decision in decisions] == [2, 1, 0, 0, 0]
    assert 9 < decisions[-1].retry_after_seconds <= 10


async def test_a_request_passes_once_the_named_time_is_over(limiter_at, redis_url, key):
    limiter = limiter_at(redis_url, per_second=10)
    while (decision := await limiter.take(key)).allowed:
        pass

    await asyncio.sleep(decision.retry_after_seconds)

    assert (await limiter.take(key)).allowed


async def test_keys_do_not_share_a_limit(limiter_at, redis_url, key):
    limiter = limiter_at(redis_url, per_second=0.1, burst=1)
    await limiter.take(key)

    assert (await limiter.take(key + "-other")).allowed


async def test_replicas_share_a_limit(limiter_at, redis_url, key):
    limiters = [limiter_at(redis_url, per_second=0.1, burst=10) for _ in range(3)]

    decisions = await asyncio.gather(*(limiter.take(key) for limiter in limiters for _ in range(10)))

    assert sum(decision.allowed for decision in decisions) == 10


async def test_a_quiet_key_leaves_redis_by_itself(limiter_at, redis_url, key):
    limiter = limiter_at(redis_url, per_second=1)
    await limiter.take(key)
    redis = limiter._script.registered_client

    assert 0 < await redis.pttl(f"gateway:limit:{key}") <= 1000


async def test_the_headers_follow_the_draft(limiter_at, redis_url, key):
    limiter = limiter_at(redis_url, per_second=2, burst=10)

    decision = await limiter.take(key)

    assert limiter.quota.policy == '"key";q=10;w=5'
    assert decision.header == '"key";r=9;t=1'


async def test_without_redis_requests_pass_and_are_counted(limiter_at, tmp_path, key):
    [port] = free_ports(1)
    clock = Clock()
    server = redis_server(tmp_path, port, "secret")
    url = redis_address(f"127.0.0.1:{port}", "secret")
    limiter = limiter_at(url, per_second=0.1, burst=1, monotonic=clock.monotonic)
    with running(server) as process:
        assert (await limiter.take(key)).allowed
        assert not (await limiter.take(key)).allowed
        process.kill()
        process.wait()

        assert await limiter.take(key) is None, "an open limit says nothing"
        assert await limiter.take(key) is None

    with running(server):
        assert await limiter.take(key) is None, "Redis is left alone for a while"
        clock.pass_seconds(PAUSE_SECONDS)
        assert await limiter.take(key) is not None
