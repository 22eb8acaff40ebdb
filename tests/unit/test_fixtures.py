"""What the tests stand on, where a mistake in it would hang them."""

import threading

import pytest

from tests.fixtures.serving import in_thread


async def test_a_loop_beside_a_block_ends_with_it_when_the_block_fails():
    ended = threading.Event()

    def loop(stop: threading.Event) -> None:
        stop.wait(10)
        ended.set()

    with pytest.raises(ValueError, match="the block"):
        async with in_thread(loop):
            raise ValueError("the block")

    assert ended.is_set()
