"""A wish for a person is recognised however it is put, and talk about people is not one."""

import time

import pytest

from support.person import wants_person
from tests.unit.support import person_phrasings as said


@pytest.mark.parametrize("text", said.lines(said.WANTS_A_PERSON_EN) + said.lines(said.WANTS_A_PERSON_ZH))
def test_a_wish_for_a_person_is_recognised(text):
    assert wants_person(text)


@pytest.mark.parametrize("text", said.lines(said.OTHER_EN) + said.lines(said.OTHER_ZH))
def test_talk_about_people_is_an_ordinary_question(text):
    assert not wants_person(text)


@pytest.mark.parametrize(
    "text",
    [
        "ＡＧＥＮＴ　ｐｌｅａｓｅ",
        "转 人 工",
        "I don’t want to talk to a bot",
        "我要 talk to a human",
        "人工 please",
        "卡丢了，help，speak to an agent",
        "  agent\n",
    ],
)
def test_width_spaces_case_and_mixed_languages_make_no_difference(text):
    assert wants_person(text)


@pytest.mark.parametrize("text", ["", "   ", "🙂🙂", "؟", "...", "مرحبا", "a" * 2_000])
def test_what_is_no_question_is_no_wish_either(text):
    assert not wants_person(text)


@pytest.mark.parametrize(
    "piece", ["talk to ", "no ", "I do not want to ", "the agent of ", "人工", "不", "转一下", "a "]
)
def test_no_message_takes_long_to_read(piece):
    text = (piece * 2_000)[:2_000]

    started = time.process_time()
    wants_person(text)

    assert time.process_time() - started < 0.25, "the patterns are linear: 15 ms when this was written"


def test_there_are_phrasings_enough_of_each_kind():
    tables = (said.WANTS_A_PERSON_EN, said.OTHER_EN, said.WANTS_A_PERSON_ZH, said.OTHER_ZH)

    assert all(len(set(said.lines(table))) >= 60 for table in tables)
