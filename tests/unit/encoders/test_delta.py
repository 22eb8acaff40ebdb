"""A low-rank delta is what it says: the sum of the weights and of its factors' product."""

from pathlib import Path

import numpy as np
import pytest

from encoders.delta import Delta
from encoders.wheels import EncoderError
from tests.fixtures.encoders import tiny_bert


def some_delta(linear: str = "1.intermediate", inputs: int = 16, outputs: int = 32, rank: int = 2) -> Delta:
    random = np.random.default_rng(1)
    down, up = random.normal(size=(rank, inputs)), random.normal(size=(outputs, rank))
    return Delta({linear: (down.astype(np.float16).astype(np.float32), up.astype(np.float16).astype(np.float32))})


def test_merging_adds_the_product_to_its_weight_and_to_no_other() -> None:
    bert, delta = tiny_bert(), some_delta()
    merged = delta.merged(bert)
    down, up = delta.factors["1.intermediate"]
    np.testing.assert_allclose(
        merged.tensors["1.intermediate.weight"], bert.tensors["1.intermediate.weight"] + up @ down, rtol=1e-6
    )
    others = bert.tensors.keys() - {"1.intermediate.weight"}
    assert all(merged.tensors[name] is bert.tensors[name] for name in others)


def test_a_delta_is_read_as_it_was_written_and_written_the_same_each_time(tmp_path: Path) -> None:
    delta = some_delta()
    for name in ("first.npz", "second.npz"):
        delta.save(tmp_path / name)
    read = Delta.load(tmp_path / "first.npz")
    for part in (0, 1):
        np.testing.assert_array_equal(read.factors["1.intermediate"][part], delta.factors["1.intermediate"][part])
    assert (tmp_path / "first.npz").read_bytes() == (tmp_path / "second.npz").read_bytes()


@pytest.mark.parametrize("linear", ["1.output", "7.intermediate"])
def test_a_delta_of_another_encoder_is_refused(linear: str) -> None:
    with pytest.raises(EncoderError, match=f"the delta of {linear}"):
        some_delta(linear).merged(tiny_bert())


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 broken", b"text"])
def test_a_file_that_is_no_delta_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "delta.npz").write_bytes(content)
    with pytest.raises(EncoderError, match=r"delta\.npz is not a delta"):
        Delta.load(tmp_path / "delta.npz")


def test_a_share_of_a_delta_is_so_far_on_the_way_to_the_trained_weights(tmp_path: Path) -> None:
    bert = tiny_bert()
    name = next(each for each in bert.tensors if each.endswith("query.weight")).removesuffix(".weight")
    chance = np.random.default_rng(0)
    rows, columns = bert.tensors[f"{name}.weight"].shape
    down, up = (chance.normal(size=shape).astype(np.float32) for shape in ((2, columns), (rows, 2)))
    whole, half = Delta({name: (down, up)}), Delta({name: (down, up)}).scaled(0.5)

    halfway = (bert.tensors[f"{name}.weight"] + whole.merged(bert).tensors[f"{name}.weight"]) / 2
    np.testing.assert_allclose(half.merged(bert).tensors[f"{name}.weight"], halfway, atol=1e-6)
