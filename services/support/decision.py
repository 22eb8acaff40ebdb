"""From what was retrieved to what is done about it: answer, ask back, or say that the knowledge base does not know."""

from dataclasses import dataclass, replace
from typing import Literal

from support.knowledge import Candidate, Retrieved

Outcome = Literal["answer", "clarify", "out_of_scope"]
MOST_CANDIDATES = 3
"""More than three are a menu, not a question."""
NEAR = 0.25
"""Asked back is also what is at least this share as probable as the best."""
MOST_CONTEXT = 0.6
"""What the question in its context weighs at most in the vote."""
AS_LIKELY_AS_NOT = 0.5
"""What the context alone makes of an article at most, enough to ask back; to answer only where answers begin no higher.
Else "what is the weather?" after a question about a lost card would be answered as one about a lost card."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From which probability on what is done."""

    answer: float
    """Answered from here on; above 1 where no threshold keeps the risk, and then nothing is answered."""
    clarify: float
    """Asked back from here on; out of scope below."""
    target_risk: float
    """The share of wrong ones among the answers that the operator accepts."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, and the articles to do it with, best first: one with "answer", one to three with "clarify"."""

    outcome: Outcome
    candidates: tuple[Candidate, ...]
    confidence: float
    """The probability that the best candidate answers the question; 0 without one."""
    thresholds: Thresholds


def decide(retrieved: Retrieved, thresholds: Thresholds) -> Decision:
    """What the thresholds make of the candidates.

    A probability says already how far the second candidate is behind, for the reranker counts the margin; what the
    margin decides here is how many are asked back: those that come near the best one.
    """
    if not retrieved.candidates:
        return Decision("out_of_scope", (), 0.0, thresholds)
    best = retrieved.candidates[0]
    confidence = best.scores.probability
    if confidence >= thresholds.answer:
        return Decision("answer", (best,), confidence, thresholds)
    if confidence < thresholds.clarify:
        return Decision("out_of_scope", (), confidence, thresholds)
    near = tuple(each for each in retrieved.candidates if each.scores.probability >= NEAR * confidence)
    return Decision("clarify", near[:MOST_CANDIDATES], confidence, thresholds)


def combine(raw: Retrieved, with_context: Retrieved) -> Retrieved:
    """The vote of a question as it was asked and of the same question in its context.

    An article's probability is the weighted mean of the two, 0 where one did not find it, and no more than
    `AS_LIKELY_AS_NOT` above what the raw question gives it. The weights go by the odds that each gives its best
    article, the context's at most `MOST_CONTEXT`: a question that stands on its own is answered as if it were the
    first; one that only the context makes sense of is asked back, where answers begin above one half.
    """
    context_weight = min(MOST_CONTEXT, _share_of_odds(with_context, raw))
    by_itself = {each.article.article_id: each.scores.probability for each in raw.candidates}
    probability: dict[str, float] = {}
    surest: dict[str, Candidate] = {}
    for vote, weight in ((raw, 1.0 - context_weight), (with_context, context_weight)):
        for each in vote.candidates:
            name = each.article.article_id
            probability[name] = probability.get(name, 0.0) + weight * each.scores.probability
            known = surest.get(name)
            if known is None or each.scores.probability > known.scores.probability:
                surest[name] = each
    for name, mean in probability.items():
        probability[name] = min(mean, by_itself.get(name, 0.0) + AS_LIKELY_AS_NOT)
    candidates = sorted(
        (replace(each, scores=replace(each.scores, probability=probability[name])) for name, each in surest.items()),
        key=lambda each: (-each.scores.probability, -each.scores.reranked),
    )
    return replace(
        raw,
        candidates=tuple(candidates),
        encoders=tuple(dict.fromkeys(raw.encoders + with_context.encoders)),
        degraded=tuple(dict.fromkeys(raw.degraded + with_context.degraded)),
        stages=raw.stages + with_context.stages,
    )


def _share_of_odds(one: Retrieved, another: Retrieved) -> float:
    mine, others = _odds(one), _odds(another)
    return mine / (mine + others)


def _odds(retrieved: Retrieved) -> float:
    """Of the best article, between 0.001 and 1,000."""
    best = retrieved.candidates[0].scores.probability if retrieved.candidates else 0.0
    best = min(max(best, 0.001), 0.999)
    return best / (1.0 - best)
