"""Which article, and whether any."""

import numpy as np
import pytest

from support.reranking import FEATURES, Combination, LongTexts, Reranker, shipped


def features(*candidates: dict[str, float]) -> np.ndarray:
    return np.array([[each.get(name, 0.0) for name in FEATURES] for each in candidates], np.float32)


def combination(ranking: dict[str, float], scope: dict[str, float], intercept: float = 0.0) -> Combination:
    [ranked], [scoped] = features(ranking), features(scope)
    return Combination(ranked, scoped, intercept)


def probability(logits: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-logits))


def test_the_probabilities_of_all_candidates_add_up_to_that_of_any():
    model = combination({"dense": 10.0}, {"dense": 4.0}, intercept=-1.0)
    logits = model.logits(features({"dense": 0.8}, {"dense": 0.5}, {"dense": 0.4}))

    assert probability(logits).sum() == pytest.approx(probability(np.array(4.0 * 0.8 - 1.0)), rel=1e-4)
    assert logits[0] > logits[1] > logits[2]


def test_two_that_are_alike_share_what_one_would_have():
    model = combination({"dense": 10.0}, {"dense": 10.0})
    alone = model.logits(features({"dense": 0.9}))
    shared = model.logits(features({"dense": 0.9}, {"dense": 0.9}))

    assert probability(shared) == pytest.approx(probability(alone)[0] / 2, rel=1e-3)


def test_nothing_found_has_no_logits():
    assert len(combination({"dense": 1.0}, {}).logits(features())) == 0


def test_logits_are_finite_whatever_the_features():
    model = combination({"dense": 1e4}, {"dense": 1e4})
    logits = model.logits(features({"dense": 1.0}, {"dense": -1.0}))

    assert np.isfinite(logits).all()
    assert np.abs(logits).max() <= 12.0


def test_a_version_that_nothing_was_fitted_to_is_taken_for_the_newest_that_was():
    first, second, words = (combination({"dense": weight}, {}) for weight in (1.0, 2.0, 3.0))
    by_encoder = {"encoder_en/1": first, "encoder_en/2": second, "encoder_zh/1": words}
    reranker = Reranker("v", {"en": words, "zh": words}, by_encoder, {"en": 0.3, "zh": 0.3})

    assert reranker.combination("en", "encoder_en/1") is first
    assert reranker.combination("en", "encoder_en/7") is second
    assert reranker.combination("en", "") is words


def test_long_texts_count_meaning_once_and_words_by_their_own_weight():
    model = combination(
        {"lexical": 1.0, "dense": 2.0, "neighbours": 3.0, "centre": 4.0, "overlap": 5.0}, {"dense": 6.0}
    )
    reranker = Reranker("v", {"en": model, "zh": model}, {"e/1": model}, {}, {"en": LongTexts(40.0, words=1.5)})

    long = reranker.combination("en", "e/1", text_length=40.0)

    [expected] = features({"lexical": 13.5, "dense": 9.0})
    assert long.ranking == pytest.approx(expected)
    assert long.scope == pytest.approx(model.scope)
    assert reranker.combination("en", "e/1", text_length=39.0) is model
    assert reranker.combination("zh", "e/1", text_length=400.0) is model  # nothing is known of its long texts
    assert reranker.combination("en", "", text_length=400.0) is model  # nor of words alone


def test_what_is_shipped_loads_and_knows_both_languages():
    reranker, defaults = shipped()

    assert {name.split("/")[0] for name in reranker.by_encoder} == {"encoder_en", "encoder_zh"}
    assert all(each.version == "default" for each in defaults.values())
    for combination in (*reranker.by_words.values(), *reranker.by_encoder.values()):
        assert (combination.ranking >= 0.0).all(), "nothing speaks against an article the higher it is"
