"""Cosines of centred vectors, and what tells articles apart."""

import numpy as np

from support.dense import BORROWED, DIMENSIONS, DenseSegment, centre_of


def vectors(count: int, seed: int = 0, shift: float = 3.0) -> np.ndarray:
    drawn = np.random.default_rng(seed).standard_normal((count, DIMENSIONS))
    drawn[:, 0] += shift * np.sqrt(DIMENSIONS)  # as encoders have it: all of them point one way
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


def dense(of: np.ndarray, centre: np.ndarray) -> DenseSegment:
    segment = DenseSegment(centre)
    for start in range(0, len(of), 100):
        segment.extend(of[start : start + 100])
    return segment


def test_the_nearest_are_those_of_all_centred_cosines():
    every, question = vectors(1_000), vectors(1, seed=1)[0]
    centre = every.mean(axis=0)
    segment = dense(every, centre)
    moved = (every - centre) / np.linalg.norm(every - centre, axis=1, keepdims=True)
    asked = (question - centre) / np.linalg.norm(question - centre)

    rows, cosines = segment.search(segment.centred(question), 20)

    assert rows.tolist() == np.argsort(-(moved @ asked))[:20].tolist()
    np.testing.assert_allclose(cosines, np.sort(moved @ asked)[::-1][:20], atol=1e-5)
    assert np.abs(every @ question).min() > 0.8 > 0.3 > np.abs(cosines).max()


def test_the_encoders_vectors_come_back_from_the_centred_ones():
    every = vectors(300)
    segment = dense(every, every.mean(axis=0))
    rows = np.array([7, 299, 0])

    np.testing.assert_allclose(np.concatenate(list(segment.originals(rows))), every[rows], atol=1e-5)


def test_a_small_base_borrows_its_centre():
    background, own = vectors(32, seed=2), vectors(BORROWED, seed=3)

    np.testing.assert_allclose(centre_of([], background), background.mean(axis=0), atol=1e-6)
    halfway = (background.mean(axis=0) + own.mean(axis=0)) / 2
    np.testing.assert_allclose(centre_of([own[:10], own[10:]], background), halfway, atol=1e-6)


def test_a_phrasing_that_is_the_centre_is_near_nothing():
    every = vectors(10)
    segment = dense(every, every[3])

    assert segment.vectors[3].tolist() == [0.0] * DIMENSIONS


def test_the_discriminant_ignores_what_varies_within_articles_anyhow():
    """Two articles differ in direction 1 a little; in direction 2 every phrasing goes its own way by a lot."""
    chance = np.random.default_rng(0)
    texts = 0.01 * chance.standard_normal((400, DIMENSIONS))
    texts[:, 1] = np.repeat([0.3, -0.3], 200)
    texts[:, 2] = chance.standard_normal(400)
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    segment = dense(texts.astype(np.float32), np.zeros(DIMENSIONS, np.float32))
    segment.summarise(np.array([0, 200, 400]))
    question = np.zeros(DIMENSIONS, np.float32)
    question[1:3] = 0.3, 0.95

    scores = segment.directions @ question + segment.offsets

    assert scores[0] - scores[1] > 3.0


def test_with_a_phrasing_each_there_is_nothing_to_discriminate_by():
    segment = dense(vectors(5), np.zeros(DIMENSIONS, np.float32))
    segment.summarise(np.arange(6))

    assert not segment.directions.any()
