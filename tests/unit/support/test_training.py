"""Fitting and measuring: what is asked is never in the base it is asked of, and fits find what made the data."""

import json

import numpy as np
import pytest

from encoders.training.data import Pairs, Phrasings
from support import reranking
from support.knowledge import Article, Candidate, LabelledQuestion, Retrieved, Scores
from support.reranking import FEATURES
from support.retrieval import Found
from support.training import evaluation, fitting, sets
from support.training.evaluation import Outcomes
from support.training.workbench import Examined


def examined(question: LabelledQuestion, features: np.ndarray, right: int | None) -> Examined:
    columns = dict(zip(FEATURES, features.T, strict=True))
    rows = np.arange(len(features))
    found = Found("e/1", rows, [""] * len(rows), columns["lexical"], columns["dense"], columns["dense"], features)
    return Examined(question, found, right)


def drawn(count: int, weights: dict[str, float], seed: int = 0) -> list[Examined]:
    """Questions whose right candidate was drawn by a softmax of `weights`; a third is out of scope, with low scores."""
    chance = np.random.default_rng(seed)
    w = np.array([weights.get(name, 0.0) for name in FEATURES])
    made = []
    for number in range(count):
        outside = number % 3 == 0
        features = chance.random((8, len(FEATURES))).astype(np.float32) * (0.5 if outside else 1.0)
        utility = features @ w
        right = int(chance.choice(8, p=np.exp(utility) / np.exp(utility).sum()))
        made.append(
            examined(LabelledQuestion("?", "en", None if outside else "a"), features, None if outside else right)
        )
    return made


def test_the_ranking_finds_the_weights_that_made_the_data():
    fitted = fitting.combination([drawn(3_000, {"dense": 6.0, "lexical": 3.0})], "hybrid")
    weights = dict(zip(FEATURES, fitted.ranking.tolist(), strict=True))

    assert weights["dense"] == pytest.approx(6.0, abs=0.6)
    assert weights["lexical"] == pytest.approx(3.0, abs=0.6)
    assert max(weights["neighbours"], weights["centre"], weights["discriminant"]) < 0.6


def test_no_weight_is_negative_and_what_is_held_stays():
    fitted = fitting.combination([drawn(1_000, {"dense": 6.0, "lexical": -4.0})], "hybrid", {"overlap": 2.0})

    assert (fitted.ranking >= 0.0).all()
    assert fitted.ranking[FEATURES.index("overlap")] == 2.0
    assert fitted.ranking[FEATURES.index("lexical")] == 0.0


def test_low_scores_are_out_of_scope():
    questions = drawn(1_000, {"dense": 6.0})
    fitted = fitting.combination([questions], "hybrid")
    inside = [fitted.logits(each.features).max() for each in questions if each.question.article_id]
    outside = [fitted.logits(each.features).max() for each in questions if not each.question.article_id]

    assert np.median(inside) > np.median(outside)


def test_what_is_written_can_be_served(tmp_path):
    reranker, defaults = reranking.shipped()
    fitting.write(tmp_path / "r.json", reranker, defaults, {"about": "a test"})
    again, calibrations = reranking.shipped(tmp_path / "r.json")

    assert again.by_encoder.keys() == reranker.by_encoder.keys()
    assert again.long_texts == reranker.long_texts == fitting.LONG_TEXTS
    assert {language: each.curve for language, each in calibrations.items()} == {
        language: each.curve for language, each in defaults.items()
    }
    assert json.loads((tmp_path / "r.json").read_text())["card"] == {"about": "a test"}


def test_a_question_is_never_in_the_base_that_it_is_asked_of():
    pairs = Pairs(("a1", "a2", "b1", "c1", "d1"), ("a2", "a3", "b2", "c2", "a1"), (True, True, True, False, False))
    folds = sets.folds("pairs", pairs, ["a1", "a2", "a3", "b1", "c1", "d1"])

    asked = [question.question for fold in folds for question in fold.questions]
    assert sorted(asked) == ["a1", "a2", "a3", "b1"]
    for fold in folds:
        phrasings = {text: each.article_id for each in fold.articles for text in each.phrasings["zh"]}
        for question in fold.questions:
            assert question.question not in phrasings
            assert question.article_id in phrasings.values()
        assert {"c1", "c2", "d1"} <= phrasings.keys(), "single questions stay as distractors"


def test_what_is_fitted_to_is_a_tenth_and_chosen_by_its_text():
    texts = tuple(f"question {number}" for number in range(5_000))
    rest, held = Phrasings(texts, texts).split_by_text()

    assert len(held) == pytest.approx(500, abs=100)
    assert sorted(rest.texts + held.texts) == sorted(texts)
    assert held.split_by_text() == (Phrasings((), ()), held)


def test_the_demo_can_be_made_poor():
    rich, poor = sets.demo("zh"), sets.demo_few("zh", 1)

    assert len(poor.articles) == len(rich.articles)
    assert all(len(each.phrasings["zh"]) == 1 for each in poor.articles)
    kept = {text for each in poor.articles for text in each.phrasings["zh"]}
    assert not kept & {each.question for each in poor.questions}


def retrieved(**dense: float) -> Retrieved:
    candidates = (Candidate(Article(name, {}, {}, {}), "", Scores(dense=score)) for name, score in dense.items())
    return Retrieved("?", "en", tuple(candidates))


@pytest.mark.parametrize(
    ("found", "at_one"),
    [({"a": 0.9, "b": 0.5}, 1.0), ({"a": 0.5, "b": 0.9}, 0.0), ({"a": 0.5, "b": 0.5}, 0.5), ({"b": 0.5}, 0.0)],
    ids=["first", "second", "tie", "not found"],
)
def test_recall_counts_a_tie_for_its_share(found, at_one):
    assert evaluation.recall([retrieved(**found)], [LabelledQuestion("?", "en", "a")], "dense", 1) == at_one


def test_the_gain_of_a_perfect_order_is_one():
    gains = {"a": 1, "b": 1}

    assert evaluation.gain_at_ten(["b", "a", "c"], gains) == pytest.approx(1.0)
    assert evaluation.gain_at_ten(["c", "a", "b"], gains) < 0.7
    assert evaluation.gain_at_ten(["c"], gains) == 0.0


def test_a_threshold_and_a_coverage():
    logits = np.array([3.0, 2.0, 1.0, 0.0, -1.0])
    right = np.array([True, True, False, True, False])
    in_scope = np.array([True, True, False, True, False])
    seen = Outcomes(logits, right, in_scope)

    assert evaluation.best_threshold(seen) == 2.0
    assert evaluation.coverage_at(seen, 0.0) == pytest.approx(2 / 3)
    assert evaluation.coverage_at(seen, 0.25) == 1.0
    assert [evaluation.accuracy_at(seen, share) for share in (0.0, 0.5, 0.75)] == [1.0, 1.0, pytest.approx(2 / 3)]
    assert evaluation.area(seen) == pytest.approx(5 / 6)


def test_questions_that_tie_are_answered_together():
    right = np.array([True, True, True, False])
    seen = Outcomes(np.array([12.0, 5.0, 5.0, 5.0]), right, right)

    assert evaluation.coverage_at(seen, 0.0) == pytest.approx(1 / 3)
    assert evaluation.coverage_at(seen, 0.25) == 1.0
    assert evaluation.best_threshold(seen) == 12.0
