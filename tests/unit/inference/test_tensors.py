"""Strict reading of requests, and answers in the way the request was sent."""

import struct
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from casebook.oip import open_inference_pb2 as oip
from chassis.errors import InvalidField
from inference.tensors import (
    BATCH_AXIS,
    BYTES,
    DATATYPES,
    Signature,
    TensorSpec,
    decode,
    encode,
    from_raw,
    requested_outputs,
    to_raw,
)

FP32, INT64 = DATATYPES["FP32"], DATATYPES["INT64"]
SIGNATURE = Signature(
    (
        TensorSpec("features", FP32, (-1, 3), ("N", "")),
        TensorSpec("items", INT64, (-1, 1), ("N", "")),
        TensorSpec("bias", FP32, (1,), ("",), optional=True),
    ),
    (TensorSpec("score", FP32, (-1, 1)), TensorSpec("label", BYTES, (-1,))),
)
BATCHED = Signature((TensorSpec("x", FP32, (-1, 2), (BATCH_AXIS, "")),), (TensorSpec("y", FP32, (-1, 2)),), 4)


def request(*tensors, raw=True, **fields):
    """A request of (name, datatype, shape, raw bytes or typed contents)."""
    message = oip.ModelInferRequest(model_name="ranker", **fields)
    for name, datatype, shape, content in tensors:
        tensor = message.inputs.add(name=name, datatype=datatype, shape=shape)
        if raw:
            message.raw_input_contents.append(content)
        else:
            tensor.contents.CopyFrom(content)
    return message


def features(rows=2, columns=3, datatype="FP32", size=None):
    return ("features", datatype, [rows, columns], bytes(4 * rows * columns if size is None else size))


def items(rows=2):
    return ("items", "INT64", [rows, 1], bytes(8 * rows))


def test_raw_contents_become_views_into_the_request():
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    inputs = decode(request(("features", "FP32", [2, 3], values.tobytes()), items()), SIGNATURE)
    np.testing.assert_array_equal(inputs["features"], values)
    assert inputs["features"].base is not None
    assert inputs["items"].dtype == np.int64


def test_an_optional_input_may_be_left_out_or_sent():
    assert "bias" not in decode(request(features(), items()), SIGNATURE)
    assert "bias" in decode(request(features(), items(), ("bias", "FP32", [1], bytes(4))), SIGNATURE)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ([features()], "inputs['items']: missing, expected INT64 [-1, 1]"),
        ([features(), items(), ("age", "FP32", [1], bytes(4))], "inputs['age']: the model takes no such input"),
        ([features(), items(), items()], "inputs['items']: expected once, received twice"),
        ([features(datatype="FP64"), items()], "inputs['features'].datatype: expected FP32 (received 'FP64')"),
        ([features(columns=4), items()], "inputs['features'].shape: expected [-1, 3] (received [2, 4])"),
        ([("features", "FP32", [6], bytes(24)), items()], "inputs['features'].shape: expected [-1, 3] (received [6])"),
        ([("features", "FP32", [-2, 3], b""), items()], "inputs['features'].shape: expected [-1, 3]"),
        ([features(size=20), items()], "inputs['features']: expected 24 bytes for FP32 [2, 3] (received '20 bytes')"),
        ([features(rows=2), items(rows=3)], "inputs['items'].shape: expected 2 in dimension 0, the size of N"),
    ],
)
def test_what_does_not_fit_is_named_with_what_was_expected_and_received(tensors, message):
    with pytest.raises(InvalidField) as error:
        decode(request(*tensors), SIGNATURE)
    assert message in error.value.message


def test_raw_contents_must_be_one_an_input():
    message = request(features(), items())
    message.raw_input_contents.append(b"")
    with pytest.raises(InvalidField, match="expected 2 entries, one an input"):
        decode(message, SIGNATURE)


def test_contents_beside_raw_contents_are_refused():
    message = request(features(), items())
    message.inputs[0].contents.fp32_contents.append(1.0)
    with pytest.raises(InvalidField, match="must be absent beside raw_input_contents"):
        decode(message, SIGNATURE)


@pytest.mark.parametrize("rows", [0, 5])
def test_a_batch_has_between_one_row_and_the_model_s_most(rows):
    with pytest.raises(InvalidField, match="expected a batch of 1 to 4 rows"):
        decode(request(("x", "FP32", [rows, 2], bytes(8 * rows))), BATCHED)


