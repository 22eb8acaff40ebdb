"""Releases over two replicas, with a real PostgreSQL between them."""

import asyncio

import grpc
import numpy as np
import pytest

from casebook.oip import open_inference_pb2 as oip
from casebook.oip.open_inference_pb2_grpc import GRPCInferenceServiceStub
from casebook.releases.v1 import releases_pb2 as pb
from casebook.releases.v1.releases_pb2_grpc import ReleaseServiceStub
from chassis import database
from inference.router import position_of
from tests.fixtures.inference import (
    OPERATOR,
    VIEWER,
    ModelFolder,
    infer_request,
    inference_servers,
    metadata,
    scale_model,
    until,
)

STABLE = 'parameters { key: "initial_stable" value { string_value: "1" } }'
ROW = np.ones((1, 3), np.float32)


class Replica:
    """One server, and what its clients see of one model on it."""

    def __init__(self, server, model):
        self.server = server
        self.model = model
        self.channel = grpc.aio.insecure_channel(server.address)
        self.inference = GRPCInferenceServiceStub(self.channel)
        self.releases = ReleaseServiceStub(self.channel)

    async def version(self, key="", version=""):
        """The version that answers."""
        request = infer_request(self.model, version, x=ROW)
        if key:
            request.parameters["request_key"].string_param = key
        return (await self.inference.ModelInfer(request, metadata=metadata(), timeout=5)).model_version

    async def release(self):
        request = pb.GetModelRequest(model=self.model)
        return (await self.releases.GetModel(request, metadata=metadata(VIEWER), timeout=5)).model.release

    async def promote(self, version, identity=OPERATOR, reason="", model=""):
        request = pb.PromoteRequest(model=model or self.model, version=version, reason=reason)
        return (await self.releases.Promote(request, metadata=metadata(identity), timeout=5)).release

    async def roll_back(self):
        request = pb.RollbackRequest(model=self.model)
        return (await self.releases.Rollback(request, metadata=metadata(), timeout=5)).release

    async def changes(self):
        request = pb.ListChangesRequest(model=self.model)
        return (await self.releases.ListChanges(request, metadata=metadata(VIEWER), timeout=5)).changes

    async def load(self):
        request = oip.RepositoryModelLoadRequest(model_name=self.model)
        await self.inference.RepositoryModelLoad(request, metadata=metadata(), timeout=10)

    async def complete(self):
        """Returns once every replica serves the release."""

        async def look():
            release = await self.release()
            return release.complete or release

        await until("every replica to serve the release", look)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """The repository that both replicas serve; each test puts a model of its own on it."""
    folder = tmp_path_factory.mktemp("releases") / "models"
    folder.mkdir()
    return ModelFolder(folder)


@pytest.fixture(scope="module")
def start_replica(shelf, postgres, tmp_path_factory):
    """Starts a replica by name, all of them with one database."""
    urls = postgres.create_database("releases")
    database.migrate("inference", urls.owner, urls.service)
    with inference_servers(tmp_path_factory.mktemp("logs")) as start:
        yield lambda name: start(shelf, database_url=urls.service, instance=name)


@pytest.fixture(scope="module")
def servers(start_replica):
    return [start_replica("replica-a"), start_replica("replica-b")]


@pytest.fixture
def model(shelf, request):
    """A model with versions 1, which is stable, and 2."""
    name = request.node.name.partition("[")[0].removeprefix("test_")
    shelf.put(name, 1, scale_model(1), STABLE)
    shelf.put(name, 2, scale_model(2))
    return name


@pytest.fixture
async def replicas(servers, model):
    """Both, serving version 1 of the test's model."""
    pair = [Replica(server, model) for server in servers]
    request = oip.RepositoryIndexRequest()
    await pair[1].inference.RepositoryIndex(request, metadata=metadata(), timeout=5)
    await pair[0].load()
    await pair[1].complete()
    yield pair
    for replica in pair:
        await replica.channel.close()


async def test_a_model_has_one_bootstrap_whichever_replica_comes_first(replicas):
    a, b = replicas
    await b.load()
    assert [await replica.version() for replica in replicas] == ["1", "1"]
    assert {state.replica for state in (await b.release()).replicas} == {"replica-a", "replica-b"}
    assert [change.action for change in await a.changes()] == ["bootstrap"]


