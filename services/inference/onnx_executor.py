"""ONNX Runtime in the process.

Models that take less than `inline_below_ms` run on the event loop: handing a call to a thread and back costs 0.1 ms and
more, as much as such a model itself. Slower ones run in threads, one for each instance in `instance_group`.
"""

import asyncio
import ctypes
import logging
import re
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnxruntime as ort

from casebook.oip import open_inference_pb2 as oip
from chassis.errors import InvalidField
from inference.executor import LoadedModel, ModelError
from inference.repository import ModelFiles
from inference.tensors import (
    BATCH_AXIS,
    BF16,
    BY_CONFIG_TYPE,
    BY_ONNX_TYPE,
    BYTES,
    Array,
    Signature,
    TensorSpec,
)

PLATFORM = "onnxruntime_onnx"
Provider = Literal["cpu", "cuda", "tensorrt"]

WARM_UP = "warm_up"
"""The parameter of `config.pbtxt` that gives varying dimensions their usual sizes: "N=300,sequence=32"."""
WARM_UP_RUNS = 5
SLOW_RUNS = 16
"""So many more slow runs than quick ones, and a model leaves the event loop."""
ONNX_BFLOAT16 = 16
"""TensorProto.DataType.BFLOAT16."""

_PROVIDERS: Mapping[Provider, str] = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
_GRAPH_LEVELS = {
    -1: ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    1: ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    0: ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
    2: ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
}
_WARM_UP_PATTERN = re.compile(r"\s*([^=,\s]+)\s*=\s*([0-9]+)\s*")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class OnnxOptions:
    """How models are run where their own configuration does not say."""

    provider: Provider = "cpu"
    threads: int = 1
    """Threads inside one run (`intra_op_thread_count`)."""
    instances: int = 1
    """Runs side by side (`instance_group`)."""
    gpu_memory_limit_bytes: int = 0
    """What a model may take of the GPU's memory; 0: no limit."""
    inline_below_seconds: float = 0.001


class OnnxExecutor:
    """Loads ONNX files into sessions of their own."""

    def __init__(self, options: OnnxOptions) -> None:
        self._options = options
        if options.provider != "cpu":
            # CUDA and cuDNN come as wheels (the extra `inference-gpu`), where the dynamic linker does not look.
            ort.preload_dlls()

    async def load(self, files: ModelFiles) -> LoadedModel:
        """Creates the session, checks it against the configuration, and warms it; all in a thread."""
        return await asyncio.to_thread(self._load, files)

    async def close(self) -> None:
        """Nothing is shared."""

    def _load(self, files: ModelFiles) -> LoadedModel:
        started = time.perf_counter()
        try:
            session = ort.InferenceSession(
                str(files.model_path),
                _session_options(files.config, self._options),
                providers=_providers(self._options),
            )
        except Exception as error:
            # ONNX Runtime's exceptions have no base class of their own.
            raise ModelError(files.model, files.version, f"{files.model_path.name} can't be loaded: {error}") from error
        wanted = _PROVIDERS[self._options.provider]
        if wanted not in session.get_providers():
            raise ModelError(files.model, files.version, f"{wanted} did not start, only {session.get_providers()} did")
        try:
            signature = read_signature(session, files.config)
            model = OnnxModel(files, session, signature, self._options)
            model.warm_up()
        except (ValueError, InvalidField) as error:
            raise ModelError(files.model, files.version, str(error)) from error
        _log.info(
            "model loaded",
            extra={
                "model": files.model,
                "version": files.version,
                "seconds": round(time.perf_counter() - started, 3),
                "run_ms": round(model.typical_seconds * 1e3, 3),
                "on_event_loop": model.runs_on_event_loop,
            },
        )
        return model