def test_shared_memory_is_refused_by_name():
    message = request(features(), items())
    message.inputs[0].parameters["shared_memory_region"].string_param = "r"
    with pytest.raises(InvalidField, match="shared memory is not served"):
        decode(message, SIGNATURE)


TYPED = [(name, d) for name, d in DATATYPES.items() if d.contents]


@pytest.mark.parametrize(("name", "datatype"), TYPED, ids=[name for name, _ in TYPED])
def test_typed_contents_of_every_datatype(name, datatype):
    values = [b"a", b"\xffb"] if datatype is BYTES else [0, 1]
    contents = oip.InferTensorContents(**{datatype.contents: values})
    signature = Signature((TensorSpec("x", datatype, (2,)),), (TensorSpec("y", datatype, (2,)),))
    sent = request(("x", name, [2], contents), raw=False)
    array = decode(sent, signature)["x"]
    assert array.dtype == datatype.numpy
    assert array.tolist() == values
    answer = encode(sent, "1", [(signature.outputs[0], array)])
    assert not answer.raw_output_contents
    assert list(getattr(answer.outputs[0].contents, datatype.contents)) == values


@pytest.mark.parametrize(
    ("datatype", "contents", "message"),
    [
        ("FP16", {"fp32_contents": [1]}, "FP16 has no typed contents"),
        ("INT64", {"int_contents": [1]}, "expected int64_contents for INT64 (received 'int_contents')"),
        ("INT64", {"int64_contents": [1, 2]}, "expected 1 elements for INT64 [1] (received 2)"),
        ("INT64", {}, "expected 1 elements for INT64 [1] (received 0)"),
        ("INT8", {"int_contents": [300]}, "expected values of INT8"),
    ],
)
def test_typed_contents_that_do_not_fit(datatype, contents, message):
    signature = Signature((TensorSpec("x", DATATYPES[datatype], (1,)),), ())
    with pytest.raises(InvalidField) as error:
        decode(request(("x", datatype, [1], oip.InferTensorContents(**contents)), raw=False), signature)
    assert message in error.value.message


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"\x05\0\0\0abc", "element 0 says that it has 5 bytes"),
        (b"\x01\0\0\0a\x01", "expected a uint32 length in front of each element"),
        (struct.pack("<I", 1) + b"a", "expected 2 BYTES elements (received 1)"),
        (b"\0\0\0\0" * 3, "expected 2 BYTES elements (received 3)"),
    ],
)
def test_bytes_that_do_not_add_up(raw, message):
    with pytest.raises(InvalidField) as error:
        from_raw("inputs['x']", BYTES, (2,), raw)
    assert message in error.value.message


@given(st.lists(st.binary(max_size=20), max_size=8))
def test_bytes_survive_the_way_there_and_back(elements):
    raw = b"".join(struct.pack("<I", len(element)) + element for element in elements)
    array = from_raw("x", BYTES, (len(elements),), raw)
    assert array.tolist() == elements
    assert to_raw(BYTES, array) == raw


@given(st.binary(max_size=64))
def test_no_bytes_whatever_break_the_reader(raw):
    with suppress(InvalidField):
        from_raw("x", BYTES, (2, 1), raw)


def test_the_answer_echoes_id_and_parameters_and_names_the_version():
    sent = request(features(), items(), id="call-7")
    sent.parameters["request_key"].string_param = "u1"
    answer = encode(sent, "3", [(SIGNATURE.outputs[0], np.zeros((2, 1), np.float32))])
    assert (answer.model_name, answer.model_version, answer.id) == ("ranker", "3", "call-7")
    assert answer.parameters["request_key"].string_param == "u1"
    assert (answer.outputs[0].name, list(answer.outputs[0].shape)) == ("score", [2, 1])


def test_outputs_come_in_the_order_asked_for_and_all_without_asking():
    assert requested_outputs(request(), SIGNATURE) == ("score", "label")
    sent = request()
    sent.outputs.add(name="label")
    assert requested_outputs(sent, SIGNATURE) == ("label",)


@pytest.mark.parametrize(
    ("names", "parameter", "message"),
    [
        (["price"], None, "outputs['price']: the model has no such output, it has score, label"),
        (["score", "score"], None, "expected each once"),
        (["score"], "classification", "the parameter classification is not served"),
    ],
)
def test_outputs_that_can_not_be_had(names, parameter, message):
    sent = request()
    for name in names:
        output = sent.outputs.add(name=name)
        if parameter:
            output.parameters[parameter].int64_param = 1
    with pytest.raises(InvalidField) as error:
        requested_outputs(sent, SIGNATURE)
    assert message in error.value.message
