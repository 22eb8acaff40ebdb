"""What time brings about at the desk: leases end, what nobody announced is queued, what is old is forgotten."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

from chassis import database, logs
from chassis.errors import Unavailable
from chassis.retries import Retries
from support.desk_store import DATABASE, DeskStore
from support.metrics import QueueGauges

POLL_SECONDS = 1.0
FORGET_SECONDS = 600.0
WITHIN_SECONDS = 60.0
"""How long one look may take. What it has done by then is done: each batch is a transaction."""

_log = logs.logger(__name__)


class DeskTimers:
    """Any number of these may run: what one changes, the others pass over."""

    def __init__(self, store: DeskStore, keep: timedelta) -> None:
        """`keep` is how long a resolved hand-off is kept."""
        self._store = store
        self._keep = keep
        self._gauges = QueueGauges()
        self._forget_at = 0.0

    async def run(self) -> None:
        """Looks every second, until cancelled; while PostgreSQL is away, less and less often."""
        failures = 0
        while True:
            try:
                async with database.within(WITHIN_SECONDS, DATABASE):
                    await self.look(datetime.now(UTC))
                failures = 0
            except Unavailable as error:
                failures += 1
                _log.warning("the desk cannot be looked after now", why=str(error))
            await asyncio.sleep(Retries().delay(failures) if failures else POLL_SECONDS)

    async def look(self, now: datetime) -> None:
        """Does what is due. Raises Unavailable."""
        if ended := await self._store.expire_leases(now):
            _log.info("leases ended: queued again", handoffs=ended)
        if forgotten := await self._store.queue_unannounced(now):
            _log.warning("queued without an announcement: whoever recorded them has died", handoffs=forgotten)
        self._gauges.set(await self._store.queues())
        if time.monotonic() >= self._forget_at:
            self._forget_at = time.monotonic() + FORGET_SECONDS
            await self._store.forget(now - self._keep)
