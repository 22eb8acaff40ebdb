"""One inference from request to answer: route, decode, queue, encode, and the shadow's turn."""

import asyncio
import time

import numpy as np

from casebook.oip import open_inference_pb2 as oip
from chassis.errors import CasebookError
from inference import telemetry
from inference.batching import Call
from inference.router import Router
from inference.served import ServedVersion
from inference.tensors import Array, decode, encode, requested_outputs

REQUEST_KEY = "request_key"
"""The parameter by which a caller's requests stay with one version while there is a canary."""
TIMEOUT = "timeout"
"""Triton's parameter: microseconds that a call may wait, where the model's queue policy allows one."""
SHADOW_SECONDS = 1.0
"""A shadow call that has not run by then is dropped."""


class DataPlane:
    """Answers inference calls."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._shadows: dict[str, asyncio.Task[None]] = {}

    async def infer(self, request: oip.ModelInferRequest, remaining_seconds: float) -> oip.ModelInferResponse:
        """The answer of the version that the release router chooses.

        Raises NotFound, Unavailable, InvalidField, LimitExceeded, DeadlineExceeded or ModelError.
        """
        began = time.monotonic_ns()
        parameters = request.parameters
        key = parameters[REQUEST_KEY].string_param if REQUEST_KEY in parameters else ""
        served = self._router.choose(request.model_name, request.model_version, key)
        statistics = served.statistics
        try:
            inputs = decode(request, served.signature)
            outputs = requested_outputs(request, served.signature)
            call = Call(inputs, outputs, _rows(served, inputs), began / 1e9 + remaining_seconds)
            if served.policy.caller_sets_timeout and TIMEOUT in parameters:
                call.deadline = min(call.deadline, began / 1e9 + parameters[TIMEOUT].int64_param / 1e6)
            arrays = await served.infer(call)
            answered = time.monotonic_ns()
            specs = served.signature.output_specs
            pairs = [(specs[name], array) for name, array in zip(outputs, arrays, strict=True)]
            response = encode(request, served.version, pairs)
        except CasebookError as error:
            statistics.failed(time.monotonic_ns() - began, error.code.name)
            raise
        except asyncio.CancelledError:
            statistics.failed(time.monotonic_ns() - began, "CANCELLED")
            raise
        queue_ns, infer_ns = call.started_ns - call.enqueued_ns, call.finished_ns - call.started_ns
        statistics.succeeded(call.rows, call.enqueued_ns - began, queue_ns, infer_ns, time.monotonic_ns() - answered)
        telemetry.annotate(served.name, served.version, call.batch_rows, queue_ns, infer_ns)
        shadow = self._router.shadow_of(served)
        if shadow is not None:
            self._offer(shadow, served, call, arrays)
        return response

    def _offer(self, shadow: ServedVersion, stable: ServedVersion, call: Call, expected: list[Array]) -> None:
        """Runs the call on the shadow once the answer is out, unless that would take time from real calls."""
        running = self._shadows.get(shadow.name)
        if stable.waiting or shadow.busy or (running is not None and not running.done()):
            telemetry.shadow_skipped(shadow.name, shadow.version, "dropped")
            return
        self._shadows[shadow.name] = asyncio.create_task(self._compare(shadow, call, expected))

    async def _compare(self, shadow: ServedVersion, call: Call, expected: list[Array]) -> None:
        copy = Call(call.inputs, call.outputs, call.rows, time.monotonic() + SHADOW_SECONDS)
        try:
            received = await shadow.infer(copy)
        except CasebookError:
            telemetry.shadow_skipped(shadow.name, shadow.version, "failed")
            return
        queue_ns, infer_ns = copy.started_ns - copy.enqueued_ns, copy.finished_ns - copy.started_ns
        shadow.statistics.succeeded(copy.rows, 0, queue_ns, infer_ns, 0)
        difference = max(map(largest_difference, expected, received), default=0.0)
        telemetry.shadow_compared(shadow.name, shadow.version, difference)


def largest_difference(expected: Array, received: Array) -> float:
    """The largest absolute difference of two outputs; infinite where shapes, or values that are no numbers, differ."""
    if expected.shape != received.shape:
        return float("inf")
    if expected.dtype == object or expected.dtype == bool:
        return 0.0 if np.array_equal(expected, received) else float("inf")
    if not expected.size:
        return 0.0
    difference = np.abs(expected.astype(np.float64) - received.astype(np.float64))
    return float(np.nan_to_num(difference, nan=np.inf, posinf=np.inf).max())


def _rows(served: ServedVersion, inputs: dict[str, Array]) -> int:
    """Rows of a call: its batch where the model has that dimension, else 1."""
    if not served.signature.max_batch_size or not inputs:
        return 1
    return len(next(iter(inputs.values())))
