"""What a reranked score is worth: the probability that the best article answers, and the threshold that a risk implies.

A calibration belongs to a knowledge base and a language. It is fitted to questions whose answer is known, in scope and
out of scope, and never touches the encoder. Retrieval with the model server and without it give scores of their own
kinds, so each has its own map, curve and thresholds.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from support.decision import Thresholds
from support.knowledge import KnowledgeBase, Language

Way = Literal["hybrid", "lexical"]
"""How the candidates were found: by words and meaning, or, without the model server, by words alone."""
WAYS: tuple[Way, ...] = ("hybrid", "lexical")
Float64Array = NDArray[np.float64]

DEFAULT_VERSION = "default"
FEWEST_IN_SCOPE = 30
FEWEST_OUT_OF_SCOPE = 10
OUT_OF_SCOPE_SHARE = 0.2
"""How much of what customers ask is assumed to be out of scope. Labelled questions are collected, not drawn from the
traffic, so their own mix says nothing: they are weighted to this one."""
NOTHING_IS_ANSWERED = 1.01
"""The threshold where no other keeps the risk."""
FOLDS = 5
BINS = 10
MOST_POINTS = 200
"""A curve is drawn through these at most."""
MOST_CLARIFY = 0.5
STEEPEST = 20.0
"""Of a logistic map, per unit of logit: few questions that a score separates would have it vertical."""


@dataclass(frozen=True, slots=True)
class Example:
    """What retrieval made of a question whose answer is known."""

    logit: float
    """The reranked score of the best candidate."""
    top_is_right: bool
    in_scope: bool
    weight: float = 1.0
    from_feedback: bool = False


@dataclass(frozen=True, slots=True)
class RiskCoveragePoint:
    """What answering from a threshold on leads to."""

    threshold: float
    coverage: float
    """The share of the in-scope questions that is answered."""
    risk: float
    """The share of wrong ones among all answers, with one wrong answer added to those seen: few questions promise
    little. An answer to a question that is out of scope is wrong."""


@dataclass(frozen=True, slots=True)
class Scale:
    """The map from logit to probability: rising, linear between its knots, level outside them."""

    logits: tuple[float, ...]
    probabilities: tuple[float, ...]

    def __call__(self, logits: Float64Array) -> Float64Array:
        """float64 [n], from 0 to 1."""
        probabilities: Float64Array = np.interp(logits, self.logits, self.probabilities)
        return probabilities


@dataclass(frozen=True, slots=True)
class Confidence:
    """How far the scores of one way of retrieving can be trusted."""

    scale: Scale
    curve: tuple[RiskCoveragePoint, ...]
    """By falling threshold."""
    clarify: float
    """The probability at which a question is as likely in scope as out of it."""
    ece: float
    """Expected calibration error by cross-validation, ten bins of equal size."""

    def threshold_for(self, target_risk: float) -> float:
        """The lowest threshold whose risk is within the target; `NOTHING_IS_ANSWERED` where none is."""
        return next(
            (point.threshold for point in reversed(self.curve) if point.risk <= target_risk), NOTHING_IS_ANSWERED
        )


@dataclass(frozen=True)
class Calibration:
    """The calibration of a knowledge base in one language."""

    version: str
    """From the content; "default" for what the service comes with."""
    confidences: Mapping[Way, Confidence]
    target_risk: float = 0.02
    in_scope: int = 0
    out_of_scope: int = 0
    from_feedback: int = 0
    fitted_at: datetime | None = None

    @property
    def curve(self) -> tuple[RiskCoveragePoint, ...]:
        """The risk-coverage curve with the model server, by falling threshold."""
        return self.confidences["hybrid"].curve

    @property
    def ece(self) -> float:
        """The expected calibration error with the model server."""
        return self.confidences["hybrid"].ece

    def threshold_for(self, target_risk: float, way: Way = "hybrid") -> float:
        """The lowest threshold whose risk is within the target; above 1 where none is."""
        return self.confidences[way].threshold_for(target_risk)

    @property
    def threshold(self) -> float:
        """Of the target risk in force."""
        return self.thresholds.answer

    @cached_property
    def thresholds(self) -> Thresholds:
        """In force, with the model server."""
        return self._thresholds("hybrid")

    @cached_property
    def thresholds_without_model(self) -> Thresholds:
        """In force, by words alone."""
        return self._thresholds("lexical")

    def thresholds_in(self, degraded: Iterable[str]) -> Thresholds:
        """In force for what was retrieved with this in its `degraded`."""
        return self.thresholds_without_model if "model" in degraded else self.thresholds

    def probabilities(self, logits: Float64Array, way: Way) -> Float64Array:
        """float64 [n]: how probable it is that each is the right article."""
        return self.confidences[way].scale(logits)

    def to_json(self) -> str:
        """All of it, for the store."""
        fields = {each: getattr(self, each) for each in ("version", "target_risk", "in_scope", "out_of_scope")}
        fields |= {"from_feedback": self.from_feedback, "fitted_at": self.fitted_at and self.fitted_at.isoformat()}
        return json.dumps(fields | {"confidences": {way: asdict(each) for way, each in self.confidences.items()}})

    @classmethod
    def from_json(cls, text: str) -> "Calibration":
        """What `to_json` wrote. Raises ValueError for anything else."""
        try:
            fields = json.loads(text)
            fitted_at = fields["fitted_at"] and datetime.fromisoformat(fields["fitted_at"])
            confidences = {way: _confidence(fields["confidences"][way]) for way in WAYS}
            return cls(**fields | {"fitted_at": fitted_at, "confidences": confidences})
        except (KeyError, TypeError) as error:
            raise ValueError(f"this is no calibration: {error!r}") from error

    def _thresholds(self, way: Way) -> Thresholds:
        answer = self.threshold_for(self.target_risk, way)
        return Thresholds(answer, min(self.confidences[way].clarify, answer), self.target_risk)


class Calibrations:
    """The calibrations in force. Written on the event loop alone."""

    def __init__(self, defaults: Mapping[Language, Calibration]) -> None:
        """`defaults` serve the bases that have none of their own yet."""
        self._defaults = defaults
        self._own: dict[tuple[KnowledgeBase, Language], Calibration] = {}
        self._target_risks: dict[tuple[KnowledgeBase, Language], float] = {}
        self._in_force: dict[tuple[KnowledgeBase, Language], Calibration] = {}

    def of(self, base: KnowledgeBase, language: Language) -> Calibration:
        """What counts for the base, at the risk that was chosen for it."""
        place = (base, language)
        kept = self._in_force.get(place)
        if kept is None:
            kept = self._in_force[place] = self.read(base, language)
        return kept

    def read(self, base: KnowledgeBase, language: Language) -> Calibration:
        """The same, for a thread beside the event loop: nothing is kept of it."""
        place = (base, language)
        chosen = self._own.get(place, self._defaults[language])
        return replace(chosen, target_risk=self._target_risks.get(place, chosen.target_risk))

    def put(self, base: KnowledgeBase, language: Language, calibration: Calibration) -> None:
        """Lets a calibration count from now on."""
        self._own[base, language] = calibration
        self._in_force.pop((base, language), None)

    def aim(self, base: KnowledgeBase, language: Language, target_risk: float) -> None:
        """Chooses the share of wrong answers that is accepted, whichever calibration counts."""
        self._target_risks[base, language] = target_risk
        self._in_force.pop((base, language), None)


def fit(examples: Mapping[Way, Sequence[Example]], fitted_at: datetime | None = None) -> Calibration | None:
    """A calibration of each way of retrieving, from the same questions; None where there are too few of them.

    Takes a second or so for ten thousand questions: not on the event loop.
    """
    questions = examples["hybrid"]
    in_scope = sum(each.in_scope for each in questions)
    out_of_scope = len(questions) - in_scope
    if in_scope < FEWEST_IN_SCOPE or out_of_scope < FEWEST_OUT_OF_SCOPE:
        return None
    confidences = {way: confidence(examples[way]) for way in WAYS}
    content = json.dumps({way: asdict(each) for way, each in confidences.items()}, sort_keys=True)
    return Calibration(
        version=hashlib.sha256(content.encode()).hexdigest()[:12],
        confidences=confidences,
        in_scope=in_scope,
        out_of_scope=out_of_scope,
        from_feedback=sum(each.from_feedback for each in questions),
        fitted_at=fitted_at or datetime.now(UTC),
    )


def confidence(examples: Sequence[Example]) -> Confidence:
    """The map, its curve and its error, from questions in scope and out of it.

    Of a logistic map (Platt 1999) and an isotonic one (Zadrozny and Elkan, KDD 2002), the one that has the smaller
    logarithmic loss by cross-validation: the isotonic one needs about a thousand questions to be that.
    """
    logits = np.array([each.logit for each in examples])
    right = np.array([each.top_is_right for each in examples], np.float64)
    in_scope = np.array([each.in_scope for each in examples])
    weights = _weights(examples, in_scope)
    fits = (_logistic, _isotonic)
    out_of_fold = [_out_of_fold(each, logits, right, weights) for each in fits]
    best = int(np.argmin([_loss(each, right, weights) for each in out_of_fold]))
    return Confidence(
        scale=fits[best](logits, right, weights),
        curve=risk_coverage(out_of_fold[best], right, in_scope, weights),
        clarify=_clarify(fits[best](logits, right, weights), logits, in_scope),
        ece=expected_calibration_error(out_of_fold[best], right, weights),
    )


def risk_coverage(
    probabilities: Float64Array, right: Float64Array, in_scope: NDArray[np.bool_], weights: Float64Array
) -> tuple[RiskCoveragePoint, ...]:
    """Coverage and risk of answering from each probability on, all [n]; questions that tie are answered together."""
    order = np.argsort(-probabilities, kind="stable")
    p, w = probabilities[order], weights[order]
    answered = np.cumsum(w)
    wrong = np.cumsum(w * (1.0 - right[order]))
    covered = np.cumsum(w * in_scope[order]) / max(float(weights[in_scope].sum()), 1e-12)
    one_more = float(weights.mean())
    risk = (wrong + one_more) / (answered + one_more)
    last_of_tie = np.flatnonzero(np.append(p[1:] < p[:-1], True))
    kept = last_of_tie[np.unique(np.linspace(0, len(last_of_tie) - 1, MOST_POINTS).astype(np.int64))]
    return tuple(RiskCoveragePoint(float(p[at]), float(covered[at]), float(risk[at])) for at in kept)


def expected_calibration_error(
    probabilities: Float64Array, right: Float64Array, weights: Float64Array | None = None
) -> float:
    """The mean distance between how sure and how right, over ten bins of equal size."""
    weights = np.ones(len(right)) if weights is None else weights
    order = np.argsort(probabilities, kind="stable")
    error = 0.0
    for places in np.array_split(order, BINS):
        if len(places) and (weight := weights[places].sum()):
            gap = np.dot(weights[places], probabilities[places] - right[places]) / weight
            error += abs(float(gap)) * float(weight)
    return error / float(weights.sum())


def _weights(examples: Sequence[Example], in_scope: NDArray[np.bool_]) -> Float64Array:
    """So that `OUT_OF_SCOPE_SHARE` of the whole weight is out of scope; 1 in the mean."""
    weights = np.array([each.weight for each in examples], np.float64)
    shares = ((in_scope, 1.0 - OUT_OF_SCOPE_SHARE), (~in_scope, OUT_OF_SCOPE_SHARE))
    for members, share in shares:
        if weights[members].sum():
            weights[members] *= share / weights[members].sum()
    weights *= len(weights) / weights.sum()
    return weights


def _out_of_fold(fit_scale: Any, logits: Float64Array, right: Float64Array, weights: Float64Array) -> Float64Array:
    """Each question's probability by a map that has not seen it. Folds are the same for the same questions."""
    fold = np.random.default_rng(0).permutation(len(logits)) % FOLDS
    probabilities = np.zeros(len(logits))
    for each in range(FOLDS):
        seen = fold != each
        probabilities[~seen] = fit_scale(logits[seen], right[seen], weights[seen])(logits[~seen])
    return probabilities


