"""One call from request to answer, its statistics, and its shadow."""

import asyncio

import numpy as np
import pytest

from casebook.oip import open_inference_pb2 as oip
from chassis.errors import DeadlineExceeded, InvalidField, NotFound
from inference import telemetry
from inference.data_plane import DataPlane, largest_difference
from inference.onnx_executor import OnnxExecutor, OnnxOptions
from inference.releases import Release
from inference.repository import Repository
from inference.router import Route, Router
from inference.served import ServedVersion
from tests.fixtures.inference import scale_model


@pytest.fixture
async def versions(models, tmp_path):
    """Three versions of `scale`, loaded."""
    for version in (1, 2, 3):
        models.put("scale", version, scale_model(version), "max_batch_size: 8 dynamic_batching {}")
    repository = Repository(str(models.path), tmp_path / "cache")
    repository.scan()
    executor = OnnxExecutor(OnnxOptions())
    loaded = {}
    for version in ("1", "2", "3"):
        files = repository.fetch("scale", version)
        loaded[version] = ServedVersion(files, await executor.load(files), queue_limit=8)
    yield loaded
    for version in loaded.values():
        await version.retire(5)


@pytest.fixture
def router(versions):
    router = Router()
    for version in versions.values():
        router.add(version)
    router.install(Route(Release("scale", "1"), versions["1"]))
    return router


def request(rows=1, version="", key=""):
    x = np.ones((rows, 3), np.float32)
    message = oip.ModelInferRequest(model_name="scale", model_version=version, raw_input_contents=[x.tobytes()])
    message.inputs.add(name="x", datatype="FP32", shape=x.shape)
    if key:
        message.parameters["request_key"].string_param = key
    return message


def value(response):
    return float(np.frombuffer(response.raw_output_contents[0], np.float32)[0])


async def test_the_answer_says_which_version_gave_it(router):
    response = await DataPlane(router).infer(request(2), 5.0)
    assert (response.model_version, list(response.outputs[0].shape), value(response)) == ("1", [2, 3], 1.0)


async def test_a_call_with_a_key_goes_to_the_canary_when_that_has_every_key(router, versions):
    router.install(Route(Release("scale", "1", canary="2", canary_share=1.0), versions["1"], canary=versions["2"]))
    assert (await DataPlane(router).infer(request(key="u1"), 5.0)).model_version == "2"
    assert (await DataPlane(router).infer(request(), 5.0)).model_version == "1"


async def test_statistics_count_calls_rows_and_runs(router, versions):
    plane = DataPlane(router)
    await asyncio.gather(*(plane.infer(request(2), 5.0) for _ in range(3)))
    with pytest.raises(InvalidField):
        await plane.infer(oip.ModelInferRequest(model_name="scale"), 5.0)
    kept = versions["1"].statistics
    assert (kept.success.count, kept.fail.count, kept.rows) == (3, 1, 6)
    assert sum(rows * duration.count for rows, duration in kept.batches.items()) == 6
    assert kept.executions < 3
    assert kept.success.ns >= kept.queue.ns + kept.compute_infer.ns
    assert kept.last_inference_ms > 0


async def test_an_unknown_model_is_not_found(router):
    with pytest.raises(NotFound):
        await DataPlane(router).infer(oip.ModelInferRequest(model_name="tagger"), 5.0)


async def test_a_call_without_time_left_is_not_computed(router, versions):
    with pytest.raises(DeadlineExceeded):
        await DataPlane(router).infer(request(), 0.0)
    assert versions["1"].statistics.executions == 0


@pytest.fixture
def shadowed(router, versions, monkeypatch):
    """Version 3 shadows; what becomes of its calls is kept in a list."""
    seen = []
    monkeypatch.setattr(telemetry, "shadow_compared", lambda *call: seen.append(call))
    monkeypatch.setattr(telemetry, "shadow_skipped", lambda *call: seen.append(call))
    router.install(Route(Release("scale", "1", shadow="3"), versions["1"], shadow=versions["3"]))
    return seen


async def test_a_shadow_is_compared_and_never_answers(router, shadowed):
    plane = DataPlane(router)
    assert value(await plane.infer(request(), 5.0)) == 1.0
    await asyncio.gather(*plane._shadows.values())
    assert shadowed == [("scale", "3", 2.0)]


async def test_a_shadow_is_dropped_when_the_one_before_still_runs(router, shadowed):
    plane = DataPlane(router)
    plane._shadows["scale"] = asyncio.create_task(asyncio.Event().wait())
    await plane.infer(request(), 5.0)
    plane._shadows["scale"].cancel()
    assert shadowed == [("scale", "3", "dropped")]


@pytest.mark.parametrize(
    ("expected", "received", "difference"),
    [
        (np.array([1.0, 2.0]), np.array([1.0, 2.5]), 0.5),
        (np.array([1, 2], np.uint8), np.array([2, 1], np.uint8), 1.0),
        (np.array([1.0]), np.array([[1.0]]), float("inf")),
        (np.array([b"a"], object), np.array([b"a"], object), 0.0),
        (np.array([b"a"], object), np.array([b"b"], object), float("inf")),
        (np.array([1.0]), np.array([np.nan]), float("inf")),
        (np.array([]), np.array([]), 0.0),
    ],
)
def test_the_largest_difference(expected, received, difference):
    assert largest_difference(expected, received) == difference
