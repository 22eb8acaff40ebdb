"""Online features in Redis: one Lua script takes in an event, one round trip reads a visitor.

Every key of a tenant carries the hash tag `{<tenant>}`, so a tenant lives in one slot and the script, which touches a
visitor's and an item's keys in one step, may also run on a Redis cluster. Only commands of Redis 6.2.

| key `rec:{<tenant>}:` + | what |
|---|---|
| `event:<id>` | this event has been taken in; 8 days |
| `live:<subject>` | list, newest first, "<ms>|<action>|<stars>|<item>", 50; subject: user:<id> or session:<id> |
| `seen:<subject>` | zset of the items touched, by time, 1,000 |
| `profile:<subject>` | hash: the profile, the segment, the aggregates, `updated` (µs) |
| `item:<id>`, `together:<id>` | hash of an item's aggregates; zset of the items liked by the same visitors |
| `popular:<segment>`, `segments` | zset of items by visitors who liked them; set of the segments |
| `dirty` | zset of items by when something last happened to them, for the replicas' incremental refresh |
| `experiment:<name>` | hash: impressions and clicks of each arm |
"""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import redis
import redis.asyncio
from redis.exceptions import RedisError

from recommender.catalogue import Activity, ItemActivity
from recommender.features import (
    EVERYONE,
    LIKED,
    Interaction,
    ItemAggregates,
    UserAggregates,
    UserProfile,
    segment,
)
from recommender.live_state import (
    LIVE_LENGTH,
    NEIGHBOURS_KEPT,
    PAIR_WINDOW,
    SEEN_LENGTH,
    Behaviour,
    LiveState,
    milliseconds,
)
from recommender.ports import OnlineStoreUnavailable, Visitor

NEIGHBOURS_READ = 100
POPULAR_READ = 500
READ_BATCH = 200
"""Items whose activity is read in one round trip."""

