"""What a process does with what runs beside it."""

import asyncio
import gc

from chassis.process import Process
from chassis.settings import Settings


async def deaf_once() -> None:
    """Takes the first cancellation for a failure of its own, as redis-py can where a command is away."""
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        await asyncio.Event().wait()


async def test_a_task_that_does_not_hear_the_first_cancellation_is_cancelled_again():
    process = Process("example", "serve", Settings())
    closed = asyncio.Event()

    async def close() -> None:
        closed.set()

    process.on_stop(close)
    process.background(deaf_once(), "deaf once")
    await asyncio.sleep(0)

    async with asyncio.timeout(5):
        await process.drain()

    assert closed.is_set()
    assert process.failure is None


async def test_what_the_start_left_in_memory_is_no_work_for_the_garbage_collector():
    process = Process("example", "serve", Settings())
    process.stopping.set()
    left = [["kept as long as the process"]]

    try:
        await process.until_stopped()

        assert gc.get_freeze_count() > 0
        assert not any(each is left for each in gc.get_objects())
    finally:
        gc.unfreeze()