def _loss(probabilities: Float64Array, right: Float64Array, weights: Float64Array) -> float:
    p = np.clip(probabilities, 1e-4, 1.0 - 1e-4)
    return float(-np.dot(weights, right * np.log(p) + (1.0 - right) * np.log(1.0 - p)))


def _logistic(logits: Float64Array, right: Float64Array, weights: Float64Array) -> Scale:
    """Sampled at 64 knots over the logits' range: interpolating between them is off by less than .001."""
    slope, intercept = _logistic_line(logits, right, weights)
    knots = np.linspace(logits.min() - 1.0, logits.max() + 1.0, 64)
    return _scale(knots, 1.0 / (1.0 + np.exp(-(slope * knots + intercept))))


def _logistic_line(logits: Float64Array, target: Float64Array, weights: Float64Array) -> tuple[float, float]:
    """Slope, held in [0, STEEPEST], and intercept with the greatest likelihood; targets moved by Platt's prior."""
    positive, negative = float(np.dot(weights, target)), float(np.dot(weights, 1.0 - target))
    smooth = np.where(target > 0.5, (positive + 1.0) / (positive + 2.0), 1.0 / (negative + 2.0))
    centre, spread = float(logits.mean()), float(logits.std()) or 1.0
    x = np.stack([(logits - centre) / spread, np.ones(len(logits))], axis=1)
    line = np.zeros(2)
    for _ in range(50):
        p = 1.0 / (1.0 + np.exp(-np.clip(x @ line, -30.0, 30.0)))
        gradient = x.T @ (weights * (p - smooth)) + 1e-6 * line
        hessian = (x * (weights * np.maximum(p * (1.0 - p), 1e-6))[:, None]).T @ x + 1e-6 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        line -= np.clip(step, -2.0, 2.0)
        if np.abs(step).max() < 1e-9:
            break
    slope = min(max(float(line[0]) / spread, 0.0), STEEPEST)
    return slope, float(line[1]) - slope * centre


