"""The model server by itself, over the Open Inference Protocol, with inputs of the shapes that its models name."""

from typing import Any

import numpy as np
from locust import constant_pacing, tag, task

from casebook.oip import open_inference_pb2 as oip
from casebook.oip.open_inference_pb2_grpc import GRPCInferenceServiceStub
from loadtests.rpc_user import RpcUser, address

DTYPES = {"INT64": np.int64, "FP32": np.float32}
KNOWN_IDS = 4
"""Whole numbers are drawn below this: every vocabulary of the shipped models is larger."""


class ModelCaller(RpcUser):
    """A service that calls the recommender's models. Needs CASEBOOK_INFERENCE_ADDRESS and CASEBOOK_TOKEN_KEYS."""

    target = address("CASEBOOK_INFERENCE_ADDRESS")
    abstract = not target
    weight = 1
    wait_time = constant_pacing(0.5)

    def on_start(self) -> None:
        """Asks once what the models take; these calls are not counted."""
        super().on_start()
        self.requests: dict[str, oip.ModelInferRequest] = {}

    @tag("models", "rpc")
    @task
    def ranks(self) -> None:
        """300 candidates for one visitor, as the recommender asks."""
        self._infer("din", rows=300)

    @tag("models", "rpc")
    @task
    def encodes(self) -> None:
        """One visitor's vector."""
        self._infer("dssm_user", rows=1)

    def call_name(self, method: str, request: Any) -> str:
        """By model."""
        return " ".join(filter(None, (super().call_name(method, request), getattr(request, "model_name", ""))))

    def _infer(self, model: str, rows: int) -> None:
        if model not in self.requests:
            self.requests[model] = self._request(model, rows)
        self.call(GRPCInferenceServiceStub(self.channel).ModelInfer, self.requests[model])

    def _request(self, model: str, rows: int) -> oip.ModelInferRequest:
        # Over the channel that does not report: no client asks this of a model more than once.
        bare = GRPCInferenceServiceStub(self.bare_channel)
        given = bare.ModelMetadata(oip.ModelMetadataRequest(name=model), metadata=self.metadata(), timeout=5.0)
        random = np.random.default_rng(self.chance.getrandbits(32))
        request = oip.ModelInferRequest(model_name=model)
        for spec in given.inputs:
            shape = [rows if size < 0 else size for size in spec.shape]
            drawn = random.integers(0, KNOWN_IDS, shape) if spec.datatype == "INT64" else random.random(shape)
            request.inputs.add(name=spec.name, datatype=spec.datatype, shape=shape)
            request.raw_input_contents.append(drawn.astype(DTYPES[spec.datatype]).tobytes())
        return request
