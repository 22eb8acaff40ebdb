"""When a base is calibrated anew: once its labels are quiet, and after a failure later each time."""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from chassis.errors import Unavailable
from chassis.identity import current_identity
from support import desk_timers, timers
from support.desk_timers import DeskTimers
from support.knowledge import KnowledgeBase
from support.timers import LONGEST_PAUSE_SECONDS, Recalibration
from tests.fixtures.serving import until

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
BANK, SHOP = KnowledgeBase("bank", "help"), KnowledgeBase("shop", "help")
QUIET_SECONDS = 20.0


class Labels:
    """The store, the service that calibrates, and the clock."""

    def __init__(self) -> None:
        self.now = NOON
        self.behind = {BANK: NOON - timedelta(seconds=QUIET_SECONDS)}
        self.away: set[str] = set()
        self.asked: list[tuple[str, datetime]] = []

    async def uncalibrated(self) -> dict[KnowledgeBase, datetime]:
        return dict(self.behind)

    async def Calibrate(self, request: object) -> None:
        tenant = current_identity().tenant
        self.asked.append((tenant, self.now))
        if tenant in self.away:
            raise Unavailable("the model server", "no answer", 1.0)

    def tries(self, tenant: str = "bank") -> list[datetime]:
        return [at for asked, at in self.asked if asked == tenant]


@pytest.fixture
def labels() -> Labels:
    return Labels()


@pytest.fixture
def recalibration(labels) -> Recalibration:
    return Recalibration(labels, labels, QUIET_SECONDS, lambda: labels.now)


async def looked_for(recalibration: Recalibration, labels: Labels, seconds: int) -> None:
    """Every two seconds, as the process does."""
    for _ in range(0, seconds, 2):
        await recalibration.look()
        labels.now += timedelta(seconds=2)


async def test_labels_that_still_come_in_are_waited_for_and_then_fitted_once(recalibration, labels):
    labels.behind[BANK] = NOON

    await looked_for(recalibration, labels, 60)

    assert labels.tries() == [NOON + timedelta(seconds=QUIET_SECONDS)]


async def test_what_fails_is_tried_less_and_less_often_and_never_given_up(recalibration, labels):
    labels.away.add("bank")

    await looked_for(recalibration, labels, 3_600)

    tries = labels.tries()
    pauses = [(later - earlier).total_seconds() for earlier, later in pairwise(tries)]
    assert pauses[0] <= 4
    assert all(LONGEST_PAUSE_SECONDS / 2 <= pause <= LONGEST_PAUSE_SECONDS + 2 for pause in pauses[8:])
    assert len(tries) < 40, "every two seconds would be 1,800"


async def test_a_base_that_fails_holds_up_no_other(recalibration, labels):
    labels.behind[SHOP] = labels.behind[BANK]
    labels.away.add("bank")

    await looked_for(recalibration, labels, 10)

    assert labels.tries("shop") == [NOON]


async def test_labels_that_cannot_be_looked_up_in_time_are_looked_up_another_time(recalibration, labels, monkeypatch):
    monkeypatch.setattr(timers, "WITHIN_SECONDS", 0.05)
    monkeypatch.setattr(labels, "uncalibrated", asyncio.Event().wait)

    with pytest.raises(Unavailable, match="no answer within"):
        await recalibration.look()


async def test_the_desk_is_looked_after_again_where_a_look_takes_too_long(monkeypatch):
    monkeypatch.setattr(desk_timers, "WITHIN_SECONDS", 0.05)
    looks: list[datetime] = []

    class SilentStore:
        async def expire_leases(self, now: datetime) -> int:
            looks.append(now)
            await asyncio.Event().wait()
            return 0

    running = asyncio.create_task(DeskTimers(SilentStore(), timedelta(days=1)).run())

    async def looked_twice() -> bool:
        return len(looks) >= 2

    await until("a second look", looked_twice, 10)
    running.cancel()


async def test_after_a_success_the_next_failure_is_the_first_one_again(recalibration, labels):
    labels.away.add("bank")
    await looked_for(recalibration, labels, 600)
    labels.away.clear()
    await looked_for(recalibration, labels, 600)
    labels.away.add("bank")
    labels.behind[BANK] = labels.now - timedelta(seconds=QUIET_SECONDS)
    before = len(labels.tries())

    await looked_for(recalibration, labels, 10)

    assert len(labels.tries()) >= before + 2
