"""A second `inference` as the remote executor: releases here, computing there."""

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from onnx import TensorProto

from casebook.oip import open_inference_pb2 as oip
from casebook.oip.open_inference_pb2_grpc import GRPCInferenceServiceStub
from casebook.releases.v1 import releases_pb2 as pb
from casebook.releases.v1.releases_pb2_grpc import ReleaseServiceStub
from tests.fixtures.inference import (
    ModelFolder,
    identity_model,
    infer_request,
    inference_servers,
    metadata,
    scale_model,
    until,
)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """The repository of both."""
    folder = tmp_path_factory.mktemp("remote") / "models"
    models = ModelFolder(folder)
    stable = 'max_batch_size: 8 dynamic_batching {} parameters { key: "initial_stable" value { string_value: "1" } }'
    models.put("scale", 1, scale_model(1), stable)
    models.put("scale", 2, scale_model(2))
    models.put("text", 1, identity_model(TensorProto.STRING))
    return models


@pytest.fixture(scope="module")
def servers(shelf, tmp_path_factory):
    """The one that routes, and the one that computes and serves every version."""
    with inference_servers(tmp_path_factory.mktemp("logs")) as start:
        remote = start(shelf, load_versions="all")
        yield start(shelf, executor="remote", remote_address=remote.address), remote


@pytest.fixture
async def front(servers):
    async with grpc.aio.insecure_channel(servers[0].address) as channel:
        yield GRPCInferenceServiceStub(channel), ReleaseServiceStub(channel)


def scale(rows=1, version=""):
    return infer_request("scale", version, x=np.ones((rows, 3), np.float32))


async def test_it_answers_what_the_remote_computes(front):
    inference, _ = front
    answer = await inference.ModelInfer(scale(2), metadata=metadata(), timeout=5)
    assert answer.model_version == "1"
    assert np.frombuffer(answer.raw_output_contents[0], np.float32).tolist() == [1.0] * 6
    described = await inference.ModelMetadata(oip.ModelMetadataRequest(name="scale"), metadata=metadata(), timeout=5)
    assert described.platform == "onnxruntime_onnx"


async def test_strings_go_through(front):
    inference, _ = front
    request = oip.ModelInferRequest(model_name="text")
    request.inputs.add(name="x", datatype="BYTES", shape=[1, 3]).contents.bytes_contents.extend([b"a", b"", b"c"])
    answer = await inference.ModelInfer(request, metadata=metadata(), timeout=5)
    assert list(answer.outputs[0].contents.bytes_contents) == [b"a", b"", b"c"]


async def test_a_promotion_is_made_here_alone(front, servers):
    inference, releases = front
    await releases.Promote(pb.PromoteRequest(model="scale", version="2"), metadata=metadata(), timeout=5)

    async def promoted():
        return (await inference.ModelInfer(scale(), metadata=metadata(), timeout=5)).model_version == "2"

    await until("version 2 to answer", promoted)
    async with grpc.aio.insecure_channel(servers[1].address) as channel:
        there = await GRPCInferenceServiceStub(channel).ModelInfer(scale(), metadata=metadata(), timeout=5)
        assert there.model_version == "1"


async def test_a_new_version_is_asked_of_the_remote(front, shelf):
    inference, releases = front
    shelf.put("scale", 3, scale_model(3))
    await releases.Promote(pb.PromoteRequest(model="scale", version="3"), metadata=metadata(), timeout=5)

    async def promoted():
        return (await inference.ModelInfer(scale(), metadata=metadata(), timeout=5)).model_version == "3"

    await until("version 3 to answer", promoted)


async def test_bad_input_is_refused_here(front):
    inference, _ = front
    request = scale()
    request.inputs[0].shape[1] = 4
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await inference.ModelInfer(request, metadata=metadata(), timeout=5)
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "inputs['x'].shape" in error.value.details()


async def test_without_its_remote_a_call_is_unavailable(models, start_inference):
    models.put("scale", 1, scale_model(1))
    remote = start_inference(models)
    server = start_inference(models, executor="remote", remote_address=remote.address)
    remote.stop()
    async with grpc.aio.insecure_channel(server.address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await GRPCInferenceServiceStub(channel).ModelInfer(scale(), metadata=metadata(), timeout=5)
    assert error.value.code() == grpc.StatusCode.UNAVAILABLE


async def test_without_its_remote_it_is_not_ready(models, start_inference, unused_tcp_port):
    models.put("scale", 1, scale_model(1))
    server = start_inference(models, ready=False, executor="remote", remote_address=f"127.0.0.1:{unused_tcp_port}")
    async with grpc.aio.insecure_channel(server.address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)

        async def not_serving():
            try:
                answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=5)
            except grpc.aio.AioRpcError as error:
                return error.details()
            return answer.status == health_pb2.HealthCheckResponse.NOT_SERVING or answer

        await until("the server to say that it is not ready", not_serving)
