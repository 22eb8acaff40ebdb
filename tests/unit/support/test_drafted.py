"""What becomes of a resolution: an article in the languages of its texts."""

from casebook.support.v1 import knowledge_pb2
from support.conversation import Conversation, Evidence, Speaker, Turn
from support.desk_service import drafted
from support.handoff import Handoff, HandoffReason, requested
from tests.unit.support.bank import NOON


def handed_over(question: str, context: str = "") -> Handoff:
    asked = Conversation("bank", "c", "help", "ana", turns=(Turn("t", Speaker.CUSTOMER, question, NOON),))
    return requested(asked, HandoffReason.FAILED_TURNS, "h", NOON, Evidence(question, "en", context))


def test_what_is_missing_comes_from_the_conversation():
    article = drafted(knowledge_pb2.Article(), handed_over("Do you insure bicycles?"), "Yes, against theft.")

    assert article.article_id == "handoff-h"
    assert (article.title, article.answer) == ({"en": "Do you insure bicycles?"}, {"en": "Yes, against theft."})
    assert article.phrasings["en"] == ("Do you insure bicycles?",)


def test_each_text_stands_under_its_own_language():
    message = knowledge_pb2.Article(title=knowledge_pb2.Text(en="Bicycle insurance"))
    article = drafted(message, handed_over("你们保自行车吗？"), "可以，只保盗抢。")

    assert (article.title, article.answer) == ({"en": "Bicycle insurance"}, {"zh": "可以，只保盗抢。"})
    assert article.phrasings["zh"] == ("你们保自行车吗？",)


def test_a_follow_up_is_a_phrasing_behind_the_question_that_it_follows():
    article = drafted(knowledge_pb2.Article(), handed_over("and abroad?", "Do you insure bicycles?"), "In Europe, yes.")

    assert article.phrasings["en"] == ("Do you insure bicycles? and abroad?",)


def test_what_the_agent_wrote_stays():
    message = knowledge_pb2.Article(
        article_id="bicycles",
        title=knowledge_pb2.Text(zh="自行车保险"),
        answer=knowledge_pb2.Text(zh="可以"),
        phrasings=knowledge_pb2.Phrasings(zh=["保自行车吗"]),
    )
    article = drafted(message, handed_over("Do you insure bicycles?"), "Yes.")

    assert (article.article_id, article.revision) == ("bicycles", 0)
    assert (article.title, article.answer, article.phrasings["zh"]) == (
        {"zh": "自行车保险"},
        {"zh": "可以"},
        ("保自行车吗",),
    )
