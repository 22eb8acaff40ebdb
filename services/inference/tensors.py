"""Tensors between the Open Inference Protocol and numpy: what a model takes, read and written strictly.

Raw contents are little-endian and row-major; BYTES elements carry a uint32 length in front of each. Three datatypes
need a word: BYTES are object arrays of `bytes`; BF16, which numpy does not have, are uint16 arrays of its bits; FP16
and BF16 have no typed contents in the protocol and travel raw only.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from casebook.oip import open_inference_pb2 as oip
from chassis.errors import InvalidField

Array = np.ndarray[Any, np.dtype[Any]]

BATCH_AXIS = "the batch"
"""The symbol of the first dimension of every tensor of a model that batches."""
_LENGTH = struct.Struct("<I")
_BYTES_PER_LENGTH = _LENGTH.size


@dataclass(frozen=True, slots=True)
class Datatype:
    """One datatype under the names that the protocol, numpy, ONNX Runtime and `config.pbtxt` have for it."""

    name: str
    numpy: np.dtype[Any]
    onnx: str
    config: int
    contents: str
    """The field of InferTensorContents that holds it typed; empty where there is none."""


_TABLE = (
    ("BOOL", "?", "tensor(bool)", oip.TYPE_BOOL, "bool_contents"),
    ("UINT8", "<u1", "tensor(uint8)", oip.TYPE_UINT8, "uint_contents"),
    ("UINT16", "<u2", "tensor(uint16)", oip.TYPE_UINT16, "uint_contents"),
    ("UINT32", "<u4", "tensor(uint32)", oip.TYPE_UINT32, "uint_contents"),
    ("UINT64", "<u8", "tensor(uint64)", oip.TYPE_UINT64, "uint64_contents"),
    ("INT8", "<i1", "tensor(int8)", oip.TYPE_INT8, "int_contents"),
    ("INT16", "<i2", "tensor(int16)", oip.TYPE_INT16, "int_contents"),
    ("INT32", "<i4", "tensor(int32)", oip.TYPE_INT32, "int_contents"),
    ("INT64", "<i8", "tensor(int64)", oip.TYPE_INT64, "int64_contents"),
    ("FP16", "<f2", "tensor(float16)", oip.TYPE_FP16, ""),
    ("BF16", "<u2", "tensor(bfloat16)", oip.TYPE_BF16, ""),
    ("FP32", "<f4", "tensor(float)", oip.TYPE_FP32, "fp32_contents"),
    ("FP64", "<f8", "tensor(double)", oip.TYPE_FP64, "fp64_contents"),
    ("BYTES", "O", "tensor(string)", oip.TYPE_STRING, "bytes_contents"),
)
DATATYPES: Mapping[str, Datatype] = {
    name: Datatype(name, np.dtype(dtype), onnx, config, contents) for name, dtype, onnx, config, contents in _TABLE
}
BY_ONNX_TYPE: Mapping[str, Datatype] = {datatype.onnx: datatype for datatype in DATATYPES.values()}
BY_CONFIG_TYPE: Mapping[int, Datatype] = {datatype.config: datatype for datatype in DATATYPES.values()}
BYTES, BF16 = DATATYPES["BYTES"], DATATYPES["BF16"]


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """What a model says of one input or output.

    `shape` holds -1 where the size varies, the batch dimension included. `symbols` names those sizes ("" where
    nameless): two dimensions under one name must have one size.
    """

    name: str
    datatype: Datatype
    shape: tuple[int, ...]
    symbols: tuple[str, ...] = ()
    optional: bool = False

    def concrete(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """The shape with every varying size filled in from `sizes` by its symbol, 1 where that has none."""
        symbols = self.symbols or ("",) * len(self.shape)
        return tuple(
            size if size >= 0 else sizes.get(symbol, 1) for size, symbol in zip(self.shape, symbols, strict=True)
        )


@dataclass(frozen=True)
class Signature:
    """All that a model takes and gives. `max_batch_size` 0: its first dimensions are its own, nothing may be joined."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    max_batch_size: int = 0
    output_names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "output_names", tuple(spec.name for spec in self.outputs))

    @cached_property
    def input_specs(self) -> dict[str, TensorSpec]:
        """Inputs by name."""
        return {spec.name: spec for spec in self.inputs}

    @cached_property
    def output_specs(self) -> dict[str, TensorSpec]:
        """Outputs by name."""
        return {spec.name: spec for spec in self.outputs}

    @cached_property
    def required(self) -> frozenset[str]:
        """Names of the inputs that a call must bring."""
        return frozenset(spec.name for spec in self.inputs if not spec.optional)

    @cached_property
    def shared_axes(self) -> dict[str, tuple[tuple[int, str], ...]]:
        """For each input the (axis, symbol) pairs whose symbol stands at another axis too, so that sizes must agree."""
        symbols = [symbol for spec in self.inputs for symbol in spec.symbols if symbol]
        return {
            spec.name: tuple(
                (axis, symbol) for axis, symbol in enumerate(spec.symbols) if symbol and symbols.count(symbol) > 1
            )
            for spec in self.inputs
        }


