"""What an `inference` process is told."""

from typing import Literal, Self

from pydantic import Field, model_validator

from chassis.settings import Address, Settings
from inference.onnx_executor import Provider, available


class InferenceSettings(Settings):
    """The settings of `inference`. Without `database_url`, releases are held in memory, for this process alone."""

    model_repository: str = "infra/models"
    """The models, in Triton's layout: a folder, or any fsspec address (s3://bucket/models)."""
    model_cache: str = ""
    """A folder of this process's own for copies of them. Empty: a temporary one, removed at the end."""
    load_versions: Literal["released", "all"] = "released"
    """Which versions are loaded: those that releases name, or every one (for a server behind another `inference`)."""

    executor: Literal["onnx", "remote"] = "onnx"
    """Who computes: ONNX Runtime in this process, or the server at `remote_address`."""
    remote_address: Address = "127.0.0.1:8001"
    """An Open Inference Protocol server over gRPC, such as Triton."""
    remote_concurrency: int = Field(64, ge=1, le=10_000)
    """Calls that may be out to one version of a remote model at a time."""

    provider: Provider = "cpu"
    """What ONNX Runtime computes on; it falls back for single operators alone, never for a whole model."""
    gpu_memory_limit_bytes: int = Field(0, ge=0)
    """What one model may take of the GPU's memory; 0: no limit."""
    model_threads: int = Field(1, ge=0, le=256)
    """Threads inside one run, where a model's configuration does not say (`intra_op_thread_count`); 0: one a core."""
    model_instances: int = Field(1, ge=1, le=256)
    """Runs of one model side by side, where its configuration does not say (`instance_group`)."""
    inline_below_ms: float = Field(1.0, ge=0, le=100)
    """A model whose run takes less runs on the event loop, a slower one in a thread; measured while it warms up."""
    queue_limit: int = Field(1024, ge=1, le=1_000_000)
    """Calls that may wait for one version, where its configuration does not say (`max_queue_size`)."""

    @model_validator(mode="after")
    def _provider_is_here(self) -> Self:
        if self.executor == "onnx" and not available(self.provider):
            raise ValueError(f"provider {self.provider!r} is not in this build of ONNX Runtime")
        return self
