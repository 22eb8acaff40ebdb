"""The rate limit of an API key: GCRA, the generic cell rate algorithm (ITU-T I.371), in one Lua script in Redis.

A key is one number, its theoretical arrival time (TAT): when all that it has sent would be through at the allowed pace.
A request moves it one interval on; one that would move it further than the burst ahead of now is refused. The clock is
Redis's own, so that replicas whose clocks differ share one limit.
"""

import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from chassis import logs, telemetry

SCRIPT = """
local interval = tonumber(ARGV[1])
local tolerance = tonumber(ARGV[2])
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local tat = math.max(now, tonumber(redis.call('GET', KEYS[1])) or 0)
local moved = tat + interval
if moved - now > tolerance then
  return {0, moved - now - tolerance, tat - now}
end
redis.call('SET', KEYS[1], string.format('%.0f', moved), 'PX', math.ceil((moved - now) / 1000))
return {1, 0, moved - now}
"""
"""Microseconds throughout. Returns: allowed (0 or 1), how long until a request passes, how far TAT is ahead of now."""

PAUSE_SECONDS = 1.0
"""After a failure Redis is left alone this long: a request in a thousand pays the timeout, not each of them."""

_log = logs.logger(__name__)
_unlimited = telemetry.meter(__name__).create_counter(
    "casebook.gateway.rate_limit.unavailable", description="Requests that passed without a limit: Redis did not answer"
)


@dataclass(frozen=True, slots=True)
class Quota:
    """How much a key may send."""

    per_second: float
    burst: int

    @property
    def policy(self) -> str:
        """The field `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers): q requests in each w seconds."""
        return f'"key";q={self.burst};w={max(1, math.ceil(self.burst / self.per_second))}'


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a request passes, and what is left."""

    allowed: bool
    remaining: int
    retry_after_seconds: float
    reset_seconds: float

    @property
    def header(self) -> str:
        """The field `RateLimit`: r requests left, all of them again in t seconds."""
        return f'"key";r={self.remaining};t={math.ceil(self.reset_seconds)}'


class RateLimiter:
    """Asks Redis; where Redis does not answer, the request passes and is counted (availability over fairness)."""

    def __init__(self, redis: Redis, quota: Quota, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.quota = quota
        self._script = redis.register_script(SCRIPT)
        self._monotonic = monotonic
        self._paused_until = 0.0

    async def take(self, key_id: str) -> Decision | None:
        """One request of `key_id`; None where nobody could say."""
        if self._monotonic() < self._paused_until:
            _unlimited.add(1)
            return None
        interval = 1_000_000 / self.quota.per_second
        try:
            answer = self._script(keys=[f"gateway:limit:{key_id}"], args=[interval, interval * self.quota.burst])
            allowed, wait, ahead = await cast("Awaitable[list[int]]", answer)
        except (RedisError, OSError) as error:
            self._paused_until = self._monotonic() + PAUSE_SECONDS
            _unlimited.add(1)
            _log.warning("the rate limit is off: Redis does not answer", reason=str(error))
            return None
        remaining = math.floor(self.quota.burst - ahead / interval)
        return Decision(bool(allowed), max(0, remaining), wait / 1e6, ahead / 1e6)
