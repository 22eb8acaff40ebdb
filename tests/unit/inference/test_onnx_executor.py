"""Real ONNX Runtime: every datatype, the configuration, where a model runs."""

import asyncio
import time

import numpy as np
import onnx
import pytest
from google.protobuf import text_format
from onnx import TensorProto

from casebook.oip import open_inference_pb2 as oip
from chassis.errors import InvalidField
from inference.executor import ModelError
from inference.onnx_executor import SLOW_RUNS, OnnxExecutor, OnnxOptions
from inference.repository import ModelFiles
from inference.tensors import BATCH_AXIS, DATATYPES
from tests.fixtures.inference import identity_model, mlp_model, scale_model, slow_model

ONNX_TYPES = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "BF16": TensorProto.BFLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BYTES": TensorProto.STRING,
}


def files(folder, model, config=""):
    content = model if isinstance(model, bytes) else model.SerializeToString()
    (folder / "model.onnx").write_bytes(content)
    return ModelFiles("ranker", "1", folder, text_format.Parse(config, oip.ModelConfig()), "f")


async def load(folder, model, config="", **options):
    return await OnnxExecutor(OnnxOptions(**options)).load(files(folder, model, config))


def soon():
    return time.monotonic() + 5


@pytest.mark.parametrize("name", DATATYPES)
async def test_every_datatype_goes_in_and_comes_out(tmp_path, name):
    model = await load(tmp_path, identity_model(ONNX_TYPES[name], ("N", 2)))
    datatype = DATATYPES[name]
    if name == "BYTES":
        x = np.array([[b"a", "é".encode()], [b"", b"\0"]], object)
    else:
        x = np.array([[0, 1], [1, 0]], datatype.numpy)
    x.flags.writeable = False
    [y] = await model.run({"x": x}, ("y",), soon())
    assert y.dtype == datatype.numpy
    assert y.tolist() == x.tolist()
    assert model.signature.inputs[0].datatype is datatype


async def test_strings_are_utf_8(tmp_path):
    model = await load(tmp_path, identity_model(TensorProto.STRING, (1,)))
    with pytest.raises(InvalidField, match=r"inputs\['x'\]: expected UTF-8"):
        await model.run({"x": np.array([b"\xff"], object)}, ("y",), soon())


async def test_shapes_symbols_and_the_batch_are_read_from_the_model(tmp_path):
    model = await load(tmp_path, mlp_model(), "max_batch_size: 8")
    [spec] = model.signature.inputs
    assert (spec.shape, spec.symbols) == ((-1, 64), (BATCH_AXIS, ""))
    assert model.signature.max_batch_size == 8


async def test_batching_is_off_unless_it_is_configured(tmp_path):
    assert not (await load(tmp_path, mlp_model(), "max_batch_size: 8")).batches
    assert (await load(tmp_path, mlp_model(), "max_batch_size: 8 dynamic_batching {}")).batches
    assert not (await load(tmp_path, mlp_model(), "dynamic_batching {}")).batches


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ('input { name: "x" data_type: TYPE_FP32 dims: [-1, 3] }', "input 'x' is not in the model"),
        ('input { name: "features" data_type: TYPE_INT64 dims: [-1, 64] }', "INT64, in the model it is FP32"),
        ('input { name: "features" data_type: TYPE_FP32 dims: [-1, 3] }', r"has dims \[-1, 3\], in the model"),
        ('parameters { key: "warm_up" value { string_value: "N" } }', "warm_up"),
    ],
)
async def test_a_configuration_that_contradicts_the_model_is_refused(tmp_path, config, why):
    with pytest.raises(ModelError, match=why):
        await load(tmp_path, mlp_model(), config)


async def test_a_model_without_a_batch_dimension_can_not_batch(tmp_path):
    with pytest.raises(ModelError, match="lacks a batch dimension"):
        await load(tmp_path, identity_model(TensorProto.FLOAT, (2, 2)), "max_batch_size: 8")


