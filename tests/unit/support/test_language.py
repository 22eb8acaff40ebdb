"""Which language a question is in, and what is searched of it."""

import pytest

from support.language import LONGEST, detect, normalised, read, tokens


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("my card is lost", "en"),
        ("我的卡丢了", "zh"),
        ("ATM取款怎么收费", "zh"),
        ("what does 转账 cost me here", "en"),
        ("¿dónde está mi tarjeta?", "en"),
        ("أين بطاقتي", "en"),
        ("", "en"),
        ("👍👍", "en"),
        ("12345", "en"),
    ],
)
def test_the_language_is_that_of_most_of_it(text, language):
    assert detect(text) == language


@pytest.mark.parametrize(
    ("text", "mixed"),
    [
        ("我的 credit card 被吞了", True),
        ("what is a 转账", True),
        ("ATM取款怎么收费", False),
        ("lost card", False),
        ("卡丢了", False),
    ],
)
def test_a_question_in_both_languages_is_asked_in_both(text, mixed):
    assert read(text, "zh").mixed is mixed


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("ＡＢＣ１２３", "ABC123"),
        ("lost\x00my\x07 card\r\n\tnow", "lost my card now"),
        ("\u202elost card\u202c\u200f", "lost card"),
        ("lo\u00adst\u200b card\ufeff", "lost card"),
        ("it’s `lost´", "it's 'lost'"),
        ("  ", ""),
    ],
    ids=["full width", "control characters", "direction marks", "no width", "apostrophes", "blank"],
)
def test_a_text_is_normalised(text, kept):
    assert normalised(text) == kept


def test_a_text_of_ten_megabytes_is_cut():
    assert len(normalised("ﷺ" * 10_000_000)) == LONGEST


@pytest.mark.parametrize("text", ["😀🎉", "?!…", "\u202e\u200f", "", "---"])
def test_emoji_and_punctuation_ask_nothing(text):
    assert not read(text, "en").says_something
    assert tokens(normalised(text), "en") == tokens(normalised(text), "zh") == []


@pytest.mark.parametrize(
    ("text", "language", "found"),
    [
        ("我要转账", "zh", ["我", "要", "转", "账", "我要", "要转", "转账"]),
        ("ATM取款", "zh", ["atm", "取", "款", "取款"]),
        ("卡", "zh", ["卡"]),
        ("Where's my CARD, please?", "en", ["wheres", "my", "card", "please"]),
        ("the 转账 fee", "en", ["the", "转", "账", "fee"]),
        ("top-up_limit 50", "en", ["top", "up", "limit", "50"]),
    ],
)
def test_chinese_is_searched_by_characters_and_pairs_and_english_by_words(text, language, found):
    assert tokens(text, language) == found
