"""What labels and feedback say of an answer, and what a calibration is fitted to."""

import pytest

from casebook.support.v1 import events_pb2 as events
from chassis.events import PoisonMessage
from support.events import labelled
from support.knowledge import Article, Candidate, LabelledQuestion, Scores
from support.quality import examples


def top(article_id: str, logit: float) -> Candidate:
    return Candidate(Article(article_id, {"en": "t"}, {"en": "a"}, {}), "", Scores(reranked=logit))


@pytest.mark.parametrize(
    ("question", "best", "right_and_in_scope"),
    [
        (LabelledQuestion("?", "en", "cards"), top("cards", 2.0), (True, True)),
        (LabelledQuestion("?", "en", "cards"), top("fees", 2.0), (False, True)),
        (LabelledQuestion("?", "en", None), top("cards", 2.0), (False, False)),
        (LabelledQuestion("?", "en", None, wrong_article_id="cards"), top("cards", 2.0), (False, True)),
    ],
    ids=["right", "wrong", "out of scope", "known to be wrong"],
)
def test_the_best_candidate_is_judged_by_the_label(question, best, right_and_in_scope):
    [example] = examples([question], [best])

    assert (example.top_is_right, example.in_scope) == right_and_in_scope
    assert example.logit == 2.0


def test_of_a_question_whose_wrong_answer_alone_is_known_nothing_follows_once_another_comes_first():
    question = LabelledQuestion("?", "en", None, wrong_article_id="cards")

    assert examples([question], [top("fees", 2.0)]) == []
    assert examples([question], [None]) == []


def test_a_question_that_finds_nothing_counts_below_all_that_do():
    questions = [LabelledQuestion(text, "en", "cards", from_feedback=text == "b") for text in "abc"]

    logits = [example.logit for example in examples(questions, [top("cards", -3.0), None, top("cards", 1.0)])]

    assert logits == [-3.0, -4.0, 1.0]


@pytest.mark.parametrize(
    ("says", "label"),
    [
        ({"correct_article_id": "cards", "in_scope": True}, ("cards", None)),
        ({"answered_article_id": "fees", "correct_article_id": "cards", "in_scope": True}, ("cards", None)),
        ({"in_scope": False}, (None, None)),
        ({"answered_article_id": "fees", "in_scope": True}, (None, "fees")),
        ({"in_scope": True}, None),
        ({"correct_article_id": "cards", "in_scope": True, "context": "Where is my card?"}, None),
    ],
    ids=["right", "corrected", "out of scope", "wrong, no more is known", "none of the candidates", "a follow-up"],
)
def test_feedback_says_what_it_says_of_the_question(says, label):
    given = events.FeedbackGiven(knowledge_base="bank", language="en", question="Where is it?", **says)

    question = labelled(given)

    assert (question and (question.article_id, question.wrong_article_id)) == label
    assert question is None or question.from_feedback


@pytest.mark.parametrize("broken", [{"language": "de"}, {"question": ""}, {"question": "?" * 2_001}])
def test_feedback_that_can_never_be_a_label_is_poison(broken):
    given = {"knowledge_base": "bank", "language": "en", "question": "Where is it?", "in_scope": False} | broken

    with pytest.raises(PoisonMessage, match=next(iter(broken))):
        labelled(events.FeedbackGiven(**given))
