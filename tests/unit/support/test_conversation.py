"""What is concluded from a conversation, and what is understood of a short message in one."""

import pytest

from support.choice import NONE, chosen
from support.conversation import MOST_TURNS, Conversation, Evidence, Outcome, Speaker, Turn
from support.follow_up import is_follow_up
from tests.unit.support.bank import NOON

ANSWERED, WRONG = (Outcome.ANSWER, False), (Outcome.ANSWER, True)
UNKNOWN, NO_WORDS = (Outcome.OUT_OF_SCOPE, True), (Outcome.OUT_OF_SCOPE, False)
ASKED_BACK, HANDED_OVER = (Outcome.CLARIFY, False), (Outcome.HAND_OFF, False)


def of(*bots: tuple[Outcome, bool]) -> Conversation:
    turns = []
    for number, (outcome, failed) in enumerate(bots):
        turns += [
            Turn(f"c{number}", Speaker.CUSTOMER, "?", NOON),
            Turn(f"b{number}", Speaker.BOT, "!", NOON, outcome, evidence=Evidence(f"q{number}", "en"), failed=failed),
        ]
    return Conversation("bank", "c", "help", "ana", turns=tuple(turns))


@pytest.mark.parametrize(
    ("bots", "failed"),
    [
        ([], 0),
        ([ANSWERED], 0),
        ([UNKNOWN], 1),
        ([UNKNOWN, WRONG], 2),
        ([UNKNOWN, ASKED_BACK, UNKNOWN], 2),
        ([UNKNOWN, NO_WORDS, UNKNOWN], 2),
        ([UNKNOWN, ANSWERED, UNKNOWN], 1),
        ([UNKNOWN, UNKNOWN, HANDED_OVER], 0),
        ([UNKNOWN, HANDED_OVER, WRONG], 1),
    ],
)
def test_turns_that_failed_in_a_row(bots, failed):
    assert len(of(*bots).failed_in_a_row) == failed


def test_the_newest_turns_are_kept():
    conversation = of()
    for number in range(MOST_TURNS):
        pair = Turn(f"c{number}", Speaker.CUSTOMER, "?", NOON), Turn(f"b{number}", Speaker.BOT, "!", NOON)
        conversation = conversation.after(*pair, language="en")

    assert len(conversation.turns) == MOST_TURNS
    assert conversation.turns[-1].turn_id == f"b{MOST_TURNS - 1}"
    assert conversation.revision == MOST_TURNS


def test_a_mark_that_changes_nothing_is_no_revision():
    conversation = of(ANSWERED)

    assert conversation.marked("b0", failed=False) is conversation
    assert conversation.marked("b0", failed=True).revision == conversation.revision + 1


@pytest.mark.parametrize(
    "text",
    [
        "and abroad?",
        "And what about the fee?",
        "what about my other card",
        "how long?",
        "why",
        "Does that cost anything?",
        "can I cancel it afterwards?",
        "then what?",
        "is it also possible in Spain",
        "那手续费呢？",
        "手续费呢",
        "要多久？",
        "在国外呢",
        "如果在国外呢？",
        "这个要收费吗",
        "为什么",
        "还有别的办法吗",
        "信用卡也可以吗",
    ],
)
def test_what_leans_on_the_question_before_is_a_follow_up(text):
    assert is_follow_up(text)


@pytest.mark.parametrize(
    "text",
    [
        "How do I order a second card for my account?",
        "My card payment was declined in a shop yesterday",
        "What documents do you need to open a new account?",
        "怎么给信用卡设置境外取现密码？",
        "我昨天在商店刷卡被拒绝了怎么办",
        "开通新账户需要准备哪些证件材料？",
    ],
)
def test_what_stands_on_its_own_is_none(text):
    assert not is_follow_up(text)


TITLES = ["Lost or stolen card", "When does my card come?", "转账手续费"]


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("1", 0),
        ("2.", 1),
        (" ３ ", 2),
        ("第三个", 2),
        ("选二", 1),
        ("the first one", 0),
        ("最后一个", 2),
        ("lost or stolen card", 0),
        ("转账手续费", 2),
        ("4", NONE),
        ("None of these.", NONE),
        ("都不是", NONE),
        ("没有", NONE),
        ("5", None),
        ("2 cards", None),
        ("none of my cards works", None),
        ("我的卡丢了", None),
        ("", None),
    ],
)
def test_a_pick_may_be_typed(text, choice):
    assert chosen(text, TITLES) == choice
