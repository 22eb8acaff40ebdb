"""BM25 over segments: the same as over one index of all."""

import bm25s
import numpy as np
import pytest

from support.language import tokens
from support.lexical import Postings, joined, score, tokenised

PHRASINGS = [
    "how do I lend a book",
    "where can I lend books",
    "how do I return a book",
    "what is the fine for a late return",
    "when are you open on sunday",
    "a card a card a card",
]
QUESTIONS = ["lend a book", "the late fine", "card", "a a a book", "nothing of it here", "unknown"]


def segment(texts: list[str], average_length: float = 5.0) -> Postings:
    return Postings(tokenised(texts, "en"), average_length)


@pytest.mark.parametrize("question", QUESTIONS[:4])
def test_one_segment_scores_as_the_library_does(question):
    whole = tokenised(PHRASINGS, "en")
    reference = bm25s.BM25(k1=1.5, b=0.75, method="lucene")
    reference.index([tokens(text, "en") for text in PHRASINGS], show_progress=False)

    ours = score([Postings(whole, whole.ids.lengths.mean())], tokens(question, "en"))

    np.testing.assert_allclose(ours.by_segment[0], reference.get_scores(tokens(question, "en")), rtol=1e-5)


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("split", [1, 3, 5])
def test_several_segments_score_as_one(question, split):
    words = tokens(question, "en")
    whole = score([segment(PHRASINGS)], words)
    parts = score([segment(PHRASINGS[:split]), segment(PHRASINGS[split:])], words)

    np.testing.assert_allclose(np.concatenate(parts.by_segment), whole.by_segment[0], rtol=1e-6)
    assert parts.attainable == pytest.approx(whole.attainable)


def test_no_phrasing_reaches_more_than_is_attainable():
    for question in QUESTIONS:
        found = score([segment(PHRASINGS)], tokens(question, "en"))
        assert found.by_segment[0].max(initial=0.0) <= found.attainable


def test_segments_join_to_what_is_kept_of_them():
    one, another = tokenised(PHRASINGS[:3], "en"), tokenised(PHRASINGS[3:], "en")
    kept = [np.array([True, False, True]), np.array([False, True, True])]

    both = joined([(one, kept[0]), (another, kept[1])])

    alone = tokenised([PHRASINGS[0], PHRASINGS[2], PHRASINGS[4], PHRASINGS[5]], "en")
    assert both.vocab.keys() == alone.vocab.keys()
    for question in QUESTIONS:
        scores = [score([Postings(each, 5.0)], tokens(question, "en")).by_segment[0] for each in (both, alone)]
        np.testing.assert_allclose(*scores, rtol=1e-6)


def test_phrasings_without_a_word_are_never_found():
    found = score([segment(["😀", "…"]), segment(["a card"])], ["card"])

    assert found.by_segment[0].tolist() == [0.0, 0.0]
    assert found.by_segment[1][0] > 0.0
