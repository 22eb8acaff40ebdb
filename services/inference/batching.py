"""Dynamic batching: one class, one loop, which takes whatever waits.

There is no timer unless the model asks for one (`max_queue_delay_microseconds`): under load, calls gather while the
batch before them runs, and an idle server adds no delay. A call carries its own future; the rows of a batch's outputs
are handed out as slices, without a copy.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import accumulate

import numpy as np

from chassis.errors import CasebookError, DeadlineExceeded, LimitExceeded
from inference.tensors import Array

Run = Callable[[Mapping[str, Array], Sequence[str], float], Awaitable[list[Array]]]
Observe = Callable[[int, int], None]

RETRY_AFTER_SECONDS = 0.1
DELAY_POLL_SECONDS = 0.0005


@dataclass(slots=True, eq=False)
class Call:
    """One caller's rows on their way through the queue. Times are in nanoseconds of `time.monotonic_ns`."""

    inputs: Mapping[str, Array]
    outputs: tuple[str, ...]
    rows: int
    deadline: float
    """In seconds of `time.monotonic`."""
    future: asyncio.Future[list[Array]] = field(init=False)
    enqueued_ns: int = 0
    started_ns: int = 0
    finished_ns: int = 0
    batch_rows: int = 0

    def joins(self, other: "Call") -> bool:
        """Whether the two can be one batch: the same outputs, and inputs that differ in their number of rows alone."""
        return (
            self.outputs == other.outputs
            and self.inputs.keys() == other.inputs.keys()
            and all(array.shape[1:] == other.inputs[name].shape[1:] for name, array in self.inputs.items())
        )


@dataclass(frozen=True, slots=True)
class BatchingPolicy:
    """How calls are joined: from the model's configuration."""

    max_rows: int = 0
    """Rows of a batch at most; 0: each call runs by itself."""
    full_at_rows: int = 0
    """Rows at which a batch waits for no more (`preferred_batch_size`); 0: `max_rows`."""
    max_delay_seconds: float = 0.0
    """How long the first call of a batch may wait for others."""
    queue_limit: int = 1024
    """Calls that may wait; one more is refused."""
    queue_timeout_seconds: float = float("inf")
    """A call that has waited longer is refused."""
    caller_sets_timeout: bool = False
    """Whether a call may bring a shorter one (the parameter `timeout`)."""


