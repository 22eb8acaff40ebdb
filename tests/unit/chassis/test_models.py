"""What a model server answers that is not as it should be is the caller's own error, not a fault of ours."""

from collections.abc import AsyncIterator

import grpc
import numpy as np
import pytest

from casebook.oip import open_inference_pb2 as oip
from casebook.oip import open_inference_pb2_grpc as oip_grpc
from chassis.models import ModelClient


class Away(Exception):
    """What the port says that it raises."""


class ModelServer(oip_grpc.GRPCInferenceServiceServicer):
    """Answers what it is told to."""

    def __init__(self) -> None:
        self.answer = oip.ModelInferResponse()

    async def ModelInfer(self, request: oip.ModelInferRequest, context: object) -> oip.ModelInferResponse:
        return self.answer


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    serving, models = grpc.aio.server(), ModelServer()
    oip_grpc.add_GRPCInferenceServiceServicer_to_server(models, serving)
    models.port = serving.add_insecure_port("127.0.0.1:0")
    await serving.start()
    yield models
    await serving.stop(0)


async def infer(server: ModelServer):
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        client = ModelClient(channel, Away)
        return await client.infer("doubler", {"x": np.ones((2, 3), np.float32)}, seconds=5)


def output(shape: list[int]) -> oip.ModelInferResponse.InferOutputTensor:
    return oip.ModelInferResponse.InferOutputTensor(name="y", datatype="FP32", shape=shape)


async def test_the_first_output_comes_with_its_version(server):
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    server.answer = oip.ModelInferResponse(
        model_version="7", outputs=[output([2, 3])], raw_output_contents=[values.tobytes()]
    )

    answer = await infer(server)
    np.testing.assert_array_equal(answer.values, values)
    assert answer.version == "7"


@pytest.mark.parametrize(
    "answer",
    [
        oip.ModelInferResponse(),
        oip.ModelInferResponse(outputs=[output([2, 3])]),
        oip.ModelInferResponse(outputs=[output([2, 3])], raw_output_contents=[b"\0" * 20]),
        oip.ModelInferResponse(outputs=[output([2, 3])], raw_output_contents=[b"\0" * 23]),
        oip.ModelInferResponse(raw_output_contents=[b"\0" * 24]),
    ],
    ids=["nothing", "no raw contents", "too short", "no whole number", "no shape"],
)
async def test_contents_that_do_not_fit_their_shape_are_named(server, answer):
    server.answer = answer

    with pytest.raises(Away, match="model doubler: its answer has no float32 contents of its shape"):
        await infer(server)