def decode(request: oip.ModelInferRequest, signature: Signature) -> dict[str, Array]:
    """The inputs of a call as arrays, each checked against what the model takes.

    Fixed-size arrays are views into the request's bytes, not copies, and so cannot be written to.
    Raises InvalidField naming the tensor, what is expected and what was received.
    """
    specs = signature.input_specs
    raw = request.raw_input_contents
    tensors = request.inputs
    if raw and len(raw) != len(tensors):
        raise InvalidField("raw_input_contents", f"expected {len(tensors)} entries, one an input", len(raw))
    inputs: dict[str, Array] = {}
    sizes: dict[str, int] = {}
    for index, tensor in enumerate(tensors):
        name = tensor.name
        spec = specs.get(name)
        if spec is None:
            raise InvalidField(f"inputs[{name!r}]", f"the model takes no such input, it takes {', '.join(specs)}")
        if name in inputs:
            raise InvalidField(f"inputs[{name!r}]", "expected once, received twice")
        shape = _checked_shape(tensor, spec, signature, sizes)
        if raw:
            if tensor.HasField("contents"):
                raise InvalidField(f"inputs[{name!r}].contents", "must be absent beside raw_input_contents")
            inputs[name] = from_raw(f"inputs[{name!r}]", spec.datatype, shape, raw[index])
        else:
            inputs[name] = _from_contents(tensor, spec.datatype, shape)
    if not signature.required <= inputs.keys():
        missing = next(name for name in specs if name in signature.required and name not in inputs)
        spec = specs[missing]
        raise InvalidField(f"inputs[{missing!r}]", f"missing, expected {spec.datatype.name} {list(spec.shape)}")
    return inputs


def _checked_shape(
    tensor: oip.ModelInferRequest.InferInputTensor, spec: TensorSpec, signature: Signature, sizes: dict[str, int]
) -> tuple[int, ...]:
    """The tensor's shape, once its datatype and every dimension fit; `sizes` collects what the symbols stand for."""
    if tensor.datatype != spec.datatype.name:
        raise InvalidField(f"inputs[{spec.name!r}].datatype", f"expected {spec.datatype.name}", tensor.datatype)
    if tensor.parameters and "shared_memory_region" in tensor.parameters:
        raise InvalidField(f"inputs[{spec.name!r}]", "shared memory is not served, send the contents")
    shape = tuple(tensor.shape)
    if len(shape) != len(spec.shape) or any(
        size != expected and (expected >= 0 or size < 0) for size, expected in zip(shape, spec.shape, strict=True)
    ):
        raise InvalidField(f"inputs[{spec.name!r}].shape", f"expected {list(spec.shape)}", list(shape))
    for axis, symbol in signature.shared_axes[spec.name]:
        size = sizes.setdefault(symbol, shape[axis])
        if size != shape[axis]:
            why = f"expected {size} in dimension {axis}, the size of {symbol} in an input before it"
            raise InvalidField(f"inputs[{spec.name!r}].shape", why, list(shape))
    if signature.max_batch_size and not 1 <= shape[0] <= signature.max_batch_size:
        why = f"expected a batch of 1 to {signature.max_batch_size} rows in dimension 0"
        raise InvalidField(f"inputs[{spec.name!r}].shape", why, list(shape))
    return shape


def from_raw(where: str, datatype: Datatype, shape: tuple[int, ...], raw: bytes) -> Array:
    """An array out of raw contents. Raises InvalidField, which begins with `where`, when their size does not fit."""
    if datatype is BYTES:
        return _object_array(_split(where, raw, prod(shape)), shape)
    expected = prod(shape) * datatype.numpy.itemsize
    if len(raw) != expected:
        why = f"expected {expected} bytes for {datatype.name} {list(shape)}"
        raise InvalidField(where, why, f"{len(raw)} bytes")
    return np.frombuffer(raw, datatype.numpy).reshape(shape)


