"""The encoders as they are served: a question's neighbour is the one that asks the same."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from encoders.text import Tokeniser

ENGLISH = [
    ("How do I activate my new card?", "What must I do before I can use the card that came in the post?"),
    ("I forgot my PIN", "I can't remember the code of my card"),
    ("Which currencies can I exchange?", "What foreign money do you support?"),
    ("Someone stole my phone", "My mobile was taken, what now?"),
]
CHINESE = [
    ("怎么提前还款", "可以早点把贷款还清吗"),
    ("我的银行卡丢了", "卡片遗失了怎么办"),
    ("为什么额度这么低", "能不能提高我的额度"),
    ("如何修改绑定的手机号", "换了手机号码要怎么更新"),
]


def encoded(folder: Path, texts: list[str]) -> np.ndarray:
    tokeniser, model = Tokeniser(folder), session(folder)
    vectors = np.zeros((len(texts), 384), np.float32)
    for places, tokens in tokeniser.batches(texts):
        [vectors[places]] = model.run(["embedding"], tokens.inputs())
    return vectors


def session(folder: Path) -> Any:
    return onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize(
    ("name", "pairs"),
    [("encoder_en/1", ENGLISH), ("encoder_zh/1", CHINESE), ("encoder_zh/1", ENGLISH)],
    ids=["english", "chinese", "english by the Chinese one"],
)
def test_a_question_finds_the_one_that_asks_the_same(encoders: Path, name: str, pairs: list[tuple[str, str]]) -> None:
    questions, known = zip(*pairs, strict=True)
    scores = encoded(encoders / name, list(questions)) @ encoded(encoders / name, list(known)).T
    assert scores.argmax(axis=1).tolist() == [0, 1, 2, 3]


def test_a_repository_with_the_encoders_is_built_whole(encoders: Path) -> None:
    assert (encoders / "encoder_en" / "1" / "model.onnx").stat().st_size < 25e6
    assert (encoders / "encoder_zh" / "1" / "model.onnx").stat().st_size < 65e6