# What `live_state.LiveState.apply` does, in one step with the deduplication. The aggregates' increments come from
# `features` by way of the caller, so no rule about stars stands here but the one that pairs need.
APPLY = """
local prefix = KEYS[1]
local event, subject, item, action, stars = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local ms, likes, dislikes = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local dedup_ttl, live_ttl, item_ttl = ARGV[9], ARGV[10], ARGV[11]
local experiment, tally, liked_from = ARGV[12], ARGV[13], tonumber(ARGV[14])
local profile, live, seen = prefix..'profile:'..subject, prefix..'live:'..subject, prefix..'seen:'..subject
local function text(number) return string.format('%.0f', number) end

-- Redis' clock in µs, made to grow with every event: what is written later always carries a later time.
local function stamp()
  local time = redis.call('TIME')
  local last = tonumber(redis.call('GET', prefix..'clock') or '0')
  local now = math.max(tonumber(time[1]) * 1000000 + tonumber(time[2]), last + 1)
  redis.call('SET', prefix..'clock', text(now))
  return text(now)
end

local function take_in()
  local now, first = stamp(), not redis.call('ZSCORE', seen, item)
  local function touched(each)
    redis.call('ZADD', prefix..'dirty', now, each)
    redis.call('EXPIRE', prefix..'item:'..each, item_ttl)
    redis.call('EXPIRE', prefix..'together:'..each, item_ttl)
  end
  local entries = redis.call('LRANGE', live, 0, -1)
  if likes == 1 and first then
    local segments, paired = {'all'}, 0
    local own = redis.call('HGET', profile, 'segment')
    if own and own ~= 'all' then segments[2] = own end
    for _, each in ipairs(segments) do
      redis.call('ZINCRBY', prefix..'popular:'..each, 1, item)
      redis.call('SADD', prefix..'segments', each)
    end
    for _, entry in ipairs(entries) do
      local liked, other = string.match(entry, '^[^|]*|[^|]*|([^|]*)|(.*)$')
      if tonumber(liked) >= liked_from then
        for one, two in pairs({[item] = other, [other] = item}) do
          redis.call('ZINCRBY', prefix..'together:'..one, 1, two)
          redis.call('ZREMRANGEBYRANK', prefix..'together:'..one, 0, -(NEIGHBOURS_KEPT + 1))
        end
        touched(other)
        paired = paired + 1
        if paired == PAIR_WINDOW then break end
      end
    end
  end
  for _, key in ipairs({profile, prefix..'item:'..item}) do
    redis.call('HINCRBY', key, 'events', 1)
    redis.call('HINCRBYFLOAT', key, 'rating_sum', stars)
    redis.call('HINCRBY', key, 'likes', likes)
    redis.call('HINCRBY', key, 'dislikes', dislikes)
  end
  redis.call('HSET', profile, 'updated', now)
  touched(item)

  local entry = text(ms)..'|'..action..'|'..stars..'|'..item
  local newest = entries[1] and tonumber(string.match(entries[1], '^[^|]*')) or -math.huge
  if first and ms >= newest then
    redis.call('LPUSH', live, entry)
    redis.call('LTRIM', live, 0, LIVE_LENGTH - 1)
  else -- an event that comes late, or about an item that stands in the sequence already: one entry an item, the newest
    local kept, placed = {}, false
    for _, old in ipairs(entries) do
      local at, of = string.match(old, '^([^|]*)|[^|]*|[^|]*|(.*)$')
      if of == item and tonumber(at) > ms then placed = true end
    end
    if not placed then
      for _, old in ipairs(entries) do
        local at, of = string.match(old, '^([^|]*)|[^|]*|[^|]*|(.*)$')
        if not placed and tonumber(at) <= ms then table.insert(kept, entry); placed = true end
        if of ~= item then table.insert(kept, old) end
      end
      if not placed then table.insert(kept, entry) end
      redis.call('DEL', live)
      redis.call('RPUSH', live, unpack(kept, 1, math.min(#kept, LIVE_LENGTH)))
    end
  end
  redis.call('ZADD', seen, 'GT', ms, item)
  redis.call('ZREMRANGEBYRANK', seen, 0, -(SEEN_LENGTH + 1))
  for _, key in ipairs({profile, live, seen}) do redis.call('EXPIRE', key, live_ttl) end
end

local fresh = redis.call('SET', prefix..'event:'..event, '1', 'NX', 'EX', dedup_ttl)
if fresh then
  if tally ~= '' then redis.call('HINCRBY', prefix..'experiment:'..experiment, tally, 1) end
  if action ~= 'impression' then take_in() end
end
return {fresh and 1 or 0, redis.call('HGETALL', profile), redis.call('HGETALL', prefix..'experiment:'..experiment)}
"""

LENGTHS = {
    "LIVE_LENGTH": LIVE_LENGTH,
    "NEIGHBOURS_KEPT": NEIGHBOURS_KEPT,
    "PAIR_WINDOW": PAIR_WINDOW,
    "SEEN_LENGTH": SEEN_LENGTH,
}
"""The names in the script that stand for a number."""

PUT_PROFILE = """
local prefix, profile = KEYS[1], KEYS[1]..'profile:'..ARGV[1]
local time = redis.call('TIME')
local last = tonumber(redis.call('GET', prefix..'clock') or '0')
local now = string.format('%.0f', math.max(tonumber(time[1]) * 1000000 + tonumber(time[2]), last + 1))
redis.call('SET', prefix..'clock', now)
redis.call('HSET', profile, 'age', ARGV[3], 'gender', ARGV[4], 'occupation', ARGV[5], 'segment', ARGV[6])
redis.call('HSET', profile, 'updated', now)
redis.call('EXPIRE', profile, ARGV[2])
return redis.call('HGETALL', profile)
"""


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How long what is kept in Redis lives after the last event that touched it, in seconds."""

    deduplication: int = 8 * 86_400
    """An event that comes again within this time has no second effect. The gateway takes events up to 7 days old."""
    user: int = 90 * 86_400
    session: int = 2 * 86_400
    item: int = 400 * 86_400


@dataclass(frozen=True, slots=True)
class UserRow:
    """A user's entity features as of `updated_at`: the row that Feast keeps."""

    tenant: str
    profile: UserProfile
    segment: str
    aggregates: UserAggregates
    updated_at: datetime


