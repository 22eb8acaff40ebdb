"""Fits what the service comes with: the reranker's coefficients, and the calibrations of bases without one of their
own.

Never to a question that something is reported on: to banking77's training file (a part of it asked of the rest),
CLINC150's validation part, and the demo's own questions.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from support import calibration
from support.calibration import Calibration, Example, Float64Array, Way
from support.knowledge import Language
from support.ports import Float32Array
from support.reranking import FEATURES, RANKING, SCOPE, Combination, LongTexts, Reranker
from support.training.sets import Faq, banking77_to_fit, clinc150_to_fit, demo, demo_few
from support.training.workbench import Examined

ABOUT = (
    "Coefficients of support.reranking and calibrations of bases without one of their own. Fitted by "
    "`python -m support.training fit` to a tenth of banking77's training questions (CC BY 4.0) asked of the rest, to "
    "CLINC150's validation part (CC BY 3.0), and to the demo's own questions in both languages; to no test set. What "
    "words weigh in long texts, and in Chinese, was chosen on parts of SciFact, BQ and LCQMC that are no test. "
    "`right_first` is on what was fitted to. Not for: other encoders, other languages. A base of another domain than "
    "banking and everyday services should be calibrated with questions of its own before its answers are trusted."
)
FEW = (1, 3)
"""Phrasings of an article in the poor variants of the Chinese base."""
HELD: Mapping[Language, Mapping[str, float]] = {"en": {}, "zh": {"lexical": 6.0, "overlap": 2.0}}
"""Weights of ranking that are not fitted. The demo's Chinese questions were written to share few words with its
phrasings, fewer than customers' do: fitted to them, words would count for too little elsewhere. These were chosen among
eight on BQ's validation file and the first half of LCQMC's, of which nothing else is in here."""
LONG_TEXTS: Mapping[Language, LongTexts] = {"en": LongTexts(least_tokens=40.0, words=1.3)}
"""Chosen on SciFact's training claims, of which nothing else is in here: the likeliest weight is 1.29 with
`encoder_en/1` and 2.05 with `encoder_en/2`; the former's takes nDCG@10 from .720 to .722 and from .647 to .698. The FAQ
bases that all else is fitted to have 8 to 12 tokens a phrasing, SciFact's abstracts 225. Chinese documents were not
measured: they rank as questions do."""
RIDGE = 1e-3
"""On coefficients of standardised features, per question."""
STEPS = 100


def combination(sets: Sequence[Sequence[Examined]], way: Way, held: Mapping[str, float] | None = None) -> Combination:
    """Fitted to several sets of questions, each of which counts the same; with the weights of ranking that are
    `held`."""
    ranking = _ranking(sets, RANKING[way], held or {})
    scope, intercept = _scope(sets, ranking, SCOPE[way])
    return Combination(ranking, scope, intercept)


def _ranking(sets: Sequence[Sequence[Examined]], names: Sequence[str], fixed: Mapping[str, float]) -> Float32Array:
    """The conditional logit with the greatest likelihood and no negative weight, by Newton's method, on all of
    `FEATURES`.

    Nothing here speaks against an article the higher it is. Free weights of cosines that go together take off from one
    what they give to another, and do worse on bases unlike those that they were fitted to.
    """
    given = _on_all([FEATURES.index(name) for name in fixed], np.array(list(fixed.values())))
    columns = [FEATURES.index(name) for name in names if name not in fixed]
    questions = [
        (
            each.features[:, columns].astype(np.float64),
            each.features @ given,
            each.right,
            1.0 / len(members) / len(sets),
        )
        for members in ([each for each in some if each.right is not None] for some in sets)
        for each in members
    ]
    scale = np.maximum(np.concatenate([features for features, *_ in questions]).std(axis=0), 1e-6)
    weights = np.zeros(len(columns))
    for _ in range(STEPS):
        gradient, hessian = RIDGE * weights, RIDGE * np.eye(len(columns))
        for features, offset, right, share in questions:
            x = features / scale
            utility = x @ weights + offset
            p = np.exp(utility - utility.max())
            p /= p.sum()
            mean = p @ x
            gradient = gradient + share * (mean - x[right])
            hessian = hessian + share * ((x * p[:, None]).T @ x - np.outer(mean, mean))
        held = (weights <= 0.0) & (gradient > 0.0)
        step = np.zeros(len(columns))
        free = np.flatnonzero(~held)
        step[free] = np.linalg.solve(hessian[np.ix_(free, free)], gradient[free])
        moved = np.maximum(weights - np.clip(step, -2.0, 2.0), 0.0)
        change, weights = np.abs(moved - weights).max(), moved
        if change < 1e-7:
            break
    return _on_all(columns, weights / scale) + given


def _scope(
    sets: Sequence[Sequence[Examined]], ranking: Float32Array, names: Sequence[str]
) -> tuple[Float32Array, float]:
    """The logistic model of whether any article answers, by the candidate that is ranked first; sets weigh the same."""
    columns = [FEATURES.index(name) for name in names]
    rows, target, weights = [], [], []
    for some in sets:
        inside = np.array([each.question.article_id is not None for each in some])
        share = calibration.OUT_OF_SCOPE_SHARE
        if inside.all():  # a set without questions out of scope says nothing about them
            continue
        rows += [each.features[int((each.features @ ranking).argmax()), columns] for each in some]
        target.append(inside)
        weights.append(np.where(inside, (1.0 - share) / inside.sum(), share / (~inside).sum()))
    x, y, w = np.array(rows, np.float64), np.concatenate(target).astype(np.float64), np.concatenate(weights)
    centre, scale = x.mean(axis=0), np.maximum(x.std(axis=0), 1e-6)
    line = _logistic((x - centre) / scale, y, w / w.sum())
    slopes = line[:-1] / scale
    return _on_all(columns, slopes), float(line[-1] - slopes @ centre)


def _logistic(x: Float64Array, target: Float64Array, weights: Float64Array) -> Float64Array:
    """Slopes and, last, the intercept, by Newton's method; `weights` sum to 1."""
    x = np.hstack([x, np.ones((len(x), 1))])
    ridge = RIDGE * np.diag([*[1.0] * (x.shape[1] - 1), 0.0])
    line = np.zeros(x.shape[1])
    for _ in range(STEPS):
        p = 1.0 / (1.0 + np.exp(-np.clip(x @ line, -30.0, 30.0)))
        gradient = x.T @ (weights * (p - target)) + ridge @ line
        hessian = (x * (weights * np.maximum(p * (1.0 - p), 1e-9))[:, None]).T @ x + ridge
        step = np.linalg.solve(hessian, gradient)
        line -= np.clip(step, -2.0, 2.0)
        if np.abs(step).max() < 1e-9:
            break
    return line


