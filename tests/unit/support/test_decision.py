"""Answer, ask back, or say that it is out of scope."""

import pytest

from support.calibration import MOST_CLARIFY
from support.decision import Thresholds, combine, decide
from support.knowledge import Article, Candidate, Retrieved, Scores

THRESHOLDS = Thresholds(answer=0.9, clarify=0.3, target_risk=0.02)


def retrieved(**probabilities: float) -> Retrieved:
    return Retrieved(
        "?",
        "en",
        tuple(
            Candidate(Article(name, {"en": "t"}, {"en": "a"}, {}), "", Scores(probability=value))
            for name, value in probabilities.items()
        ),
    )


def names(candidates: tuple[Candidate, ...]) -> list[str]:
    return [each.article.article_id for each in candidates]


@pytest.mark.parametrize(
    ("probabilities", "outcome", "shown"),
    [
        ({"a": 0.95, "b": 0.02}, "answer", ["a"]),
        ({"a": 0.90}, "answer", ["a"]),
        ({"a": 0.89, "b": 0.02}, "clarify", ["a"]),
        ({"a": 0.40, "b": 0.35, "c": 0.11, "d": 0.1}, "clarify", ["a", "b", "c"]),
        ({"a": 0.40, "b": 0.09}, "clarify", ["a"]),
        ({"a": 0.30}, "clarify", ["a"]),
        ({"a": 0.29, "b": 0.28}, "out_of_scope", []),
        ({}, "out_of_scope", []),
    ],
)
def test_what_the_thresholds_make_of_the_candidates(probabilities, outcome, shown):
    decision = decide(retrieved(**probabilities), THRESHOLDS)

    assert (decision.outcome, names(decision.candidates)) == (outcome, shown)
    assert decision.confidence == next(iter(probabilities.values()), 0.0)


def test_where_no_threshold_keeps_the_risk_nothing_is_answered():
    decision = decide(retrieved(a=1.0), Thresholds(1.01, 0.3, 0.001))

    assert decision.outcome == "clarify"


@pytest.mark.parametrize(
    ("raw", "context", "outcome"),
    [
        ({"fee": 0.97}, {"fee": 0.6}, "answer"),
        ({"fee": 0.97}, {"card": 0.9}, "clarify"),
        ({"fee": 0.1}, {"fee": 0.99}, "clarify"),
        ({"fee": 0.92}, {"fee": 0.98}, "answer"),
        ({}, {"fee": 0.99}, "clarify"),
        ({"fee": 0.05}, {"card": 0.1}, "out_of_scope"),
    ],
    ids=["stands alone", "context says another", "context alone", "both", "nothing without context", "neither"],
)
def test_the_question_and_the_question_in_context_vote(raw, context, outcome):
    assert decide(combine(retrieved(**raw), retrieved(**context)), THRESHOLDS).outcome == outcome


def test_the_context_alone_answers_only_where_one_half_is_enough():
    vote = combine(retrieved(), retrieved(fee=0.99))

    assert decide(vote, Thresholds(0.4, 0.3, 0.2)).outcome == "answer"
    assert decide(vote, Thresholds(0.51, 0.3, 0.2)).outcome == "clarify"


@pytest.mark.parametrize("answer", [0.51, 0.6, 0.9])
@pytest.mark.parametrize("raw", [{}, {"card": 0.02}, {"fee": 0.001, "card": 0.02}])
def test_what_the_context_alone_is_sure_of_is_asked_back(raw, answer):
    """Where nothing below one half is asked back, as far up as `calibration.MOST_CLARIFY` goes."""
    thresholds = Thresholds(answer, MOST_CLARIFY, 0.2)
    decision = decide(combine(retrieved(**raw), retrieved(fee=0.99)), thresholds)

    assert (decision.outcome, names(decision.candidates)[0]) == ("clarify", "fee")


def test_a_vote_keeps_the_question_as_it_was_asked_and_each_article_once():
    both = combine(retrieved(a=0.5, b=0.2), retrieved(b=0.6, c=0.1))

    assert both.question == "?"
    assert sorted(names(both.candidates)) == ["a", "b", "c"]
    assert names(both.candidates)[0] == "b"
