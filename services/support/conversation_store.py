"""Conversations in Redis: one hash each, `sup:{<tenant>}:conversation:<id>`, which ends some time after the last turn.

A turn is read, thought about and written; it is written only where nothing else was written in between, in one step of
one script. So two turns at the same time are both kept: the second one is thought about again (dialogue.py).
"""

import asyncio
from collections.abc import Awaitable
from typing import cast

import redis.asyncio
from pydantic import TypeAdapter, ValidationError
from redis.exceptions import RedisError

from chassis import logs
from support.conversation import Conversation
from support.ports import ContextUnavailable

SAVE = """
if redis.call('HGET', KEYS[1], 'revision') == ARGV[2] and redis.call('HGET', KEYS[1], 'conversation') == ARGV[3] then
  return 1 -- the answer to this very call was lost, and it comes again
end
if (redis.call('HGET', KEYS[1], 'revision') or '0') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'revision', ARGV[2], 'conversation', ARGV[3])
redis.call('EXPIRE', KEYS[1], ARGV[4])
return 1
"""

_CONVERSATION = TypeAdapter(Conversation)
_log = logs.logger(__name__)


class RedisConversations:
    """The port `Conversations` on Redis."""

    def __init__(self, client: redis.asyncio.Redis, ttl_seconds: int, deadline_seconds: float) -> None:
        """`client` decodes its answers; `ttl_seconds` is how long a conversation lives after its last turn."""
        self._redis = client
        self._save = client.register_script(SAVE)
        self._ttl_seconds = ttl_seconds
        self._deadline = deadline_seconds

    async def load(self, tenant: str, conversation_id: str) -> Conversation | None:
        """As it was saved last; None where there is none, or its time is over. Raises ContextUnavailable."""
        try:
            async with asyncio.timeout(self._deadline):
                key = _key(tenant, conversation_id)
                kept = await cast("Awaitable[str | None]", self._redis.hget(key, "conversation"))
        except (RedisError, OSError, TimeoutError) as error:
            raise self._unavailable(error) from error
        if kept is None:
            return None
        try:
            return _CONVERSATION.validate_json(kept)
        except ValidationError as error:  # written by a version that knew conversations of another kind
            _log.warning("a conversation cannot be read, and is taken for ended", why=str(error).partition("\n")[0])
            return None

    async def save(self, conversation: Conversation) -> bool:
        """Keeps it in place of the revision before; False where another turn came first. Raises ContextUnavailable.

        Idempotent: the client calls again where a connection ended before the answer came.
        """
        values: list[str | int | bytes] = [
            conversation.revision - 1,
            conversation.revision,
            _CONVERSATION.dump_json(conversation),
            self._ttl_seconds,
        ]
        try:
            async with asyncio.timeout(self._deadline):
                key = _key(conversation.tenant, conversation.conversation_id)
                return bool(await self._save(keys=[key], args=values))
        except (RedisError, OSError, TimeoutError) as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: Exception) -> ContextUnavailable:
        return ContextUnavailable(str(error) or f"no answer within {self._deadline:g} s")


def _key(tenant: str, conversation_id: str) -> str:
    return f"sup:{{{tenant}}}:conversation:{conversation_id}"
