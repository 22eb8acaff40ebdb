"""The batcher against a model that runs when the test says so."""

import asyncio
import time

import numpy as np
import pytest

from chassis.errors import DeadlineExceeded, InvalidField, LimitExceeded
from inference.batching import Batcher, BatchingPolicy, Call


class GatedModel:
    """y = 2x, once the gate is open; remembers the rows of every run."""

    def __init__(self):
        self.gate = asyncio.Event()
        self.began = asyncio.Event()
        self.runs = []
        self.refuses = None

    async def run(self, inputs, outputs, deadline):
        self.runs.append(inputs["x"].ravel().tolist())
        self.began.set()
        await self.gate.wait()
        if self.refuses is not None and self.refuses in inputs["x"]:
            raise InvalidField("inputs['x']", f"{self.refuses} is refused")
        return [inputs["x"] * 2]


def call(*values, seconds=5.0, outputs=("y",), columns=1):
    x = np.array(values, np.float32).reshape(-1, columns)
    return Call({"x": x}, outputs, len(x), time.monotonic() + seconds)


@pytest.fixture
async def model():
    return GatedModel()


@pytest.fixture
async def batcher(model):
    """Batches of at most 4 rows, at most 5 calls waiting."""
    batcher = Batcher("ranker", model.run, 1, BatchingPolicy(max_rows=4, queue_limit=5), lambda rows, ns: None)
    yield batcher
    await batcher.close()


async def occupied(model, batcher):
    """The model is busy with a call of its own; what comes now must wait."""
    first = asyncio.create_task(batcher.submit(call(0)))
    await model.began.wait()
    return first


async def submitted(batcher, *calls):
    tasks = [asyncio.create_task(batcher.submit(c)) for c in calls]
    await asyncio.sleep(0)
    return tasks


async def test_whatever_waits_becomes_one_batch_and_each_gets_its_rows(model, batcher):
    first = await occupied(model, batcher)
    waiting = await submitted(batcher, call(1), call(2, 3))
    model.gate.set()
    answers = [(await task)[0].ravel().tolist() for task in (first, *waiting)]
    assert answers == [[0], [2], [4, 6]]
    assert model.runs == [[0], [1, 2, 3]]


async def test_rows_are_handed_out_as_slices(model, batcher):
    await occupied(model, batcher)
    one, other = await submitted(batcher, call(1), call(2))
    model.gate.set()
    assert (await one)[0].base is (await other)[0].base is not None


async def test_a_batch_never_passes_its_limit_and_what_fits_goes_first(model, batcher):
    await occupied(model, batcher)
    tasks = await submitted(batcher, call(1, 1, 1), call(2, 2), call(3))
    model.gate.set()
    await asyncio.gather(*tasks)
    assert model.runs[1:] == [[1, 1, 1, 3], [2, 2]]


async def test_calls_of_other_shapes_or_outputs_wait_for_their_own_batch(model, batcher):
    await occupied(model, batcher)
    tasks = await submitted(batcher, call(1), call(2, 2, columns=2), call(3, outputs=("z",)), call(4))
    model.gate.set()
    await asyncio.gather(*tasks)
    assert model.runs[1:] == [[1, 4], [2, 2], [3]]


async def test_without_batching_each_call_runs_by_itself(model):
    batcher = Batcher("ranker", model.run, 1, BatchingPolicy(), lambda rows, ns: None)
    model.gate.set()
    await asyncio.gather(*(batcher.submit(call(value)) for value in (1, 2, 3)))
    assert model.runs == [[1], [2], [3]]
    await batcher.close()


async def test_slots_run_side_by_side(model):
    batcher = Batcher("ranker", model.run, 2, BatchingPolicy(), lambda rows, ns: None)
    tasks = await submitted(batcher, call(1), call(2), call(3))
    for _ in range(3):
        await asyncio.sleep(0)
    assert model.runs == [[1], [2]]
    model.gate.set()
    await asyncio.gather(*tasks)
    await batcher.close()


async def test_a_full_queue_refuses_with_a_time_to_come_back(model, batcher):
    await occupied(model, batcher)
    tasks = await submitted(batcher, *(call(value) for value in range(5)))
    with pytest.raises(LimitExceeded, match="the limit is 5") as error:
        await batcher.submit(call(9))
    assert error.value.retry_after_seconds
    model.gate.set()
    await asyncio.gather(*tasks)