async def test_a_configuration_may_narrow_the_model(tmp_path):
    config = 'input { name: "x" data_type: TYPE_FP32 dims: [5, 3] }'
    assert (await load(tmp_path, scale_model(1), config)).signature.inputs[0].shape == (5, 3)


@pytest.mark.parametrize("content", [b"", b"no model" * 50, mlp_model().SerializeToString()[:-2000]])
async def test_a_corrupt_file_is_refused_with_the_reason(tmp_path, content):
    with pytest.raises(ModelError, match=r"model ranker version 1: model.onnx can't be loaded"):
        await load(tmp_path, content)


async def test_a_datatype_that_the_protocol_lacks_is_refused_by_name(tmp_path):
    model = identity_model(TensorProto.FLOAT8E4M3FN)
    with pytest.raises(ModelError, match="tensor 'x' is tensor"):
        await load(tmp_path, model)


async def test_values_that_the_model_refuses_are_the_caller_s(tmp_path):
    model = await load(tmp_path, scale_model(1))
    with pytest.raises(InvalidField):
        await model.run({"x": np.zeros((1, 4), np.float32)}, ("y",), soon())


async def test_a_fast_model_runs_on_the_event_loop(tmp_path):
    model = await load(tmp_path, scale_model(1), "instance_group { count: 4 }", inline_below_seconds=10)
    assert model.runs_on_event_loop
    assert model.slots == 1


async def test_a_slow_model_runs_in_threads_one_for_each_instance(tmp_path):
    model = await load(tmp_path, slow_model(), "instance_group { count: 2 }", inline_below_seconds=0.001)
    assert not model.runs_on_event_loop
    assert model.slots == 2
    x = np.ones((1, 1, 1), np.float32)
    [y] = await model.run({"x": x}, ("y",), soon())
    np.testing.assert_allclose(y, np.ones((1, 200)), rtol=1e-5)
    await model.close()


async def test_a_slow_model_leaves_the_event_loop_free(tmp_path):
    model = await load(tmp_path, slow_model(), inline_below_seconds=0.0)
    running = asyncio.create_task(model.run({"x": np.ones((2, 1, 1), np.float32)}, ("y",), soon()))
    turns = 0
    while not running.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 5
    await model.close()


async def test_a_model_most_of_whose_runs_prove_slow_leaves_the_event_loop(tmp_path):
    model = await load(tmp_path, slow_model(rounds=4), inline_below_seconds=10)
    x = np.ones((1, 1, 1), np.float32)
    model._inline_below_seconds = 0.0
    for _ in range(SLOW_RUNS - 1):
        await model.run({"x": x}, ("y",), soon())
    model._inline_below_seconds = 10
    await model.run({"x": x}, ("y",), soon())
    model._inline_below_seconds = 0.0
    await model.run({"x": x}, ("y",), soon())
    assert model.runs_on_event_loop
    await model.run({"x": x}, ("y",), soon())
    assert not model.runs_on_event_loop
    await model.close()


async def test_warm_up_takes_the_usual_sizes(tmp_path):
    config = 'parameters { key: "warm_up" value { string_value: "N=50" } }'
    quick = await load(tmp_path, mlp_model((64, 512, 512, 1)))
    usual = await load(tmp_path, mlp_model((64, 512, 512, 1)), config)
    assert usual.typical_seconds > quick.typical_seconds


async def test_an_input_with_a_default_is_optional_where_it_is_declared(tmp_path):
    proto = scale_model(3)
    proto.graph.input.append(onnx.helper.make_tensor_value_info("factor", TensorProto.FLOAT, []))
    config = """
        input { name: "x" data_type: TYPE_FP32 dims: [-1, 3] }
        input { name: "factor" data_type: TYPE_FP32 optional: true }
    """
    model = await load(tmp_path, proto, config)
    assert model.signature.required == {"x"}
    x = np.ones((1, 3), np.float32)
    assert (await model.run({"x": x}, ("y",), soon()))[0].tolist() == [[3, 3, 3]]
    factor = np.array(5, np.float32)
    assert (await model.run({"x": x, "factor": factor}, ("y",), soon()))[0].tolist() == [[5, 5, 5]]
