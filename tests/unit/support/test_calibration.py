"""From a score to a probability, and from a risk to a threshold."""

import json

import numpy as np
import pytest

from support.calibration import (
    NOTHING_IS_ANSWERED,
    Calibration,
    Calibrations,
    Example,
    confidence,
    expected_calibration_error,
    fit,
    risk_coverage,
)
from support.knowledge import KnowledgeBase
from support.reranking import shipped

BASE = KnowledgeBase("bank", "help")


def questions(in_scope: int = 2_000, out_of_scope: int = 500, seed: int = 0, scale: float = 1.0) -> list[Example]:
    """Right as often as a logistic map of `scale` times the logit says."""
    chance = np.random.default_rng(seed)
    made = []
    for inside, count, middle in ((True, in_scope, 2.0), (False, out_of_scope, -3.0)):
        logits = chance.normal(middle, 2.0, count)
        right = inside & (chance.random(count) < 1.0 / (1.0 + np.exp(-scale * logits)))
        made += [Example(*each, inside) for each in zip(logits.tolist(), right.tolist(), strict=True)]
    return made


def calibrated(examples: list[Example]) -> Calibration:
    made = fit({"hybrid": examples, "lexical": examples})
    assert made is not None
    return made


def test_a_probability_is_how_often_it_is_right():
    made = confidence(questions())
    fresh = questions(seed=1)
    probabilities = made.scale(np.array([each.logit for each in fresh]))
    right = np.array([float(each.top_is_right) for each in fresh])

    assert made.ece < 0.03
    assert expected_calibration_error(probabilities, right) < 0.04


@pytest.mark.parametrize("count", [40, 200, 3_000])
def test_a_better_score_is_never_less_probable(count):
    made = confidence(questions(count, count // 3))
    probabilities = made.scale(np.linspace(-30, 30, 500))

    assert (np.diff(probabilities) >= 0.0).all()
    assert 0.0 <= probabilities.min() <= probabilities.max() <= 1.0


@pytest.mark.parametrize("risk", [0.01, 0.02, 0.05, 0.2])
def test_the_threshold_of_a_risk_keeps_it_on_other_questions(risk):
    made = confidence(questions(8_000, 2_000))
    fresh = questions(8_000, 2_000, seed=1)
    answered = [each for each in fresh if made.scale(np.array([each.logit]))[0] >= made.threshold_for(risk)]

    expected = risk * len(answered)
    assert 0 < sum(not each.top_is_right for each in answered) <= expected + 3 * expected**0.5


def test_a_stricter_risk_answers_less():
    made = confidence(questions())
    thresholds = [made.threshold_for(risk) for risk in (0.005, 0.02, 0.05, 0.1, 0.3)]

    assert thresholds == sorted(thresholds, reverse=True)


def test_few_questions_promise_little():
    """All 30 are right, but nothing is answered at 2 %: the next one could be wrong."""
    examples = [Example(5.0, True, True)] * 30 + [Example(-5.0, False, False)] * 10

    assert calibrated(examples).threshold_for(0.02) == NOTHING_IS_ANSWERED
    assert calibrated(examples * 20).threshold_for(0.02) < 1.0


def test_an_answer_to_a_question_out_of_scope_is_wrong():
    right = np.array([1.0, 1.0, 0.0, 0.0])
    curve = risk_coverage(np.array([0.9, 0.8, 0.7, 0.1]), right, np.array([True, True, False, True]), np.ones(4))

    at = {point.threshold: point for point in curve}
    assert at[0.8].coverage == pytest.approx(2 / 3)
    assert at[0.7].risk == pytest.approx((1 + 1) / (3 + 1))
    assert [point.threshold for point in curve] == sorted(at, reverse=True)


def test_questions_that_tie_are_answered_together():
    curve = risk_coverage(np.full(4, 0.5), np.array([1.0, 0.0, 1.0, 0.0]), np.ones(4, np.bool_), np.ones(4))

    assert [(point.threshold, point.coverage) for point in curve] == [(0.5, 1.0)]


@pytest.mark.parametrize(("in_scope", "out_of_scope"), [(29, 100), (100, 9), (0, 0)])
def test_too_few_questions_calibrate_nothing(in_scope, out_of_scope):
    examples = questions(in_scope, out_of_scope)

    assert fit({"hybrid": examples, "lexical": examples}) is None


@pytest.mark.parametrize("right", [True, False], ids=["all right", "all wrong"])
def test_questions_that_all_end_alike_can_be_fitted_to(right):
    examples = [Example(float(number), right, True) for number in range(40)]
    examples += [Example(-1.0, False, False)] * 10
    made = calibrated(examples)

    assert np.isfinite(made.probabilities(np.array([-50.0, 0.0, 50.0]), "hybrid")).all()
    assert made.threshold > 0.0


def test_it_comes_back_from_the_store_as_it_was():
    made = calibrated(questions(200, 50))

    assert Calibration.from_json(made.to_json()) == made
    assert (made.in_scope, made.out_of_scope) == (200, 50)


@pytest.mark.parametrize("text", ["{}", "[]", json.dumps({"fitted_at": None, "confidences": {}}), "nonsense"])
def test_what_is_no_calibration_is_refused(text):
    with pytest.raises(ValueError, match=r"no calibration|Expecting value"):
        Calibration.from_json(text)


def test_the_same_questions_make_the_same_version():
    assert calibrated(questions(100, 20)).version == calibrated(questions(100, 20)).version
    assert calibrated(questions(100, 20)).version != calibrated(questions(100, 20, seed=1)).version


def test_a_base_has_the_default_until_it_has_its_own():
    registry = Calibrations(shipped()[1])
    assert registry.of(BASE, "en").version == "default"

    own = calibrated(questions(200, 50))
    registry.put(BASE, "en", own)
    assert registry.of(BASE, "en").version == own.version
    assert registry.of(BASE, "zh").version == "default"
    assert registry.of(KnowledgeBase("bank", "other"), "en").version == "default"


def test_the_chosen_risk_counts_whatever_calibration_does():
    registry = Calibrations(shipped()[1])
    before = registry.of(BASE, "en").thresholds
    registry.aim(BASE, "en", 0.2)
    assert registry.of(BASE, "en").thresholds.answer < before.answer

    registry.put(BASE, "en", calibrated(questions(200, 50)))
    assert registry.of(BASE, "en").target_risk == 0.2


def test_words_alone_have_thresholds_of_their_own():
    good, poor = questions(500, 100), questions(500, 100, scale=0.2)
    made = fit({"hybrid": good, "lexical": poor})
    assert made is not None

    assert made.thresholds_in(["model"]) == made.thresholds_without_model
    assert made.thresholds_in([]) == made.thresholds_in(["context"]) == made.thresholds
    assert made.thresholds_without_model.answer > made.thresholds.answer
    assert made.thresholds.clarify <= made.thresholds.answer
