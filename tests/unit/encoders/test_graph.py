"""The graph computes a sentence's vector, and its 8-bit form nearly the same one."""

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from encoders import graph
from encoders.graph import Precision
from tests.fixtures.encoders import tiny_bert


def session(precision: Precision) -> Any:
    model = graph.sentence_encoder(tiny_bert(), "tiny", precision)
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def encode(model: Any, rows: list[list[int]], length: int) -> np.ndarray:
    ids = np.array([row + [0] * (length - len(row)) for row in rows], np.int64)
    mask = np.array([[1] * len(row) + [0] * (length - len(row)) for row in rows], np.int64)
    return model.run(["embedding"], {"input_ids": ids, "attention_mask": mask})[0]


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_vectors_have_length_one(precision: Precision) -> None:
    vectors = encode(session(precision), [[2, 3, 4], [5], [6, 7, 8, 9]], 4)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)


def test_padding_and_neighbours_in_a_batch_change_nothing() -> None:
    alone = encode(session("fp32"), [[2, 3, 4]], 3)
    among = encode(session("fp32"), [[5, 6, 7, 8, 9, 10], [2, 3, 4]], 9)
    np.testing.assert_allclose(among[1:], alone, atol=1e-5)


def test_a_row_of_nothing_but_padding_is_finite() -> None:
    assert np.isfinite(encode(session("int8"), [[], [2]], 2)).all()


def test_eight_bits_give_nearly_the_same_vectors() -> None:
    rows = [list(np.random.default_rng(seed).integers(2, 12, 8)) for seed in range(40)]
    cosines = (encode(session("int8"), rows, 8) * encode(session("fp32"), rows, 8)).sum(axis=1)
    # 16 dimensions of random weights: of the real encoders, with 384, README.md says .993 and .996.
    assert cosines.mean() > 0.98


def test_every_linear_map_is_multiplied_in_eight_bits() -> None:
    model = graph.sentence_encoder(tiny_bert(layers=2), "tiny", "int8")
    operators = [node.op_type for node in model.graph.node]
    assert operators.count("MatMulInteger") == 12
    assert operators.count("MatMul") == 4  # attention's own: no weights in them
    matrices = [each for each in model.graph.initializer if len(each.dims) == 2]
    assert {each.name for each in matrices if each.data_type == onnx.TensorProto.FLOAT} == {"position", "word scale"}


def test_quantised_weights_are_within_half_a_step() -> None:
    weights = np.random.default_rng(0).normal(size=(8, 5)).astype(np.float32) * [1, 10, 100, 0.01, 0]
    numbers, scales = graph.quantised(weights.astype(np.float32), axis=0)
    assert scales.shape == (1, 5)
    assert (np.abs(numbers * scales - weights) <= scales / 2 + 1e-9).all()