async def test_promote_and_roll_back_over_both_by_one_call(replicas):
    a, b = replicas
    after = await a.promote("2", reason="better at everything")
    assert (after.stable, after.previous, after.generation, after.changed_by) == ("2", "1", 2, "acme/olga")
    await b.complete()
    assert [await replica.version() for replica in replicas] == ["2", "2"]

    await b.roll_back()
    await a.complete()
    assert [await replica.version() for replica in replicas] == ["1", "1"]

    last, first, _ = await a.changes()
    assert (last.action, last.after.stable, last.reason) == ("rollback", "1", "")
    assert (first.action, first.after.stable, first.reason) == ("promote", "2", "better at everything")
    assert last.changed_at.ToNanoseconds() > first.changed_at.ToNanoseconds() > 0


async def test_a_canary_gets_the_same_keys_on_both(replicas, model):
    a, b = replicas
    request = pb.SetCanaryRequest(model=model, version="2", share=0.3)
    await a.releases.SetCanary(request, metadata=metadata(), timeout=5)
    await b.complete()
    keys = [f"user-{number}" for number in range(60)]
    expected = ["2" if position_of(model, "2", key) < 0.3 else "1" for key in keys]
    for replica in replicas:
        assert [await replica.version(key=key) for key in keys] == expected
    assert await a.version() == "1"


async def test_a_shadow_runs_and_never_answers(replicas, model):
    a, _ = replicas
    request = pb.SetShadowRequest(model=model, version="2")
    await a.releases.SetShadow(request, metadata=metadata(), timeout=5)
    await a.complete()
    assert await a.version(key="u1") == "1"

    async def compared():
        differences = f'casebook_inference_shadow_difference_sum{{model="{model}",version="2"}} 1.0'
        return differences in a.server.metrics()

    await until("the shadow to be compared", compared)


async def test_a_corrupt_version_keeps_the_old_one_serving_on_both(replicas, shelf, model):
    a, b = replicas
    shelf.put(model, 3, b"no model at all")
    await a.promote("3")

    async def told():
        states = (await b.release()).replicas
        return all("can't be loaded" in state.error and state.generation == 1 for state in states) or str(states)

    await until("both replicas to say why", told)
    assert not (await a.release()).complete
    assert [await replica.version() for replica in replicas] == ["1", "1"]
    await a.roll_back()
    await a.complete()


@pytest.mark.parametrize(
    ("name", "version", "code"),
    [
        ("", "9", grpc.StatusCode.NOT_FOUND),
        ("nothing", "1", grpc.StatusCode.NOT_FOUND),
        ("", "1", grpc.StatusCode.FAILED_PRECONDITION),
    ],
)
async def test_changes_that_can_not_be_made(replicas, name, version, code):
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await replicas[0].promote(version, model=name)
    assert error.value.code() == code


async def test_changes_need_the_role_operator(replicas):
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await replicas[0].promote("2", identity=VIEWER)
    assert error.value.code() == grpc.StatusCode.PERMISSION_DENIED


async def test_two_operators_at_once_make_one_change_after_the_other(replicas, shelf, model):
    a, b = replicas
    shelf.put(model, 3, scale_model(3))
    await asyncio.gather(a.promote("2"), b.promote("3"))
    last, first, bootstrap = (change.after for change in await a.changes())
    assert (last.generation, first.generation, bootstrap.generation) == (3, 2, 1)
    assert last.previous == first.stable


async def test_a_loaded_version_answers_by_name_before_it_is_released(replicas, shelf, model):
    a, _ = replicas
    shelf.put(model, 3, scale_model(3))
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await a.version(version="3")
    assert error.value.code() == grpc.StatusCode.NOT_FOUND
    await a.load()
    assert await a.version(version="3") == "3"
    assert await a.version() == "1"


async def test_a_replica_that_stops_counts_no_more(replicas, start_replica):
    a, _ = replicas
    third = start_replica("replica-c")

    def counted(*names):
        async def look():
            return tuple(state.replica for state in (await a.release()).replicas) == names

        return look

    await until("the third replica to count", counted("replica-a", "replica-b", "replica-c"))
    assert third.stop() == 0
    await until("it to be gone", counted("replica-a", "replica-b"))
    await a.promote("2")
    await a.complete()