async def test_a_call_whose_time_ran_out_is_never_computed(model, batcher):
    await occupied(model, batcher)
    late, good = await submitted(batcher, call(1, seconds=0), call(2))
    model.gate.set()
    with pytest.raises(DeadlineExceeded):
        await late
    await good
    assert model.runs == [[0], [2]]


async def test_the_queue_s_own_timeout(model):
    policy = BatchingPolicy(queue_timeout_seconds=0.0)
    batcher = Batcher("ranker", model.run, 1, policy, lambda rows, ns: None)
    with pytest.raises(DeadlineExceeded):
        await batcher.submit(call(1))
    assert not model.runs
    await batcher.close()


async def test_a_cancelled_call_leaves_the_queue_and_its_batch(model, batcher):
    await occupied(model, batcher)
    gone, stays = await submitted(batcher, call(1), call(2))
    gone.cancel()
    await asyncio.sleep(0)
    assert batcher.waiting == 1
    model.gate.set()
    await stays
    assert model.runs == [[0], [2]]


async def test_a_call_cancelled_while_it_runs_harms_nobody_else(model, batcher):
    first = await occupied(model, batcher)
    gone, stays = await submitted(batcher, call(1), call(2))
    first.cancel()
    gone.cancel()
    model.gate.set()
    assert (await stays)[0].tolist() == [[4]]


async def test_one_caller_s_bad_values_fail_nobody_else_s_call(model, batcher):
    model.refuses = 7
    await occupied(model, batcher)
    good, bad, fine = await submitted(batcher, call(1), call(7), call(2))
    model.gate.set()
    assert (await good)[0].tolist() == [[2]]
    assert (await fine)[0].tolist() == [[4]]
    with pytest.raises(InvalidField, match="refused"):
        await bad


async def test_a_model_that_breaks_fails_its_calls_and_the_next_one_runs(model, batcher):
    async def broken(inputs, outputs, deadline):
        raise RuntimeError("broken")

    breaking = Batcher("ranker", broken, 1, BatchingPolicy(max_rows=4), lambda rows, ns: None)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="broken"):
            await breaking.submit(call(1))
    await breaking.close()


async def test_outputs_without_a_row_for_each_input_row_are_an_error_not_a_hang(model):
    async def scalar(inputs, outputs, deadline):
        await model.gate.wait()
        return [np.float32(1).reshape(())]

    batcher = Batcher("ranker", scalar, 1, BatchingPolicy(max_rows=4), lambda rows, ns: None)
    tasks = await submitted(batcher, call(1), call(2), call(3))
    model.gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert any("max_batch_size" in str(result) for result in results)
    await batcher.close()


async def test_with_a_delay_the_first_call_waits_for_a_full_batch(model):
    policy = BatchingPolicy(max_rows=8, full_at_rows=2, max_delay_seconds=5.0)
    batcher = Batcher("ranker", model.run, 1, policy, lambda rows, ns: None)
    model.gate.set()
    [first] = await submitted(batcher, call(1))
    await batcher.submit(call(2))
    await first
    assert model.runs == [[1, 2]]
    await batcher.close()


async def test_with_a_delay_a_lone_call_runs_when_it_is_over(model):
    batcher = Batcher("ranker", model.run, 1, BatchingPolicy(8, 8, 0.01), lambda rows, ns: None)
    model.gate.set()
    began = time.monotonic()
    await batcher.submit(call(1))
    assert time.monotonic() - began >= 0.01
    await batcher.close()


async def test_a_drain_ends_when_the_last_call_has_its_answer(model, batcher):
    first = await occupied(model, batcher)
    [second] = await submitted(batcher, call(1))
    assert not await batcher.drain(0.01)
    model.gate.set()
    assert await batcher.drain(5.0)
    await asyncio.gather(first, second)


async def test_runs_are_observed_with_their_rows(model):
    seen = []
    batcher = Batcher("ranker", model.run, 1, BatchingPolicy(max_rows=4), lambda rows, ns: seen.append((rows, ns > 0)))
    model.gate.set()
    await batcher.submit(call(1, 2, 3))
    assert seen == [(3, True)]
    await batcher.close()
