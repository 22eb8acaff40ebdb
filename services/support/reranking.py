"""What a candidate's scores say together: a fitted logistic combination of a dozen numbers, by language.

Fitted by `python -m support.training fit`; the coefficients and what they were fitted on stand in `reranking.json`.
Scores of two languages are made by different encoders and are only comparable once they are probabilities
(calibration.py).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from support.calibration import DEFAULT_VERSION, WAYS, Calibration, Way
from support.knowledge import LANGUAGES, Language
from support.ports import Float32Array

SHIPPED = Path(__file__).with_name("reranking.json")

LEXICAL_FEATURES = (
    "lexical",  # BM25 of the best phrasing, as a share of what is attainable
    "lexical_margin",  # the same less the best of the others
    "overlap",  # of the tokens of question and best phrasing, those that both have
    "length",  # log(1 + tokens of the question)
    "phrasings",  # log(phrasings of the article)
)
HYBRID_FEATURES = (
    *LEXICAL_FEATURES,
    "dense",  # cosine of the best phrasing
    "dense_margin",
    "neighbours",  # mean cosine of the article's three best phrasings
    "neighbours_margin",
    "centre",  # cosine of the mean of the article's phrasings
    "centre_margin",
    "fused",  # both scores, scaled to the question's range
)
FEATURES: Mapping[Way, tuple[str, ...]] = {"hybrid": HYBRID_FEATURES, "lexical": LEXICAL_FEATURES}


@dataclass(frozen=True, slots=True)
class Combination:
    """A logistic combination of features."""

    weights: Float32Array
    """float32 [features], on features as they come."""
    intercept: float

    def logits(self, features: Float32Array) -> Float32Array:
        """float32 [n] of float32 [n, features]."""
        logits: Float32Array = features @ self.weights + np.float32(self.intercept)
        return logits


@dataclass(frozen=True, slots=True)
class Reranker:
    """The combinations in force, and the share that words have in the fused score, by language."""

    version: str
    combinations: Mapping[tuple[Language, Way], Combination]
    lexical_shares: Mapping[Language, float]

    def logits(self, features: Float32Array, language: Language, way: Way) -> Float32Array:
        """float32 [n]: greater is likelier to be the article that answers."""
        return self.combinations[language, way].logits(features)


def margin(scores: Float32Array) -> Float32Array:
    """Each score less the best of the others; a single one keeps what it has."""
    if len(scores) < 2:
        return scores.copy()
    second, best = np.partition(scores, -2)[-2:]
    ahead: Float32Array = scores - np.where(scores == best, second, best)
    return ahead


def shipped(path: Path = SHIPPED) -> tuple[Reranker, dict[Language, Calibration]]:
    """The reranker that the service comes with, and the calibrations of bases that have none of their own."""
    content = json.loads(path.read_text())
    combinations = {
        (language, way): _combination(content["combinations"][language][way], FEATURES[way])
        for language in LANGUAGES
        for way in WAYS
    }
    shares = {language: float(content["lexical_shares"][language]) for language in LANGUAGES}
    defaults = {
        language: Calibration.from_json(json.dumps(content["calibrations"][language] | {"version": DEFAULT_VERSION}))
        for language in LANGUAGES
    }
    return Reranker(content["version"], combinations, shares), defaults


def _combination(fields: Mapping[str, Any], names: Sequence[str]) -> Combination:
    weights = np.array([fields["weights"][name] for name in names], np.float32)
    return Combination(weights, float(fields["intercept"]))