def _split(where: str, raw: bytes, count: int) -> list[bytes]:
    elements: list[bytes] = []
    offset, end = 0, len(raw)
    while offset < end:
        if offset + _BYTES_PER_LENGTH > end:
            raise InvalidField(where, "expected a uint32 length in front of each element", f"{end - offset} last bytes")
        (length,) = _LENGTH.unpack_from(raw, offset)
        offset += _BYTES_PER_LENGTH
        if offset + length > end:
            why = f"element {len(elements)} says that it has {length} bytes"
            raise InvalidField(where, why, f"{end - offset} more bytes")
        elements.append(raw[offset : offset + length])
        offset += length
    if len(elements) != count:
        raise InvalidField(where, f"expected {count} BYTES elements", len(elements))
    return elements


def _from_contents(tensor: oip.ModelInferRequest.InferInputTensor, datatype: Datatype, shape: tuple[int, ...]) -> Array:
    where = f"inputs[{tensor.name!r}].contents"
    if not datatype.contents:
        raise InvalidField(where, f"{datatype.name} has no typed contents, send it in raw_input_contents")
    filled = [(listed.name, values) for listed, values in tensor.contents.ListFields()]
    wrong = next((name for name, _ in filled if name != datatype.contents), None)
    if wrong:
        raise InvalidField(where, f"expected {datatype.contents} for {datatype.name}", wrong)
    values = filled[0][1] if filled else ()
    if len(values) != prod(shape):
        why = f"expected {prod(shape)} elements for {datatype.name} {list(shape)}"
        raise InvalidField(where, why, len(values))
    if datatype is BYTES:
        return _object_array(values, shape)
    try:
        return np.array(values, datatype.numpy).reshape(shape)
    except OverflowError as error:  # INT8 and INT16 travel in int32, UINT8 and UINT16 in uint32
        raise InvalidField(where, f"expected values of {datatype.name}", str(error)) from error


def _object_array(elements: Iterable[bytes], shape: tuple[int, ...]) -> Array:
    array = np.empty(prod(shape), object)
    array[:] = list(elements)
    return array.reshape(shape)


def requested_outputs(request: oip.ModelInferRequest, signature: Signature) -> tuple[str, ...]:
    """Names of the outputs that a call asks for, in its order; all of them when it names none."""
    if not request.outputs:
        return signature.output_names
    names = tuple(output.name for output in request.outputs)
    for output in request.outputs:
        if output.name not in signature.output_specs:
            given = ", ".join(signature.output_names)
            raise InvalidField(f"outputs[{output.name!r}]", f"the model has no such output, it has {given}")
        if output.parameters:
            for parameter in ("classification", "shared_memory_region"):
                if parameter in output.parameters:
                    raise InvalidField(f"outputs[{output.name!r}]", f"the parameter {parameter} is not served")
    if len(set(names)) != len(names):
        raise InvalidField("outputs", "expected each once", list(names))
    return names


def encode(
    request: oip.ModelInferRequest, version: str, outputs: Sequence[tuple[TensorSpec, Array]]
) -> oip.ModelInferResponse:
    """The answer to a call: its id and parameters echoed, and contents the way the call itself sent them.

    A call that sent typed contents gets typed contents, unless an output is FP16 or BF16 and only raw can carry it.
    """
    response = oip.ModelInferResponse(model_name=request.model_name, model_version=version, id=request.id)
    for key in request.parameters:
        response.parameters[key].CopyFrom(request.parameters[key])
    raw = bool(request.raw_input_contents) or any(not spec.datatype.contents for spec, _ in outputs)
    for spec, array in outputs:
        tensor = response.outputs.add(name=spec.name, datatype=spec.datatype.name, shape=array.shape)
        if raw:
            response.raw_output_contents.append(to_raw(spec.datatype, array))
        else:
            getattr(tensor.contents, spec.datatype.contents).extend(array.ravel().tolist())
    return response


def to_raw(datatype: Datatype, array: Array) -> bytes:
    """The array's raw contents."""
    if datatype is not BYTES:
        return array.tobytes()
    parts: list[bytes] = []
    for element in array.ravel():
        parts += (_LENGTH.pack(len(element)), element)
    return b"".join(parts)