class OnnxModel:
    """One session. Runs side by side share it: ONNX Runtime's sessions are made for that."""

    platform = PLATFORM

    def __init__(self, files: ModelFiles, session: Any, signature: Signature, options: OnnxOptions) -> None:
        self.signature = signature
        self.batches = files.config.HasField("dynamic_batching") and signature.max_batch_size > 0
        self.slots = sum(group.count for group in files.config.instance_group) or options.instances
        self.typical_seconds = 0.0
        self._slow_runs = 0
        self._files = files
        self._session = session
        self._run_options = ort.RunOptions()
        self._inline_below_seconds = options.inline_below_seconds
        self._threads: ThreadPoolExecutor | None = None
        specs = (*signature.inputs, *signature.outputs)
        self._strings = {spec.name for spec in specs if spec.datatype is BYTES}
        self._bfloats = {spec.name for spec in specs if spec.datatype is BF16}
        if self._strings and self._bfloats:
            raise ValueError("strings beside bfloat16 can't be passed to ONNX Runtime from Python")

    @property
    def runs_on_event_loop(self) -> bool:
        """Whether it is fast enough for that."""
        return self._threads is None

    async def run(self, inputs: Mapping[str, Array], outputs: Sequence[str], deadline: float) -> list[Array]:
        """Computes the outputs, on the event loop or in a thread. A run that has begun is not stopped at `deadline`."""
        if self._threads is not None:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._compute, inputs, outputs)
        started = time.perf_counter()
        results = self._compute(inputs, outputs)
        # A model that proves slower than its warm-up, as longer inputs make it, leaves the event loop for good. A busy
        # machine stretches some runs of any model: what counts is that most runs are slow.
        slow = time.perf_counter() - started > self._inline_below_seconds
        self._slow_runs = self._slow_runs + 1 if slow else max(0, self._slow_runs - 1)
        if self._slow_runs == SLOW_RUNS:
            self._use_threads()
        return results

    async def close(self) -> None:
        """Ends the threads and lets go of the session."""
        if self._threads is not None:
            self._threads.shutdown(wait=False)
        self._session = None

    def warm_up(self) -> None:
        """Runs on zeros of the usual size, then decides by the time that took where the model will run."""
        sizes = _warm_up_sizes(self._files.config)
        for rows in sorted({1, self.signature.max_batch_size or 1}):
            inputs = {
                spec.name: _zeros(spec, {**sizes, BATCH_AXIS: rows})
                for spec in self.signature.inputs
                if not spec.optional
            }
            self._compute(inputs, self.signature.output_names)
            # The quickest: what else the machine does only ever adds to a run.
            self.typical_seconds = min(self._timed(inputs) for _ in range(WARM_UP_RUNS))
        if self.typical_seconds > self._inline_below_seconds:
            self._use_threads()
        else:
            self.slots = 1

    def _timed(self, inputs: Mapping[str, Array]) -> float:
        started = time.perf_counter()
        self._compute(inputs, self.signature.output_names)
        return time.perf_counter() - started

    def _use_threads(self) -> None:
        self._threads = ThreadPoolExecutor(self.slots, thread_name_prefix=f"{self._files.model}-{self._files.version}")

    def _compute(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        try:
            if self._strings:
                return self._compute_strings(inputs, outputs)
            if self._bfloats:
                return self._compute_bfloats(inputs, outputs)
            results: list[Array] = self._session.run(outputs, inputs, self._run_options)
        except InvalidField:
            raise
        except Exception as error:
            if type(error).__name__ == "InvalidArgument":
                raise InvalidField("inputs", str(error)) from error
            raise ModelError(self._files.model, self._files.version, str(error)) from error
        return results

    def _compute_strings(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        """The same with strings, which ONNX Runtime takes and gives as `str`."""
        decoded = {name: _decoded(name, array) if name in self._strings else array for name, array in inputs.items()}
        results = self._session.run(outputs, decoded, self._run_options)
        return [
            _encoded(array) if name in self._strings else array for name, array in zip(outputs, results, strict=True)
        ]

    def _compute_bfloats(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        """The same with bfloat16, which numpy can't hold: its bits go in, and are copied out, as they are."""
        values = {}
        for name, array in inputs.items():
            contiguous = np.ascontiguousarray(array)
            if name in self._bfloats:
                values[name] = ort.OrtValue.ortvalue_from_numpy_with_onnx_type(contiguous, ONNX_BFLOAT16)
            else:
                values[name] = ort.OrtValue.ortvalue_from_numpy(contiguous)
        results = self._session.run_with_ort_values(outputs, values, self._run_options)
        return [
            _bits(value) if name in self._bfloats else value.numpy()
            for name, value in zip(outputs, results, strict=True)
        ]


def read_signature(session: Any, config: oip.ModelConfig) -> Signature:
    """What the model takes and gives: from the model itself, narrowed by `config.pbtxt`, with which it must agree.

    Raises ValueError naming the tensor.
    """
    batched = config.max_batch_size > 0
    declared_inputs = {declared.name: declared for declared in config.input}
    declared_outputs = {declared.name: declared for declared in config.output}
    given_inputs = [*session.get_inputs(), *session.get_overridable_initializers()]
    for kind, declared, given in (
        ("input", declared_inputs, given_inputs),
        ("output", declared_outputs, session.get_outputs()),
    ):
        unknown = set(declared) - {value.name for value in given}
        if unknown:
            raise ValueError(f"config.pbtxt: {kind} {min(unknown)!r} is not in the model")
    optional = {value.name for value in session.get_overridable_initializers()}
    return Signature(
        tuple(
            _spec(value, declared_inputs.get(value.name), batched, value.name in optional)
            for value in given_inputs
            if value.name not in optional or value.name in declared_inputs
        ),
        tuple(
            _spec(value, declared_outputs.get(value.name), batched, optional=False)
            for value in session.get_outputs()
            if not declared_outputs or value.name in declared_outputs
        ),
        config.max_batch_size,
    )


def _spec(value: Any, declared: oip.ModelInput | oip.ModelOutput | None, batched: bool, optional: bool) -> TensorSpec:
    datatype = BY_ONNX_TYPE.get(value.type)
    if datatype is None:
        raise ValueError(f"tensor {value.name!r} is {value.type}, which the protocol has no datatype for")
    shape = [size if isinstance(size, int) else -1 for size in value.shape]
    symbols = [size if isinstance(size, str) else "" for size in value.shape]
    if batched:
        if not shape or shape[0] != -1:
            raise ValueError(
                f"tensor {value.name!r} {value.shape} lacks a batch dimension, yet max_batch_size is above 0"
            )
        symbols[0] = BATCH_AXIS
    if declared is not None:
        declared_type = BY_CONFIG_TYPE.get(declared.data_type)
        if declared_type is not datatype:
            name = declared_type.name if declared_type else "no datatype"
            raise ValueError(f"config.pbtxt: {value.name!r} is {name}, in the model it is {datatype.name}")
        dims = [-1, *declared.dims] if batched else list(declared.dims)
        if len(dims) != len(shape) or any(d != s and -1 not in (d, s) for d, s in zip(dims, shape, strict=True)):
            raise ValueError(f"config.pbtxt: {value.name!r} has dims {list(declared.dims)}, in the model {value.shape}")
        shape = [max(dim, size) for dim, size in zip(dims, shape, strict=True)]
    return TensorSpec(value.name, datatype, tuple(shape), tuple(symbols), optional)


def _session_options(config: oip.ModelConfig, options: OnnxOptions) -> ort.SessionOptions:
    """Under the names that Triton's ONNX Runtime backend has for them in `parameters`."""
    session = ort.SessionOptions()
    session.intra_op_num_threads = _number(config, "intra_op_thread_count", options.threads)
    session.inter_op_num_threads = _number(config, "inter_op_thread_count", 1)
    # Threads that wait for work by spinning take the processor from the event loop and from other models.
    session.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session.add_session_config_entry("session.inter_op.allow_spinning", "0")
    if _number(config, "execution_mode", 0):
        session.execution_mode = ort.ExecutionMode.ORT_PARALLEL
    session.graph_optimization_level = _GRAPH_LEVELS.get(
        config.optimization.graph.level, ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    )
    session.log_severity_level = 3
    return session


def _number(config: oip.ModelConfig, parameter: str, default: int) -> int:
    text = config.parameters[parameter].string_value if parameter in config.parameters else ""
    return int(text) if text.isdigit() else default


def _providers(options: OnnxOptions) -> list[str | tuple[str, dict[str, str]]]:
    """The chosen provider with those that ONNX Runtime falls back to for operators that it lacks."""
    cuda: dict[str, str] = {"arena_extend_strategy": "kSameAsRequested"}
    tensorrt: dict[str, str] = {"trt_engine_cache_enable": "0"}
    if options.gpu_memory_limit_bytes:
        cuda["gpu_mem_limit"] = str(options.gpu_memory_limit_bytes)
        tensorrt["trt_max_workspace_size"] = str(options.gpu_memory_limit_bytes)
    chains: dict[Provider, list[str | tuple[str, dict[str, str]]]] = {
        "cpu": ["CPUExecutionProvider"],
        "cuda": [("CUDAExecutionProvider", cuda), "CPUExecutionProvider"],
        "tensorrt": [
            ("TensorrtExecutionProvider", tensorrt),
            ("CUDAExecutionProvider", cuda),
            "CPUExecutionProvider",
        ],
    }
    return chains[options.provider]


def available(provider: Provider) -> bool:
    """Whether this build of ONNX Runtime has the provider."""
    return _PROVIDERS[provider] in ort.get_available_providers()


def _warm_up_sizes(config: oip.ModelConfig) -> dict[str, int]:
    text = config.parameters[WARM_UP].string_value if WARM_UP in config.parameters else ""
    sizes: dict[str, int] = {}
    for entry in filter(str.strip, text.split(",")):
        match = _WARM_UP_PATTERN.fullmatch(entry)
        if match is None:
            raise ValueError(f'config.pbtxt: parameter {WARM_UP}: expected "dimension=size[,...]", received {text!r}')
        sizes[match[1]] = int(match[2])
    return sizes


def _zeros(spec: TensorSpec, sizes: Mapping[str, int]) -> Array:
    shape = spec.concrete(sizes)
    return np.full(shape, b"", object) if spec.datatype is BYTES else np.zeros(shape, spec.datatype.numpy)


def _decoded(name: str, array: Array) -> Array:
    try:
        strings = [element.decode() for element in array.ravel()]
    except UnicodeDecodeError as error:
        raise InvalidField(f"inputs[{name!r}]", "expected UTF-8, as ONNX strings are", error.object) from error
    return np.array(strings, object).reshape(array.shape)


def _encoded(array: Array) -> Array:
    return np.array([element.encode() for element in array.ravel()] or [], object).reshape(array.shape)


def _bits(value: ort.OrtValue) -> Array:
    content = ctypes.string_at(value.data_ptr(), value.tensor_size_in_bytes())
    return np.frombuffer(content, BF16.numpy).reshape(value.shape())