def _isotonic(logits: Float64Array, right: Float64Array, weights: Float64Array) -> Scale:
    """A block's knot stands at its mean logit; each block is drawn towards the whole by one question's weight."""
    fitted = rising(logits, right, weights)
    _, block, size = np.unique(fitted, return_inverse=True, return_counts=True)
    weight = np.bincount(block, weights)
    centre = np.bincount(block, weights * logits) / weight
    level = np.bincount(block, weights * right) / weight
    whole = float(np.average(right, weights=weights))
    level = (level * size + whole) / (size + 1.0)
    return _scale(centre, np.maximum.accumulate(level))


def rising(logits: Float64Array, right: Float64Array, weights: Float64Array) -> Float64Array:
    """The rising function of the logit that is nearest to `right` by weighted squares, at each logit: float64 [n].

    Isotonic regression by pooling neighbours that fall (Ayer et al., "An empirical distribution function for sampling
    with incomplete information", 1955). scikit-learn has it too, and with SciPy would be a third of the image.
    """
    distinct, place = np.unique(logits, return_inverse=True)
    weight = np.bincount(place, weights, len(distinct))
    level = np.bincount(place, weights * right, len(distinct)) / weight
    pools: list[tuple[float, float, int]] = []  # level, weight, distinct logits
    for pool in zip(level.tolist(), weight.tolist(), [1] * len(distinct), strict=True):
        while pools and pools[-1][0] >= pool[0]:
            before = pools.pop()
            both = before[1] + pool[1]
            pool = (before[0] * before[1] + pool[0] * pool[1]) / both, both, before[2] + pool[2]
        pools.append(pool)
    fitted: Float64Array = np.repeat([level for level, _, _ in pools], [size for *_, size in pools])[place]
    return fitted


def _scale(logits: Float64Array, probabilities: Float64Array) -> Scale:
    return Scale(tuple(np.round(logits, 6).tolist()), tuple(np.round(probabilities, 6).tolist()))


def _clarify(scale: Scale, logits: Float64Array, in_scope: NDArray[np.bool_]) -> float:
    """Where a question is as likely in scope as not, if as many come of either kind."""
    balanced = np.where(in_scope, 0.5 / max(in_scope.mean(), 1e-9), 0.5 / max(1.0 - in_scope.mean(), 1e-9))
    slope, intercept = _logistic_line(logits, in_scope.astype(np.float64), balanced)
    if slope <= 0.0:
        return MOST_CLARIFY
    return min(float(scale(np.array([-intercept / slope]))[0]), MOST_CLARIFY)


def _confidence(fields: Mapping[str, Any]) -> Confidence:
    return Confidence(
        scale=Scale(tuple(fields["scale"]["logits"]), tuple(fields["scale"]["probabilities"])),
        curve=tuple(RiskCoveragePoint(**point) for point in fields["curve"]),
        clarify=fields["clarify"],
        ece=fields["ece"],
    )
