"""The ONNX graph of a sentence encoder: BERT, the mean over a text's tokens, length 1."""

import math
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from encoders.bert import Bert, Float32Array

OPSET = 17
IR_VERSION = 8
INPUTS = ("input_ids", "attention_mask")
OUTPUT = "embedding"
Precision = Literal["int8", "fp32"]
MASKED = -10_000.0
"""Added to the attention score of a padded place: its weight is then 0 in float32."""
SMALLEST = 1e-12


def sentence_encoder(bert: Bert, name: str, precision: Precision) -> onnx.ModelProto:
    """The model: `input_ids`, `attention_mask` int64 [batch, seq] to `embedding` float32 [batch, hidden].

    In int8, a linear map's weights have one scale an output, a word's vector has one of its own, and what goes into a
    linear map is quantised when it comes (one scale a call), so that the multiplication is one of 8-bit integers.
    """
    graph = _Int8Graph(bert) if precision == "int8" else _Graph(bert)
    return graph.model(name)


class _Graph:
    """A graph under construction. Methods take and return the names of tensors."""

    def __init__(self, bert: Bert) -> None:
        self._bert = bert
        self._head = bert.hidden // bert.heads
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}

    def model(self, name: str) -> onnx.ModelProto:
        mask = self._node("Cast", "attention_mask", to=TensorProto.FLOAT)
        bias = self._attention_bias(mask)
        tokens = self._embedded()
        for layer in range(self._bert.layers):
            tokens = self._layer(tokens, bias, layer)
        self._pool(tokens, mask)
        graph = helper.make_graph(
            self._nodes,
            name,
            [helper.make_tensor_value_info(each, TensorProto.INT64, ["batch", "seq"]) for each in INPUTS],
            [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", self._bert.hidden])],
            list(self._constants.values()),
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="casebook")
        model.ir_version = IR_VERSION
        onnx.checker.check_model(model)
        return model

    def _embedded(self) -> str:
        words = self._words()
        length = self._node("Slice", self._node("Shape", "input_ids"), self._integers(1), self._integers(2))
        places = self._node("Slice", self._weight("position"), self._integers(0), length, self._integers(0))
        return self._norm(self._node("Add", words, places), "embedding_norm")

    def _words(self) -> str:
        return self._node("Gather", self._weight("word"), "input_ids", axis=0)

    def _attention_bias(self, mask: str) -> str:
        """0 for a token, MASKED for padding: [batch, 1, 1, seq]."""
        padding = self._node("Sub", self._number(1), self._node("Unsqueeze", mask, self._integers(1, 2)))
        return self._node("Mul", padding, self._number(MASKED))

    def _layer(self, tokens: str, bias: str, layer: int) -> str:
        query, value = (self._heads(self._linear(tokens, f"{layer}.{which}")) for which in ("query", "value"))
        key = self._heads(self._linear(tokens, f"{layer}.key"), transposed=True)
        scores = self._node("Mul", self._node("MatMul", query, key), self._number(1 / math.sqrt(self._head)))
        weights = self._node("Softmax", self._node("Add", scores, bias), axis=-1)
        attended = self._node("Transpose", self._node("MatMul", weights, value), perm=[0, 2, 1, 3])
        merged = self._node("Reshape", attended, self._integers(0, 0, self._bert.hidden))
        attention = self._linear(merged, f"{layer}.attention_output")
        tokens = self._norm(self._node("Add", tokens, attention), f"{layer}.attention_norm")
        inner = self._gelu(self._linear(tokens, f"{layer}.intermediate"))
        return self._norm(self._node("Add", tokens, self._linear(inner, f"{layer}.output")), f"{layer}.output_norm")

    def _heads(self, tokens: str, transposed: bool = False) -> str:
        """[batch, heads, seq, head], or [batch, heads, head, seq]."""
        split = self._node("Reshape", tokens, self._integers(0, 0, self._bert.heads, self._head))
        return self._node("Transpose", split, perm=[0, 2, 3, 1] if transposed else [0, 2, 1, 3])

    def _linear(self, tokens: str, name: str) -> str:
        weight = self._constant(f"{name}.weight", self._bert.tensors[f"{name}.weight"].T)
        return self._node("Add", self._node("MatMul", tokens, weight), self._weight(f"{name}.bias"))

    def _gelu(self, tokens: str) -> str:
        erf = self._node("Erf", self._node("Div", tokens, self._number(math.sqrt(2))))
        return self._node("Mul", self._node("Mul", tokens, self._node("Add", erf, self._number(1))), self._number(0.5))

    def _norm(self, tokens: str, name: str) -> str:
        weight, bias = self._weight(f"{name}.weight"), self._weight(f"{name}.bias")
        return self._node("LayerNormalization", tokens, weight, bias, axis=-1, epsilon=self._bert.epsilon)

    def _pool(self, tokens: str, mask: str) -> None:
        weights = self._node("Unsqueeze", mask, self._integers(-1))
        total = self._node("ReduceSum", self._node("Mul", tokens, weights), self._integers(1), keepdims=0)
        count = self._node("Max", self._node("ReduceSum", weights, self._integers(1), keepdims=0), self._number(1))
        mean = self._node("Div", total, count)
        length = self._node("Max", self._node("ReduceL2", mean, axes=[1], keepdims=1), self._number(SMALLEST))
        self._nodes.append(helper.make_node("Div", [mean, length], [OUTPUT], name=OUTPUT))

    def _node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        output = f"{operator}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def _weight(self, name: str) -> str:
        return self._constant(name, self._bert.tensors[name])

    def _number(self, value: float) -> str:
        return self._constant(f"number {value:.9g}", np.float32(value))

    def _integers(self, *values: int) -> str:
        return self._constant(f"integers {values}", np.array(values, np.int64))

    def _constant(self, name: str, value: np.ndarray | np.float32) -> str:
        if name not in self._constants:
            self._constants[name] = numpy_helper.from_array(np.asarray(value, order="C"), name)
        return name


class _Int8Graph(_Graph):
    """The same with 8-bit weights. ONNX Runtime fuses each linear map's five nodes into one."""

    def __init__(self, bert: Bert) -> None:
        super().__init__(bert)
        self._quantised: dict[str, list[str]] = {}

    def _words(self) -> str:
        rows, scales = quantised(self._bert.tensors["word"], axis=1)
        row = self._node("Gather", self._constant("word", rows), "input_ids", axis=0)
        scale = self._node("Gather", self._constant("word scale", scales), "input_ids", axis=0)
        return self._node("Mul", self._node("Cast", row, to=TensorProto.FLOAT), scale)

    def _linear(self, tokens: str, name: str) -> str:
        if tokens not in self._quantised:
            output = f"DynamicQuantizeLinear_{len(self._nodes)}"
            parts = [output, f"{output}_scale", f"{output}_zero"]
            self._nodes.append(helper.make_node("DynamicQuantizeLinear", [tokens], parts, name=output))
            self._quantised[tokens] = parts
        numbers, scale, zero = self._quantised[tokens]
        weight, scales = quantised(self._bert.tensors[f"{name}.weight"].T, axis=0)
        weights = self._constant(f"{name}.weight", weight)
        weight_scale = self._constant(f"{name}.scale", scales[0])
        weight_zero = self._constant("int8 zero", np.zeros((), np.int8))
        product = self._node("MatMulInteger", numbers, weights, zero, weight_zero)
        combined = self._node("Mul", scale, weight_scale)
        result = self._node("Mul", self._node("Cast", product, to=TensorProto.FLOAT), combined)
        return self._node("Add", result, self._weight(f"{name}.bias"))


def quantised(weights: Float32Array, axis: int) -> tuple[NDArray[np.int8], Float32Array]:
    """Symmetric 8-bit weights and their scales: weights = numbers * scales, one scale for what lies along `axis`."""
    scales = np.maximum(np.abs(weights).max(axis=axis, keepdims=True), SMALLEST) / np.float32(127)
    return np.rint(weights / scales).astype(np.int8), scales.astype(np.float32)
