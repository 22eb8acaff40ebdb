"""Greetings, thanks and good-byes are told from questions that begin or end with one."""

import time

import pytest

from support.courtesy import Courtesy, courtesy
from tests.unit.support import person_phrasings as said

GREETINGS = ("hi", "HELLO!!", "hey there", "Hello everyone", "Good evening", "how are you?", "ＨＩ", "hi 👋")
GREETINGS_ZH = ("你好", "您好！", "你好呀", "大家好", "哈喽", "早上好", "在吗", "你好，在吗？")
THANKS = ("thanks", "Thank you very much.", "ok, thanks a lot!", "thx", "great, thank you for your help", "no thanks")
THANKS_ZH = ("谢谢", "谢谢你啦", "多谢", "好的，谢谢您", "非常感谢！", "謝謝", "辛苦了", "没有了，谢谢")
FAREWELLS = ("bye", "Goodbye!", "bye bye", "see you later", "thanks, bye", "Have a nice day", "good night")
FAREWELLS_ZH = ("再见", "拜拜", "谢谢，再见！", "再見", "晚安")
QUESTIONS = (
    "Hi, I lost my card",
    "hello, where is my money?",
    "thanks but my card still has not arrived",
    "How do I say thank you to somebody with a transfer?",
    "highest exchange rate",
    "Are you there for transfers?",
    "they do not answer",
    "ok",
    "no",
    "你好，我的卡丢了",
    "谢谢，那手续费呢？",
    "好的，怎么转账？",
    "感谢信怎么写",
    "好",
    "没有",
    "",
    "🙂🙂",
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [(text, Courtesy.GREETING) for text in GREETINGS + GREETINGS_ZH]
    + [(text, Courtesy.THANKS) for text in THANKS + THANKS_ZH]
    + [(text, Courtesy.FAREWELL) for text in FAREWELLS + FAREWELLS_ZH],
)
def test_courtesy_is_recognised(text, expected):
    assert courtesy(text) is expected


@pytest.mark.parametrize("text", QUESTIONS + tuple(said.lines(said.OTHER_EN) + said.lines(said.OTHER_ZH)))
def test_whatever_else_is_said_is_left_to_the_search(text):
    assert courtesy(text) is None


@pytest.mark.parametrize("piece", ["hi ", "thank ", "good", "谢", "拜", "have a ", "see you "])
def test_no_message_takes_long_to_read(piece):
    text = (piece * 2_000)[:2_000]

    started = time.process_time()
    courtesy(text)
    courtesy(text[:60])

    assert time.process_time() - started < 0.25
