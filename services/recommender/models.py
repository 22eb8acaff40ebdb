"""The model port over the Open Inference Protocol: numpy in, numpy out, raw contents, any server that speaks it."""

from collections.abc import Sequence

import grpc
import numpy as np

from casebook.oip import open_inference_pb2 as oip
from casebook.oip import open_inference_pb2_grpc as oip_grpc
from chassis.errors import CasebookError, from_rpc_error
from chassis.identity import service_identity
from chassis.rpc import connect
from recommender.ports import ModelUnavailable, Scores, Tensors, Vectors
from recommender.settings import RecommenderSettings

USER_TOWER = "dssm_user"
ITEM_TOWER = "dssm_item"
RANKER = "din"
DATATYPES = {np.dtype(np.int64): "INT64", np.dtype(np.float32): "FP32"}
IDEMPOTENT = [f"inference.GRPCInferenceService/{method}" for method in ("ModelInfer", "RepositoryIndex")]
BUILD_SECONDS = 5.0
"""How long a batch of item vectors may take: nobody waits for it."""


def connect_to_inference(settings: RecommenderSettings) -> grpc.aio.Channel:
    """A channel to the model server; work outside of a request goes under the service's own identity."""
    return connect(settings.inference_address, settings, IDEMPOTENT, service_identity("recommender"))


class InferenceModels:
    """The towers and the ranker: the ports `UserTower`, `ItemTower` and `Ranker`."""

    def __init__(self, channel: grpc.aio.Channel, recall_seconds: float, ranking_seconds: float) -> None:
        self._server = oip_grpc.GRPCInferenceServiceStub(channel)
        self._recall_seconds = recall_seconds
        self._ranking_seconds = ranking_seconds

    async def user_vector(self, inputs: Tensors, request_key: str, version: str = "") -> Vectors:
        """float32 [1, 64]. Raises ModelUnavailable."""
        return Vectors(*await self._infer(USER_TOWER, inputs, request_key, version, self._recall_seconds))

    async def item_vectors(self, inputs: Tensors, version: str) -> Vectors:
        """float32 [n, 64]. Raises ModelUnavailable."""
        return Vectors(*await self._infer(ITEM_TOWER, inputs, "", version, BUILD_SECONDS))

    async def scores(self, inputs: Tensors, request_key: str) -> Scores:
        """float32 [n]. Raises ModelUnavailable."""
        values, version = await self._infer(RANKER, inputs, request_key, "", self._ranking_seconds)
        return Scores(values.reshape(-1), version)

    async def tower_versions(self) -> list[str]:
        """The versions of the user tower that are loaded, oldest first. Raises ModelUnavailable."""
        try:
            index = await self._server.RepositoryIndex(oip.RepositoryIndexRequest(ready=True), timeout=BUILD_SECONDS)
        except (grpc.RpcError, CasebookError) as error:
            raise _unavailable("the model repository", error) from error
        loaded = {model.version for model in index.models if model.name == USER_TOWER and model.state == "READY"}
        return sorted(loaded, key=lambda version: (len(version), version))

    async def _infer(
        self, model: str, inputs: Tensors, request_key: str, version: str, seconds: float
    ) -> tuple[np.ndarray, str]:
        """The model's only output, and the version that answered."""
        request = infer_request(model, inputs, request_key, version)
        try:
            answer = await self._server.ModelInfer(request, timeout=seconds)
        except (grpc.RpcError, CasebookError) as error:
            raise _unavailable(f"model {model}", error) from error
        return first_output(answer), answer.model_version


def infer_request(model: str, inputs: Tensors, request_key: str = "", version: str = "") -> oip.ModelInferRequest:
    """The call; `request_key` is what a canary's share sticks to."""
    request = oip.ModelInferRequest(model_name=model, model_version=version)
    if request_key:
        request.parameters["request_key"].string_param = request_key
    for name, value in inputs.items():
        request.inputs.add(name=name, datatype=DATATYPES[value.dtype], shape=value.shape)
        request.raw_input_contents.append(value.tobytes())
    return request


def first_output(answer: oip.ModelInferResponse) -> np.ndarray:
    """The first output, float32, as it came: it shares its memory with the message."""
    shape: Sequence[int] = answer.outputs[0].shape
    return np.frombuffer(answer.raw_output_contents[0], np.float32).reshape(shape)


def _unavailable(what: str, error: Exception) -> ModelUnavailable:
    known = from_rpc_error(error) if isinstance(error, grpc.RpcError) else error
    return ModelUnavailable(f"{what}: {known}")
