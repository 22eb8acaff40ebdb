"""Export: from PyTorch to the ONNX file that the model server loads, checked on the way.

The graph that PyTorch exports takes embedding rows. `with_vocabularies` puts ONNX-ML LabelEncoder nodes in front, which
turn fingerprints into rows, so that the file carries its own vocabulary and a client needs none.
"""

import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper
from torch import nn

from recommender.training.served import MODEL_FILE
from recommender.training.vocabulary import Vocabularies

OPSET = 20
ML_OPSET = 3
TOLERANCE = 1e-5
"""The largest absolute difference between PyTorch and ONNX that is taken for rounding."""


class ExportError(RuntimeError):
    """An ONNX graph that does not compute what the PyTorch model does."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a version goes, and what its configuration says."""

    repository: Path
    model: str
    version: int
    max_batch_size: int
    parameters: Mapping[str, str] = field(default_factory=dict)

    @property
    def file(self) -> Path:
        """`<repository>/<model>/<version>/model.onnx`."""
        return self.repository / self.model / str(self.version) / MODEL_FILE


@dataclass(frozen=True, slots=True)
class Exported:
    """A version that was written, and the largest difference between PyTorch and ONNX on real inputs."""

    file: Path
    difference: float


def write_version(
    model: nn.Module,
    inputs: Mapping[str, np.ndarray],
    output: str,
    open_inputs: Sequence[str],
    vocabularies: Vocabularies,
    target: Target,
) -> Exported:
    """Exports `model`, checks it, and writes `model.onnx` and `config.pbtxt`.

    Args:
        model: takes `inputs` by name, with rows in the place of fingerprints; in evaluation mode, on the CPU.
        inputs: a real batch, with fingerprints.
        output: the output's name.
        open_inputs: those whose first dimension is open, in one length; the others keep their shape.
        vocabularies: what the model was trained with.
        target: where to.

    Raises:
        ExportError: if ONNX differs from PyTorch by more than 1e-5, before or after the vocabularies were put in.

    """
    rows = vocabularies.rows(inputs)
    bare = _exported(model, rows, output, open_inputs)
    whole = with_vocabularies(bare, vocabularies)
    differences = []
    # One row as well: a graph may have taken the batch's size for a constant.
    for count in (None, 1):
        fingerprints, encoded = _first(inputs, open_inputs, count), _first(rows, open_inputs, count)
        with torch.no_grad():
            expected = model(**{name: torch.from_numpy(values) for name, values in encoded.items()}).numpy()
        differences.append(difference(bare, encoded, expected, f"{target.file}, before the vocabularies"))
        differences.append(difference(whole, fingerprints, expected, str(target.file)))
    target.file.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(whole, target.file)
    (target.repository / target.model / "config.pbtxt").write_text(triton_config(whole, target))
    return Exported(target.file, max(differences))


def _exported(
    model: nn.Module, rows: Mapping[str, np.ndarray], output: str, open_inputs: Sequence[str]
) -> onnx.ModelProto:
    length = torch.export.Dim("rows", min=1)
    # PyTorch's exporter logs each optional library that it does not find.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        # "The axis name will not be used, since it shares the same shape constraints": that is what is meant here.
        warnings.filterwarnings("ignore", message="# The axis name", category=UserWarning)
        program = torch.onnx.export(
            model,
            (),
            kwargs={name: torch.from_numpy(values) for name, values in rows.items()},
            input_names=list(rows),
            output_names=[output],
            dynamic_shapes={name: {0: length} if name in open_inputs else {} for name in rows},
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    if program is None:
        raise ExportError("PyTorch returned no program")
    return program.model_proto


def _first(inputs: Mapping[str, np.ndarray], open_inputs: Sequence[str], count: int | None) -> dict[str, np.ndarray]:
    return {name: values[:count] if name in open_inputs else values for name, values in inputs.items()}


def with_vocabularies(model: onnx.ModelProto, vocabularies: Vocabularies) -> onnx.ModelProto:
    """A copy of `model` whose categorical inputs take fingerprints: LabelEncoder nodes turn them into rows."""
    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    for tensor in whole.graph.input:
        vocabulary = vocabularies.of_input(tensor.name)
        if vocabulary is None:
            continue
        rows = f"{tensor.name}_rows"
        for node in whole.graph.node:
            node.input[:] = [rows if name == tensor.name else name for name in node.input]
        # An encoder without keys is not valid; 0 maps to 0 anyway.
        keys = vocabulary.fingerprints if len(vocabulary) else np.zeros(1, np.int64)
        values = np.arange(1, len(keys) + 1) if len(vocabulary) else np.zeros(1, np.int64)
        encoder = helper.make_node(
            "LabelEncoder",
            [tensor.name],
            [rows],
            name=f"vocabulary_{tensor.name}",
            domain="ai.onnx.ml",
            keys_int64s=keys.tolist(),
            values_int64s=values.tolist(),
            default_int64=0,
        )
        whole.graph.node.insert(0, encoder)
    whole.opset_import.append(helper.make_opsetid("ai.onnx.ml", ML_OPSET))
    # PyTorch's notes on where each node came from hold paths of the machine that exported.
    for node in whole.graph.node:
        del node.metadata_props[:]
    onnx.checker.check_model(whole)
    return whole


def difference(model: onnx.ModelProto, inputs: Mapping[str, np.ndarray], expected: np.ndarray, what: str) -> float:
    """The largest absolute difference between what ONNX Runtime computes and `expected`."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    wanted = {tensor.name for tensor in session.get_inputs()}
    (computed,) = session.run(None, {name: values for name, values in inputs.items() if name in wanted})
    if computed.shape != expected.shape:
        raise ExportError(f"{what}: expected shape {expected.shape}, ONNX gives {computed.shape}")
    largest = float(np.abs(computed - expected).max())
    # Written this way round, NaN is an error too.
    if not largest <= TOLERANCE:
        raise ExportError(f"{what}: differs from PyTorch by {largest:.2e}, more than {TOLERANCE:.0e}")
    return largest


_TRITON_TYPES: Mapping[int, str] = {TensorProto.INT64: "TYPE_INT64", TensorProto.FLOAT: "TYPE_FP32"}


def triton_config(model: onnx.ModelProto, target: Target) -> str:
    """The model's `config.pbtxt` in Triton's text format.

    With `max_batch_size` above 0 the server owns the first dimension, so the dims leave it out.
    """
    lines = [f'name: "{target.model}"', 'platform: "onnxruntime_onnx"', f"max_batch_size: {target.max_batch_size}"]
    # Triton serves the newest version alone unless told; which of them answers is the release's to say.
    lines.append("version_policy: { all {} }")
    for kind, tensors in (("input", model.graph.input), ("output", model.graph.output)):
        entries = []
        for tensor in tensors:
            dims = [dim.dim_value or -1 for dim in tensor.type.tensor_type.shape.dim]
            own = dims[1:] if target.max_batch_size else dims
            data_type = _TRITON_TYPES[tensor.type.tensor_type.elem_type]
            entries.append(f'  {{ name: "{tensor.name}" data_type: {data_type} dims: {own} }}')
        lines += [f"{kind} [", ",\n".join(entries), "]"]
    for key, value in target.parameters.items():
        lines.append(f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}')
    return "\n".join(lines) + "\n"
