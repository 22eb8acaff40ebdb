"""One version in service: the loaded model, the queue in front of it, and what is counted of it."""

from collections.abc import Mapping, Sequence

from casebook.oip import open_inference_pb2 as oip
from chassis import faults
from inference.batching import Batcher, BatchingPolicy, Call
from inference.executor import LoadedModel
from inference.repository import ModelFiles
from inference.telemetry import VersionStatistics
from inference.tensors import Array


class ServedVersion:
    """A loaded version that takes calls until it is retired."""

    def __init__(self, files: ModelFiles, model: LoadedModel, queue_limit: int) -> None:
        self.name = files.model
        self.version = files.version
        self.config = files.config
        self.fingerprint = files.fingerprint
        self.signature = model.signature
        self.platform = model.platform
        self.statistics = VersionStatistics(files.model, files.version)
        self._model = model
        self.policy = batching_policy(files.config, model.batches, queue_limit)
        self._batcher = Batcher(
            f"model {files.model} version {files.version}",
            self._run,
            model.slots,
            self.policy,
            self.statistics.batch_ran,
        )

    @property
    def waiting(self) -> int:
        """Calls in the queue."""
        return self._batcher.waiting

    @property
    def busy(self) -> bool:
        """Whether a call would have to wait."""
        return self._batcher.busy

    async def infer(self, call: Call) -> list[Array]:
        """The outputs that the call names. Raises what `Batcher.submit` and `LoadedModel.run` raise."""
        return await self._batcher.submit(call)

    async def _run(self, inputs: Mapping[str, Array], outputs: Sequence[str], deadline: float) -> list[Array]:
        await faults.slow_down(self.name)
        return await self._model.run(inputs, outputs, deadline)

    async def retire(self, drain_seconds: float) -> bool:
        """Lets the calls that are here finish, then unloads. Says whether all of them did finish in that time."""
        drained = await self._batcher.drain(drain_seconds)
        await self._batcher.close()
        await self._model.close()
        return drained


def batching_policy(config: oip.ModelConfig, batches: bool, queue_limit: int) -> BatchingPolicy:
    """How calls queue and join, from `dynamic_batching` where the model has it; `queue_limit` where that has none."""
    batching = config.dynamic_batching
    queue = batching.default_queue_policy
    rejects = queue.timeout_action == oip.ModelQueuePolicy.REJECT and queue.default_timeout_microseconds > 0
    return BatchingPolicy(
        max_rows=config.max_batch_size if batches else 0,
        full_at_rows=max(batching.preferred_batch_size, default=0) if batches else 0,
        max_delay_seconds=batching.max_queue_delay_microseconds / 1e6 if batches else 0.0,
        queue_limit=queue.max_queue_size or queue_limit,
        queue_timeout_seconds=queue.default_timeout_microseconds / 1e6 if rejects else float("inf"),
        caller_sets_timeout=queue.allow_timeout_override,
    )
