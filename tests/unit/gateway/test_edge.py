"""What the deadline must not leave behind."""

import asyncio

import pytest

from gateway import edge
from gateway.idempotency import Attempt, RequestKey, StoredAnswer

KEY = RequestKey("acme", "shop", "POST /v1/events", "k", b"f" * 32)


class SlowRecords:
    """Takes the lease only once it may."""

    def __init__(self, answer: Attempt | StoredAnswer) -> None:
        self.answer, self.released = answer, []
        self.asked, self.may = asyncio.Event(), asyncio.Event()

    async def begin(self, key):
        self.asked.set()
        await self.may.wait()
        return self.answer

    async def release(self, key):
        self.released.append(key)


@pytest.mark.parametrize(
    ("answer", "released"), [(Attempt.new(), [KEY]), (StoredAnswer(200, "", b""), [])], ids=["a lease", "an answer"]
)
async def test_a_lease_that_is_taken_while_the_deadline_comes_is_let_go(answer, released):
    records = SlowRecords(answer)
    request = asyncio.create_task(edge._begin(records, KEY))
    await records.asked.wait()
    request.cancel()
    await asyncio.sleep(0)
    records.may.set()

    with pytest.raises(asyncio.CancelledError):
        await request

    assert records.released == released