def examples(examined: Sequence[Examined], fitted: Combination) -> list[Example]:
    """What a calibration is fitted to."""
    made = []
    for each in examined:
        logits = fitted.logits(each.features)
        best = int(logits.argmax())
        in_scope = each.question.article_id is not None
        made.append(Example(float(logits[best]), best == each.right, in_scope))
    return made


def of_equal_weight(sets: Sequence[Sequence[Example]]) -> list[Example]:
    """Several sets as one, in which each counts the same."""
    return [replace(each, weight=1.0 / len(some)) for some in sets for each in some]


def lexical_share(sets: Sequence[Sequence[Examined]]) -> float:
    """The share of words in the fused score that puts most right articles first: in steps of a twentieth."""
    shares = np.linspace(0.0, 1.0, 21)
    right = np.zeros(len(shares))
    for some in sets:
        for each in (each for each in some if each.right is not None):
            words, meaning = (
                scaled / max(float(scaled.max()), 1e-6) for scaled in (each.found.lexical, each.found.dense)
            )
            fused = shares[:, None] * words + (1.0 - shares[:, None]) * meaning
            right += (fused.argmax(axis=1) == each.right) / len(some)
    return float(shares[int(right.argmax())])


def bases(folder: Path, language: Language) -> list[Faq]:
    """What is fitted to: rich bases and poor ones."""
    if language == "zh":
        return [demo("zh"), *(demo_few("zh", phrasings) for phrasings in FEW)]
    return [*banking77_to_fit(folder), clinc150_to_fit(folder), demo("en")]


def calibrated(examined: Mapping[Way, Sequence[Sequence[Examined]]], fitted: Mapping[Way, Combination]) -> Calibration:
    """The calibration of a base that has none of its own: all sets together, each of the same weight."""
    made = calibration.fit(
        {way: of_equal_weight([examples(each, fitted[way]) for each in some]) for way, some in examined.items()}
    )
    assert made is not None  # there are thousands of questions
    return made


def report(bases: Sequence[Faq], examined: Sequence[Sequence[Examined]], fitted: Combination) -> dict[str, Any]:
    """What the coefficients make of what they were fitted to."""
    lines = {}
    for base, some in zip(bases, examined, strict=True):
        inside = [each for each in base.questions if each.article_id is not None]
        right = sum(
            each.right is not None and int(fitted.logits(each.features).argmax()) == each.right for each in some
        )
        lines[base.name] = {
            "articles": len(base.articles),
            "in_scope": len(inside),
            "out_of_scope": len(base.questions) - len(inside),
            "right_first": round(right / max(len(inside), 1), 4),
        }
    return lines


def write(
    path: Path, reranker: Reranker, calibrations: Mapping[Language, Calibration], card: Mapping[str, Any]
) -> None:
    """The file that the service reads at its start, with its card."""
    content = {
        "card": card,
        "lexical_shares": dict(reranker.lexical_shares),
        "long_texts": {language: asdict(each) for language, each in reranker.long_texts.items()},
        "by_words": {language: _fields(each) for language, each in reranker.by_words.items()},
        "by_encoder": {name: _fields(each) for name, each in reranker.by_encoder.items()},
        "calibrations": {language: json.loads(each.to_json()) for language, each in calibrations.items()},
    }
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]
    path.write_text(json.dumps({"version": digest, **content}, indent=1, ensure_ascii=False) + "\n")


def _on_all(columns: Sequence[int], weights: Float64Array) -> Float32Array:
    every = np.zeros(len(FEATURES), np.float32)
    every[list(columns)] = weights
    return every


def _fields(fitted: Combination) -> dict[str, Any]:
    def named(weights: Float32Array) -> dict[str, float]:
        pairs = zip(FEATURES, weights.tolist(), strict=True)
        return {name: round(weight, 4) for name, weight in pairs if weight}

    fields = asdict(fitted)
    return {
        "ranking": named(fields["ranking"]),
        "scope": named(fields["scope"]),
        "scope_intercept": round(fitted.scope_intercept, 4),
    }