class EntityRows(Protocol):
    """The store of entity features; Feast in life (entity_features.py)."""

    async def read(self, tenant: str, user_id: str) -> UserRow | None:
        """The user's row, None where there is none. Raises OnlineStoreUnavailable."""

    def write(self, rows: Sequence[UserRow]) -> None:
        """Writes rows; one that is not newer than the stored one changes nothing. Raises OnlineStoreUnavailable."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What taking in an event led to. `fresh`: it had not been taken in before."""

    fresh: bool
    row: UserRow | None
    tallies: Mapping[str, int]
    """Impressions and clicks by "<arm>:impressions", "<arm>:clicks", over all consumers."""


def key_prefix(tenant: str) -> str:
    """What every key of a tenant begins with."""
    return f"rec:{{{tenant}}}:"


class BehaviourWriter:
    """Takes in events, one at a time, each once. Blocking; the consumer's thread uses it."""

    def __init__(self, client: redis.Redis, lifetimes: Lifetimes) -> None:
        script = APPLY
        for name, length in LENGTHS.items():
            script = script.replace(name, str(length))
        self._apply = client.register_script(script)
        self._lifetimes = lifetimes

    def apply(self, tenant: str, behaviour: Behaviour, experiment: str = "", tally: str = "") -> Applied:
        """Sequence, aggregates, popularity, pairs and the experiment's tally in one step with the deduplication.

        Raises OnlineStoreUnavailable.
        """
        interaction = behaviour.interaction
        is_user = behaviour.subject.startswith("user:")
        change = ItemAggregates()
        if interaction.action != "impression":
            change = change.after(interaction)
        arguments: list[str | float] = [
            behaviour.event_id,
            behaviour.subject,
            interaction.item_id,
            interaction.action,
            repr(float(interaction.rating)),
            milliseconds(interaction),
            int(change.likes),
            int(change.dislikes),
            self._lifetimes.deduplication,
            self._lifetimes.user if is_user else self._lifetimes.session,
            self._lifetimes.item,
            experiment,
            tally,
            LIKED,
        ]
        try:
            fresh, profile, tallies = self._apply(keys=[key_prefix(tenant)], args=arguments)
        except RedisError as error:
            raise OnlineStoreUnavailable(str(error)) from error
        fields = _pairs(profile)
        row = user_row(tenant, behaviour.subject.removeprefix("user:"), fields) if is_user and fields else None
        return Applied(bool(fresh), row, {name: int(count) for name, count in _pairs(tallies).items()})


