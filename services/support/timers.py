"""What `timers` does about labels and the inbox. Two such processes do the work twice, and no harm."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

import grpc
from sqlalchemy.ext.asyncio import AsyncEngine

from casebook.support.v1 import quality_pb2
from casebook.support.v1.quality_pb2_grpc import QualityServiceStub
from chassis import database, inbox, logs
from chassis.errors import CasebookError, Unavailable, from_rpc_error
from chassis.identity import acting_as, service_identity
from chassis.retries import Retries
from support.knowledge import KnowledgeBase
from support.store import DATABASE, Store

LOOK_SECONDS = 2.0
LONGEST_PAUSE_SECONDS = 300.0
"""After a calibration that fails again and again: each try retrieves thousands of questions, beside the customers'."""
PRUNE_SECONDS = 3_600.0
BATCH = 1_000
"""Events that are forgotten in one transaction."""
MOST_BATCHES = 1_000
"""In one round: the rest is for the next."""
WITHIN_SECONDS = 30.0
"""How long PostgreSQL may take over what a timer asks of it at a time."""

_log = logs.logger(__name__)


class Recalibration:
    """Has a base calibrated once its labels have changed, and have been quiet for a while."""

    def __init__(
        self, store: Store, quality: QualityServiceStub, quiet_seconds: float, now: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._quality = quality
        self._quiet = timedelta(seconds=quiet_seconds)
        self._now = now
        self._retries = Retries(shortest_seconds=LOOK_SECONDS, longest_seconds=LONGEST_PAUSE_SECONDS)
        self._done: dict[KnowledgeBase, datetime] = {}
        """How new the labels were that a base was calibrated on last: too few of them fit nothing, however often."""
        self._failed: dict[KnowledgeBase, tuple[int, datetime]] = {}
        """How often in a row a base could not be calibrated, and when it is tried again."""

    async def run(self) -> None:
        """Looks until cancelled."""
        while True:
            try:
                await self.look()
            except Unavailable as error:
                _log.warning("labels are not looked at now", why=str(error))
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Calibrates what is due. One that fails is due again, later each time. Raises Unavailable."""
        async with database.within(WITHIN_SECONDS, DATABASE):
            behind = await self._store.uncalibrated()
        for base, newest in behind.items():
            failures, due = self._failed.get(base, (0, newest))
            if self._now() < max(newest + self._quiet, due) or self._done.get(base) == newest:
                continue
            with acting_as(service_identity("support", base.tenant)):
                try:
                    await self._quality.Calibrate(quality_pb2.CalibrateRequest(knowledge_base=base.name))
                except (grpc.RpcError, CasebookError) as error:
                    known = from_rpc_error(error) if isinstance(error, grpc.RpcError) else error
                    pause = self._retries.delay(failures + 1)
                    self._failed[base] = (failures + 1, self._now() + timedelta(seconds=pause))
                    where = {"base": base.name, "tenant": base.tenant}
                    _log.warning("not calibrated now", **where, why=str(known), again_in_seconds=round(pause))
                    continue
            self._failed.pop(base, None)
            self._done[base] = newest


class InboxPruning:
    """Forgets events that no redelivery can bring back."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def run(self) -> None:
        """Prunes once an hour until cancelled."""
        while True:
            try:
                await self.prune()
            except Unavailable as error:
                _log.warning("the inbox is not pruned now", why=str(error))
            await asyncio.sleep(PRUNE_SECONDS)

    async def prune(self) -> None:
        """Forgets what is old, a transaction for each batch. Raises Unavailable."""
        await database.delete_due(self._engine, DATABASE, inbox.INBOX, inbox.due(), BATCH, MOST_BATCHES)
