"""Asking a model server over the Open Inference Protocol: numpy in, numpy out, any server that speaks it."""

from collections.abc import Mapping
from dataclasses import dataclass

import grpc
import numpy as np
from numpy.typing import NDArray

from casebook.oip import open_inference_pb2 as oip
from casebook.oip import open_inference_pb2_grpc as oip_grpc
from chassis.errors import CasebookError, from_rpc_error
from chassis.identity import service_identity
from chassis.rpc import connect
from chassis.settings import Settings

IDEMPOTENT = [f"inference.GRPCInferenceService/{method}" for method in ("ModelInfer", "RepositoryIndex")]
DATATYPES = {np.dtype(np.int64): "INT64", np.dtype(np.int32): "INT32", np.dtype(np.float32): "FP32"}
INDEX_SECONDS = 5.0
"""How long the model server may take to list what it has loaded: nobody waits for it."""


@dataclass(frozen=True, slots=True)
class Inferred:
    """A model's first output, float32, and the version that answered."""

    values: NDArray[np.float32]
    version: str


class ModelClient:
    """One model server. What it does not answer in time, or not as it should, is raised as the caller's own error."""

    def __init__(self, channel: grpc.aio.Channel, unavailable: type[Exception]) -> None:
        """`unavailable` is what the caller's port says that it raises."""
        self._server = oip_grpc.GRPCInferenceServiceStub(channel)
        self._unavailable = unavailable

    async def infer(
        self, model: str, inputs: Mapping[str, np.ndarray], *, seconds: float, key: str = "", version: str = ""
    ) -> Inferred:
        """The model's first output for `inputs` (int64, int32 or float32), within `seconds`.

        `key` is what a canary's share sticks to; `version` asks for one, empty for the released one.
        """
        try:
            answer = await self._server.ModelInfer(_request(model, inputs, key, version), timeout=seconds)
        except (grpc.RpcError, CasebookError) as error:
            raise self._failed(f"model {model}", error) from error
        try:
            # Shares its memory with the message.
            values = np.frombuffer(answer.raw_output_contents[0], np.float32).reshape(answer.outputs[0].shape)
        except (IndexError, ValueError) as error:
            raise self._unavailable(f"model {model}: its answer has no float32 contents of its shape") from error
        return Inferred(values, answer.model_version)

    async def loaded_versions(self, model: str) -> list[str]:
        """The versions of the model that are loaded, oldest first."""
        try:
            index = await self._server.RepositoryIndex(oip.RepositoryIndexRequest(ready=True), timeout=INDEX_SECONDS)
        except (grpc.RpcError, CasebookError) as error:
            raise self._failed("the model repository", error) from error
        loaded = {each.version for each in index.models if each.name == model and each.state == "READY"}
        return sorted(loaded, key=lambda version: (len(version), version))

    def _failed(self, what: str, error: Exception) -> Exception:
        known = from_rpc_error(error) if isinstance(error, grpc.RpcError) else error
        return self._unavailable(f"{what}: {known}")


def connect_to_models(address: str, settings: Settings, service: str) -> grpc.aio.Channel:
    """A channel to the model server; work outside of a request goes under the service's own identity."""
    return connect(address, settings, IDEMPOTENT, service_identity(service))


def _request(model: str, inputs: Mapping[str, np.ndarray], key: str, version: str) -> oip.ModelInferRequest:
    request = oip.ModelInferRequest(model_name=model, model_version=version)
    if key:
        request.parameters["request_key"].string_param = key
    for name, value in inputs.items():
        request.inputs.add(name=name, datatype=DATATYPES[value.dtype], shape=value.shape)
        request.raw_input_contents.append(value.tobytes())
    return request