class OnlineVisitors:
    """The read side, on the event loop: one Feast row and one Redis round trip a request, side by side."""

    def __init__(self, client: redis.asyncio.Redis, rows: EntityRows, deadline_seconds: float) -> None:
        self._redis = client
        self._put_profile = client.register_script(PUT_PROFILE)
        self._rows = rows
        self._deadline = deadline_seconds

    async def visitor(self, tenant: str, user_id: str, session_id: str) -> Visitor:
        """What is known of the visitor now; what could not be read in time is said in `degraded`."""
        try:
            async with asyncio.timeout(self._deadline):
                (history, seen), row = await asyncio.gather(
                    self._live(tenant, subjects(user_id, session_id)), self._row(tenant, user_id)
                )
        except (OnlineStoreUnavailable, TimeoutError) as error:
            why = str(error) or f"no answer within {self._deadline:g} s"
            degraded = f"online features are not available, answered as to an unknown visitor: {why}"
            return Visitor(tenant, user_id, session_id, UserProfile(user_id), degraded=(degraded,))
        if row is not None:
            return Visitor(
                tenant, user_id, session_id, row.profile, row.segment, row.aggregates, tuple(history), frozenset(seen)
            )
        # A session has no row; a user without one has just come, or its row is lost: the sequence tells the rest.
        aggregates = UserAggregates()
        for interaction in history:
            aggregates = aggregates.after(interaction)
        lost = user_id and any(each.user_id == user_id for each in history)
        return Visitor(
            tenant,
            user_id,
            session_id,
            UserProfile(user_id),
            EVERYONE,
            aggregates,
            tuple(history),
            frozenset(seen),
            ("the user's feature row is missing: aggregates of the live sequence alone",) if lost else (),
        )

    async def history(self, tenant: str, user_id: str, session_id: str) -> list[Interaction]:
        """The live sequence, newest first. Raises OnlineStoreUnavailable."""
        try:
            async with asyncio.timeout(self._deadline):
                return (await self._live(tenant, subjects(user_id, session_id)))[0]
        except TimeoutError as error:
            raise OnlineStoreUnavailable(f"no answer within {self._deadline:g} s") from error

    async def put_profile(self, tenant: str, profile: UserProfile, lifetimes: Lifetimes) -> UserRow:
        """Stores a profile beside the user's aggregates; the row as it is now. Raises OnlineStoreUnavailable."""
        subject = f"user:{profile.user_id}"
        told: list[str | float] = [profile.age, profile.gender, profile.occupation, segment(profile)]
        try:
            fields = await self._put_profile(keys=[key_prefix(tenant)], args=[subject, lifetimes.user, *told])
        except RedisError as error:
            raise OnlineStoreUnavailable(str(error)) from error
        return user_row(tenant, profile.user_id, _pairs(fields))

    async def activity(self, tenant: str, since: float) -> Activity:
        """What happened to the tenant's items after `since` (0: ever). Raises OnlineStoreUnavailable."""
        prefix = key_prefix(tenant)
        try:
            dirty = await self._redis.zrangebyscore(f"{prefix}dirty", f"({since:.0f}", "+inf", withscores=True)
            if not dirty:
                return Activity((), {}, since)
            items: list[ItemActivity] = []
            for start in range(0, len(dirty), READ_BATCH):
                items += await self._item_activity(
                    prefix, [item_id for item_id, _ in dirty[start : start + READ_BATCH]]
                )
            popular = await self._popular(prefix)
        except RedisError as error:
            raise OnlineStoreUnavailable(str(error)) from error
        return Activity(tuple(items), popular, dirty[-1][1])

    async def _popular(self, prefix: str) -> dict[str, Sequence[tuple[str, float]]]:
        pipe = self._redis.pipeline(transaction=False)
        pipe.smembers(f"{prefix}segments")
        [segments] = await pipe.execute()
        for each in sorted(segments):
            pipe.zrevrange(f"{prefix}popular:{each}", 0, POPULAR_READ - 1, withscores=True)
        return dict(zip(sorted(segments), await pipe.execute(), strict=True))

    async def _item_activity(self, prefix: str, item_ids: Sequence[str]) -> list[ItemActivity]:
        pipe = self._redis.pipeline(transaction=False)
        for item_id in item_ids:
            pipe.hgetall(f"{prefix}item:{item_id}")
            pipe.zrevrange(f"{prefix}together:{item_id}", 0, NEIGHBOURS_READ - 1, withscores=True)
        answers = await pipe.execute()
        return [
            ItemActivity(item_id, ItemAggregates(**_counters(fields)), tuple(neighbours))
            for item_id, fields, neighbours in zip(item_ids, answers[::2], answers[1::2], strict=True)
        ]

    async def _row(self, tenant: str, user_id: str) -> UserRow | None:
        return await self._rows.read(tenant, user_id) if user_id else None

    async def _live(self, tenant: str, of: Sequence[str]) -> tuple[list[Interaction], set[str]]:
        pipe = self._redis.pipeline(transaction=False)
        for subject in of:
            pipe.lrange(f"{key_prefix(tenant)}live:{subject}", 0, -1)
            pipe.zrange(f"{key_prefix(tenant)}seen:{subject}", 0, -1)
        try:
            answers = await pipe.execute()
        except RedisError as error:
            raise OnlineStoreUnavailable(str(error)) from error
        sequences = [
            [_interaction(subject, entry) for entry in entries]
            for subject, entries in zip(of, answers[::2], strict=True)
        ]
        return merged(sequences), set().union(*answers[1::2])