class Batcher:
    """The queue in front of one version of a model, and the `slots` loops that empty it.

    `observe(rows, compute_ns)` is told of every run.
    """

    def __init__(self, name: str, run: Run, slots: int, policy: BatchingPolicy, observe: Observe) -> None:
        self._name = name
        self._run = run
        self._policy = policy
        self._observe = observe
        self._waiting: deque[Call] = deque()
        self._idle: deque[asyncio.Future[None]] = deque()
        self._running = 0
        self._empty = asyncio.Event()
        self._empty.set()
        self._workers = [asyncio.create_task(self._work(), name=f"{name} worker {slot}") for slot in range(slots)]

    @property
    def waiting(self) -> int:
        """Calls in the queue."""
        return len(self._waiting)

    @property
    def busy(self) -> bool:
        """Whether a call would have to wait."""
        return bool(self._waiting) or self._running >= len(self._workers)

    async def submit(self, call: Call) -> list[Array]:
        """The outputs of `call`, in the order in which it names them.

        Raises LimitExceeded when the queue is full and DeadlineExceeded when its time ran out before it could run. A
        caller that is cancelled takes its call out of the queue.
        """
        if len(self._waiting) >= self._policy.queue_limit:
            raise LimitExceeded(f"calls waiting for {self._name}", self._policy.queue_limit, RETRY_AFTER_SECONDS)
        call.future = asyncio.get_running_loop().create_future()
        call.enqueued_ns = time.monotonic_ns()
        self._waiting.append(call)
        self._empty.clear()
        self._wake()
        try:
            return await call.future
        except asyncio.CancelledError:
            with suppress(ValueError):  # it runs already: its batch-mates go on, its rows are thrown away
                self._waiting.remove(call)
                self._settle()
            raise

    async def drain(self, timeout_seconds: float) -> bool:
        """Waits until nothing waits or runs, and says whether that came about in time."""
        try:
            await asyncio.wait_for(self._empty.wait(), timeout_seconds)
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """Ends the loops. Calls that still wait are refused."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        for call in self._waiting:
            if not call.future.done():
                call.future.set_exception(DeadlineExceeded(f"{self._name}, which is being unloaded"))
        self._waiting.clear()

    async def _work(self) -> None:
        while True:
            while not self._waiting:
                await self._until_woken()
            if self._policy.max_delay_seconds:
                await self._until_full()
            batch = self._take()
            if batch:
                self._running += 1
                try:
                    await self._execute(batch)
                finally:
                    self._running -= 1
            self._settle()
            # A model that runs on the event loop never suspends: let answers out, and other calls in, between batches.
            await asyncio.sleep(0)

    def _settle(self) -> None:
        if not self._waiting and not self._running:
            self._empty.set()

    def _wake(self) -> None:
        while self._idle:
            sleeper = self._idle.pop()
            if not sleeper.done():
                sleeper.set_result(None)
                return

    async def _until_woken(self) -> None:
        sleeper: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._idle.append(sleeper)
        await sleeper

    async def _until_full(self) -> None:
        """Waits for a full batch, as long as the first call may."""
        full = self._policy.full_at_rows or self._policy.max_rows
        while self._waiting:
            left = self._waiting[0].enqueued_ns / 1e9 + self._policy.max_delay_seconds - time.monotonic()
            if left <= 0 or sum(call.rows for call in self._waiting) >= full:
                return
            await asyncio.sleep(min(left, DELAY_POLL_SECONDS))

    def _take(self) -> list[Call]:
        """The next batch: the first call whose time has not run out, and those behind it that join it.

        Calls that do not fit keep their places.
        """
        now = time.monotonic()
        batch: list[Call] = []
        kept: list[Call] = []
        rows = 0
        full = self._policy.full_at_rows or self._policy.max_rows
        while self._waiting and (not batch or rows < full):
            call = self._waiting.popleft()
            if call.future.done():
                continue
            if now >= call.deadline or now - call.enqueued_ns / 1e9 > self._policy.queue_timeout_seconds:
                call.future.set_exception(DeadlineExceeded(f"a call that waited for {self._name}"))
            elif not batch or (rows + call.rows <= self._policy.max_rows and call.joins(batch[0])):
                batch.append(call)
                rows += call.rows
            else:
                kept.append(call)
        self._waiting.extendleft(reversed(kept))
        return batch

    async def _execute(self, batch: list[Call]) -> None:
        rows = sum(call.rows for call in batch)
        started = time.monotonic_ns()
        for call in batch:
            call.started_ns, call.batch_rows = started, rows
        try:
            outputs = await self._run(_joined(batch), batch[0].outputs, max(call.deadline for call in batch))
            shares = _shares(batch, outputs, rows)
        except CasebookError as error:
            await self._execute_one_by_one(batch, error)
            return
        except Exception as error:  # noqa: BLE001 - it is the callers' to see; this loop goes on for the others
            _fail(batch, error)
            return
        finished = time.monotonic_ns()
        self._observe(rows, finished - started)
        for call, share in zip(batch, shares, strict=True):
            call.finished_ns = finished
            if not call.future.done():
                call.future.set_result(share)

    async def _execute_one_by_one(self, batch: list[Call], error: CasebookError) -> None:
        """One caller's bad values fail nobody else's call: what failed together is run again apart."""
        if len(batch) == 1:
            _fail(batch, error)
            return
        for call in batch:
            if not call.future.done():
                await self._execute([call])


def _joined(batch: list[Call]) -> Mapping[str, Array]:
    if len(batch) == 1:
        return batch[0].inputs
    return {name: np.concatenate([call.inputs[name] for call in batch]) for name in batch[0].inputs}


def _shares(batch: list[Call], outputs: list[Array], rows: int) -> list[list[Array]]:
    """Each call's rows of the outputs, as views."""
    if len(batch) == 1:
        return [outputs]
    if any(array.ndim == 0 or len(array) != rows for array in outputs):
        shapes = [list(array.shape) for array in outputs]
        raise ValueError(f"the model has max_batch_size above 0, yet gave outputs {shapes} for {rows} rows")
    ends = list(accumulate(call.rows for call in batch))
    return [[array[end - call.rows : end] for array in outputs] for call, end in zip(batch, ends, strict=True)]


def _fail(batch: list[Call], error: Exception) -> None:
    for call in batch:
        if not call.future.done():
            call.future.set_exception(error)
