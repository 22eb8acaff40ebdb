"""Limits over the wire: full queues, deadlines, cancelled calls, and a drain that loses none."""

import asyncio
import signal

import grpc
import numpy as np
import pytest

from casebook.oip import open_inference_pb2 as oip
from casebook.oip.open_inference_pb2_grpc import GRPCInferenceServiceStub
from tests.fixtures.inference import ModelFolder, infer_request, inference_servers, metadata, slow_model, until

ROW = np.ones((1, 1, 1), np.float32)


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Starts a server whose model takes tens of milliseconds, one call at a time, with room for four that wait."""
    folder = tmp_path_factory.mktemp("limits")
    models = ModelFolder(folder / "models")
    models.put("slow", 1, slow_model(rounds=200), "dynamic_batching { default_queue_policy { max_queue_size: 4 } }")
    with inference_servers(folder) as start:
        yield lambda: start(models)


@pytest.fixture(scope="module")
def server(start):
    return start()


@pytest.fixture
async def stub(server):
    async with grpc.aio.insecure_channel(server.address) as channel:
        yield GRPCInferenceServiceStub(channel)


def infer(stub, timeout=10.0):
    return stub.ModelInfer(infer_request("slow", x=ROW), metadata=metadata(), timeout=timeout)


async def statistics(stub):
    request = oip.ModelStatisticsRequest(name="slow")
    [kept] = (await stub.ModelStatistics(request, metadata=metadata(), timeout=5)).model_stats
    return kept


async def code(call):
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return "OK"


async def test_a_full_queue_is_resource_exhausted_and_the_others_are_answered(stub):
    codes = await asyncio.gather(*(code(infer(stub)) for _ in range(12)))
    assert codes.count("OK") >= 4
    assert set(codes) == {"OK", "RESOURCE_EXHAUSTED"}


async def test_a_call_that_ran_out_of_time_or_was_cancelled_while_it_waited_is_never_computed(stub):
    before = await statistics(stub)
    patient = [infer(stub) for _ in range(3)]
    hurried, cancelled = infer(stub, timeout=0.02), infer(stub)
    assert await code(hurried) == "DEADLINE_EXCEEDED"
    cancelled.cancel()
    await asyncio.gather(*patient)

    async def counted():
        now = await statistics(stub)
        ran = now.execution_count - before.execution_count
        answered = now.inference_stats.success.count - before.inference_stats.success.count
        return (ran, answered) == (3, 3) or (ran, answered)

    await until("the three others to be counted", counted)


async def test_a_drain_answers_what_is_in_flight(start):
    server = start()
    async with grpc.aio.insecure_channel(server.address) as channel:
        stub = GRPCInferenceServiceStub(channel)
        calls = [asyncio.ensure_future(code(infer(stub))) for _ in range(4)]

        async def accepted():
            line = 'casebook_rpc_server_in_flight{method="ModelInfer",rpc_service="inference.GRPCInferenceService"} 4.0'
            return line in await asyncio.to_thread(server.metrics)

        await until("the calls to be accepted", accepted)
        server.process.send_signal(signal.SIGTERM)
        assert await asyncio.gather(*calls) == ["OK"] * 4
    assert server.process.wait(20) == 0


async def test_a_message_over_the_limit_is_resource_exhausted(stub):
    too_large = infer_request("slow", x=np.ones((2_000_000, 1, 1), np.float32))
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await stub.ModelInfer(too_large, metadata=metadata(), timeout=10)
    assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
