"""Export: from PyTorch to the ONNX file that the model server loads, checked on the way.

The graph that PyTorch exports takes embedding rows. `with_vocabularies` puts ONNX-ML LabelEncoder nodes in front, which turn
fingerprints into rows, so that the file carries its own vocabulary and its inputs are those of design and clients.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper
from torch import nn

from recommender.training.vocabulary import Vocabularies

OPSET = 20
ML_OPSET = 3
TOLERANCE = 1e-5
"""The largest absolute difference between PyTorch and ONNX that is taken for rounding."""


class ExportError(RuntimeError):
    """An ONNX graph that does not compute what the PyTorch model does."""


def export(
    model: nn.Module,
    inputs: Mapping[str, np.ndarray],
    output: str,
    dynamic: Mapping[str, str],
    vocabularies: Vocabularies,
    path: Path,
) -> float:
    """Writes `model` to `path` and returns the largest difference between PyTorch and ONNX on `inputs`.

    Args:
        model: takes `inputs` by name, with rows in the place of fingerprints; in evaluation mode, on the CPU.
        inputs: a real batch, with fingerprints.
        output: the output's name.
        dynamic: for each input whose first dimension is open, that dimension's name; the others keep theirs.
        vocabularies: what the model was trained with.
        path: `<model>/<version>/model.onnx`.

    Raises:
        ExportError: if the difference exceeds 1e-5, before or after the vocabularies were put in.

    """
    rows = vocabularies.rows(inputs)
    tensors = {name: torch.from_numpy(values) for name, values in rows.items()}
    with torch.no_grad():
        expected = model(**tensors).numpy()
    shapes = {name: {0: torch.export.Dim(dynamic[name], min=1)} if name in dynamic else {} for name in tensors}
    program = torch.onnx.export(
        model,
        (),
        kwargs=tensors,
        input_names=list(tensors),
        output_names=[output],
        dynamic_shapes=shapes,
        opset_version=OPSET,
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    if program is None:
        raise ExportError(f"{path}: PyTorch returned no program")
    bare = program.model_proto
    check(bare, rows, expected, f"{path}, before the vocabularies")
    whole = with_vocabularies(bare, vocabularies)
    difference = check(whole, inputs, expected, str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(whole, path)
    return difference


def with_vocabularies(model: onnx.ModelProto, vocabularies: Vocabularies) -> onnx.ModelProto:
    """A copy of `model` whose categorical inputs take fingerprints; LabelEncoder nodes turn them into rows, 0 if unknown."""
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


def check(model: onnx.ModelProto, inputs: Mapping[str, np.ndarray], expected: np.ndarray, what: str) -> float:
    """The largest absolute difference between what ONNX Runtime computes and `expected`."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    wanted = {tensor.name for tensor in session.get_inputs()}
    (computed,) = session.run(None, {name: values for name, values in inputs.items() if name in wanted})
    if computed.shape != expected.shape:
        raise ExportError(f"{what}: expected shape {expected.shape}, ONNX gives {computed.shape}")
    difference = float(np.abs(computed - expected).max())
    if not difference <= TOLERANCE:
        raise ExportError(f"{what}: differs from PyTorch by {difference:.2e}, more than {TOLERANCE:.0e}")
    return difference


_TRITON_TYPES = {TensorProto.INT64: "TYPE_INT64", TensorProto.FLOAT: "TYPE_FP32"}


def triton_config(name: str, path: Path, max_batch_size: int, parameters: Mapping[str, str]) -> str:
    """The `config.pbtxt` of the model in `path`, in Triton's text format.

    With `max_batch_size` above 0 the server owns the first dimension, so it is left out of the dims.
    """
    graph = onnx.load(path).graph
    lines = [f'name: "{name}"', 'platform: "onnxruntime_onnx"', f"max_batch_size: {max_batch_size}"]
    for kind, tensors in (("input", graph.input), ("output", graph.output)):
        entries = []
        for tensor in tensors:
            shape = tensor.type.tensor_type.shape.dim
            dims = [dim.dim_value or -1 for dim in shape][1 if max_batch_size else 0 :]
            data_type = _TRITON_TYPES[tensor.type.tensor_type.elem_type]
            entries.append(f'  {{ name: "{tensor.name}" data_type: {data_type} dims: {dims} }}')
        lines += [f"{kind} [", ",\n".join(entries), "]"]
    for key, value in parameters.items():
        lines.append(f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}')
    return "\n".join(lines) + "\n"
