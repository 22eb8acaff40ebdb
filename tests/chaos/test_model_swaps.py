"""Twenty releases under load, over two replicas: no call fails, and no answer comes from anywhere but its version."""

import asyncio
import itertools

import grpc
import numpy as np
import pytest

from casebook.oip import open_inference_pb2 as oip
from casebook.oip.open_inference_pb2_grpc import GRPCInferenceServiceStub
from casebook.releases.v1 import releases_pb2 as pb
from casebook.releases.v1.releases_pb2_grpc import ReleaseServiceStub
from chassis import database
from tests.fixtures.inference import infer_request, metadata, scale_model, slow_model, until

pytestmark = pytest.mark.chaos

SWAPS = 20
VERSIONS = 4
CALLERS = 8
STABLE = 'parameters { key: "initial_stable" value { string_value: "1" } }'


@pytest.fixture
def servers(models, start_inference, postgres):
    """Two replicas of a model that batches on the event loop and one that runs in a thread."""
    for version in range(1, VERSIONS + 1):
        models.put("scale", version, scale_model(version), f"max_batch_size: 16 dynamic_batching {{}} {STABLE}")
        models.put("slow", version, slow_model(rounds=4), f"max_batch_size: 4 dynamic_batching {{}} {STABLE}")
    urls = postgres.create_database("swaps")
    database.migrate("inference", urls.owner, urls.service)
    settings = {"database_url": urls.service, "inline_below_ms": 0.5}
    return [start_inference(models, instance=f"replica-{name}", **settings) for name in "ab"]


class Load:
    """Callers that each wait for one answer before the next call; what failed, and what was wrong, is kept."""

    def __init__(self, stubs):
        self.stubs = stubs
        self.answered = dict.fromkeys(stubs, 0)
        self.versions = set()
        self.failures = []
        self.stopping = False

    async def call(self, number):
        key = f"user-{number}"
        for turn in itertools.count():
            if self.stopping:
                return
            stub = self.stubs[(number + turn) % len(self.stubs)]
            model = "slow" if number % 4 == 0 else "scale"
            try:
                self.check(model, await stub.ModelInfer(self.request(model, key), metadata=metadata(), timeout=10))
                self.answered[stub] += 1
            except grpc.aio.AioRpcError as error:
                self.failures.append(f"{model}: {error.code().name} {error.details()}")

    def request(self, model, key):
        x = np.ones((1, 3) if model == "scale" else (1, 1, 1), np.float32)
        request = infer_request(model, x=x)
        request.parameters["request_key"].string_param = key
        return request

    def check(self, model, answer):
        if model == "scale":
            [value] = set(np.frombuffer(answer.raw_output_contents[0], np.float32).tolist())
            self.versions.add(answer.model_version)
            if value != float(answer.model_version):
                self.failures.append(f"version {answer.model_version} answered {value}")


async def test_no_call_fails_while_releases_change(servers):
    channels = [grpc.aio.insecure_channel(server.address) for server in servers]
    load = Load([GRPCInferenceServiceStub(channel) for channel in channels])
    releases = [ReleaseServiceStub(channel) for channel in channels]
    callers = [asyncio.create_task(load.call(number)) for number in range(CALLERS)]

    for swap in range(SWAPS):
        model = "slow" if swap % 4 == 3 else "scale"
        service = releases[swap % 2]
        await change(service, model, swap)
        await complete(service, model)

    load.stopping = True
    await asyncio.gather(*callers)
    assert load.failures == []
    assert min(load.answered.values()) > SWAPS
    assert load.versions == {"1", "2", "3", "4"}
    await nothing_failed_inside(load)
    for channel in channels:
        await channel.close()


async def change(service, model, swap):
    """Promotes in turn; every fifth swap is a canary, and the one after it rolls that back."""
    given = {"metadata": metadata(), "timeout": 10}
    version = str(swap % VERSIONS + 1)
    stable = (await service.GetModel(pb.GetModelRequest(model=model), **given)).model.release.stable
    if version == stable:
        version = str(swap % VERSIONS + 2 if swap % VERSIONS + 2 <= VERSIONS else 1)
    if swap % 5 == 3:
        await service.SetCanary(pb.SetCanaryRequest(model=model, version=version, share=0.5), **given)
    elif swap % 5 == 4:
        await service.Rollback(pb.RollbackRequest(model=model), **given)
    else:
        await service.Promote(pb.PromoteRequest(model=model, version=version, reason="swap"), **given)


async def complete(service, model):
    async def look():
        answer = await service.GetModel(pb.GetModelRequest(model=model), metadata=metadata(), timeout=10)
        return answer.model.release.complete or answer.model.release

    await until("both replicas to serve the release", look, 20)


async def nothing_failed_inside(load):
    for stub in load.stubs:
        statistics = await stub.ModelStatistics(oip.ModelStatisticsRequest(), metadata=metadata(), timeout=10)
        assert [
            kept.inference_stats.fail.count for kept in statistics.model_stats if kept.inference_stats.fail.count
        ] == []