def write_state(
    client: redis.Redis,
    tenant: str,
    state: LiveState,
    profiles: Mapping[str, UserProfile],
    lifetimes: Lifetimes,
) -> list[UserRow]:
    """Writes a whole folded state in place of what is there; returns the users' rows. Raises RedisError.

    `profiles` by subject; a user without behaviour gets a row too. All are users: no data set has sessions.
    """
    prefix = key_prefix(tenant)
    now = time.time_ns() // 1000
    rows: list[UserRow] = []
    pipe = client.pipeline(transaction=False)
    for subject in {**profiles, **state.subjects}:
        profile = profiles.get(subject) or UserProfile(subject.removeprefix("user:"))
        kept = state.subjects[subject]
        told = {"age": profile.age, "gender": profile.gender, "occupation": profile.occupation}
        fields = asdict(kept.aggregates) | told | {"segment": segment(profile), "updated": now}
        written: dict[str, Any] = {name: _text(value) for name, value in fields.items()}
        live, seen = [packed(each) for each in kept.live], kept.seen
        _replace(pipe, f"{prefix}profile:{subject}", lifetimes.user, "hset", mapping=written)
        _replace(pipe, f"{prefix}live:{subject}", lifetimes.user, "rpush", *live)
        _replace(pipe, f"{prefix}seen:{subject}", lifetimes.user, "zadd", seen)
        rows.append(user_row(tenant, profile.user_id, written))
    for item_id, aggregates in state.items.items():
        counters = {name: _text(value) for name, value in asdict(aggregates).items()}
        together = dict(state.together[item_id].most_common(NEIGHBOURS_KEPT))
        _replace(pipe, f"{prefix}item:{item_id}", lifetimes.item, "hset", mapping=counters)
        _replace(pipe, f"{prefix}together:{item_id}", lifetimes.item, "zadd", together)
        pipe.zadd(f"{prefix}dirty", {item_id: now})
    for each, counts in state.popular.items():
        _replace(pipe, f"{prefix}popular:{each}", None, "zadd", dict(counts))
        pipe.sadd(f"{prefix}segments", each)
    pipe.set(f"{prefix}clock", now)
    pipe.execute()
    return rows


def subjects(user_id: str, session_id: str) -> list[str]:
    """Whose behaviour counts: a session that has signed in brings what it did before."""
    return [f"user:{user_id}"] * bool(user_id) + [f"session:{session_id}"] * bool(session_id)


def merged(sequences: Sequence[list[Interaction]]) -> list[Interaction]:
    """Several sequences as one, newest first, each item once."""
    if len(sequences) == 1:
        return sequences[0]
    kept: dict[str, Interaction] = {}
    for each in sorted((each for one in sequences for each in one), key=milliseconds, reverse=True):
        kept.setdefault(each.item_id, each)
    return list(kept.values())[:LIVE_LENGTH]


def packed(interaction: Interaction) -> str:
    """An entry of a live sequence as Redis keeps it."""
    return f"{milliseconds(interaction)}|{interaction.action}|{float(interaction.rating)!r}|{interaction.item_id}"


def user_row(tenant: str, user_id: str, fields: Mapping[str, str]) -> UserRow:
    """The row that a profile hash describes."""
    profile = UserProfile(user_id, int(fields.get("age", 0)), fields.get("gender", ""), fields.get("occupation", ""))
    updated = datetime.fromtimestamp(int(fields.get("updated", 0)) / 1e6, UTC)
    return UserRow(tenant, profile, fields.get("segment", EVERYONE), UserAggregates(**_counters(fields)), updated)


def _interaction(subject: str, entry: str) -> Interaction:
    ms, action, stars, item_id = entry.split("|", 3)
    user_id = subject.partition(":")[2]
    return Interaction(user_id, item_id, float(stars), action, datetime.fromtimestamp(int(ms) / 1000, UTC))


def _counters(fields: Mapping[str, str]) -> dict[str, Any]:
    return {
        "events": int(fields.get("events", 0)),
        "rating_sum": float(fields.get("rating_sum", 0.0)),
        "likes": int(fields.get("likes", 0)),
        "dislikes": int(fields.get("dislikes", 0)),
    }


def _replace(pipe: Any, key: str, ttl_seconds: int | None, command: str, *values: Any, **options: Any) -> None:
    """Writes a key anew; one that would be empty is taken away."""
    pipe.delete(key)
    if any(values) or any(options.values()):
        getattr(pipe, command)(key, *values, **options)
        if ttl_seconds is not None:
            pipe.expire(key, ttl_seconds)


def _text(value: float | str) -> str:
    return repr(value) if isinstance(value, float) else str(value)


def _pairs(flat: Iterable[str]) -> dict[str, str]:
    """What HGETALL returns inside a script: name, value, name, value."""
    values = list(flat)
    return dict(zip(values[::2], values[1::2], strict=True))
