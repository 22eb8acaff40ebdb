"""What a candidate's scores say together: how probable it is that this article, of all that there are, answers.

Two fitted models, each a linear combination of a few numbers, stand behind a logit. One ranks: a softmax over the
candidates of a question (McFadden's conditional logit, 1974) says which article it is if it is any. One looks at the
best of them and says whether it is any. Their product is the probability, before it is calibrated. One model for both
did worse: what tells two articles apart (a small margin) is not what tells that neither fits (a low score); see
README.md for the figures.

Fitted by `python -m support.training fit`; the coefficients and what they were fitted on stand in `reranking.json`.
They belong to an encoder. Scores of two languages are comparable only once they are probabilities (calibration.py).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from support.calibration import DEFAULT_VERSION, Calibration, Way
from support.knowledge import LANGUAGES, Language
from support.ports import Float32Array

SHIPPED = Path(__file__).with_name("reranking.json")

FEATURES = (
    "lexical",  # BM25 of the best phrasing, as a share of what is attainable
    "overlap",  # of the tokens of the question and of the best phrasing, the share that both have
    "length",  # log(1 + tokens of the question)
    "dense",  # cosine of the best phrasing
    "neighbours",  # mean cosine of the article's three best phrasings
    "centre",  # cosine of the mean of the article's phrasings
    "discriminant",  # log-probability of the article among the candidates, by the discriminant of its base
)
"""The columns of a candidate's features. Those from `dense` on are 0 without the model server."""
RANKING: Mapping[Way, tuple[str, ...]] = {
    "hybrid": ("lexical", "overlap", "dense", "neighbours", "centre", "discriminant"),
    "lexical": ("lexical",),
}
"""What the first model looks at, of every candidate."""
SCOPE: Mapping[Way, tuple[str, ...]] = {
    "hybrid": ("lexical", "dense", "neighbours", "centre"),
    "lexical": ("lexical", "overlap", "length"),
}
"""What the second model looks at, of the best candidate."""
COSINES = ("dense", "neighbours", "centre")
"""Those of the features that are cosines: one number where an article has one text."""
FURTHEST = 12.0
"""Logits are held within: more than 1 in 160,000 nobody has measured."""


@dataclass(frozen=True, slots=True)
class Combination:
    """The coefficients of one encoder's language in one way of retrieving, on all of `FEATURES`: float32 [features]."""

    ranking: Float32Array
    scope: Float32Array
    scope_intercept: float

    def logits(self, features: Float32Array) -> Float32Array:
        """Each candidate's (float32 [n]), from the features of all candidates of a question (float32 [n, features])."""
        if not len(features):
            return np.zeros(0, np.float32)
        ranked = (features @ self.ranking).astype(np.float64)
        ranked -= ranked.max()
        share = np.exp(ranked) / np.exp(ranked).sum()
        in_scope = 1.0 / (1.0 + np.exp(-self.scope_logit(features[int(ranked.argmax())])))
        probability = np.clip(share * in_scope, 1e-9, 1.0 - 1e-9)
        logits: Float32Array = (np.log(probability) - np.log1p(-probability)).astype(np.float32)
        return np.clip(logits, -FURTHEST, FURTHEST)

    def scope_logit(self, best: Float32Array) -> float:
        """That any article answers, by the features of the best candidate."""
        return float(best @ self.scope) + self.scope_intercept

    def of_long_texts(self, words: float) -> "Combination":
        """The same for long texts: `words` is the weight of words where that of meaning, all cosines together, is 1.

        A long text stands for its article by itself: the cosines of the nearest few, of the centre and of the best are
        one number there, which the weights of all three would count three times.
        """
        meaning = float(sum(self.ranking[FEATURES.index(name)] for name in COSINES))
        return replace(self, ranking=_weights({"lexical": words * meaning, "dense": meaning}))


@dataclass(frozen=True, slots=True)
class LongTexts:
    """What ranks in a base of documents, which `Combination` was not fitted to."""

    least_tokens: float
    """Of a phrasing in the mean: from there on a language's texts are long."""
    words: float
    """What words weigh; meaning weighs 1."""


@dataclass(frozen=True, slots=True)
class Reranker:
    """The combinations in force."""

    version: str
    by_words: Mapping[Language, Combination]
    by_encoder: Mapping[str, Combination]
    """By "<model>/<version>"."""
    lexical_shares: Mapping[Language, float]
    """What words weigh in the fused score."""
    long_texts: Mapping[Language, LongTexts] = field(default_factory=dict)
    """A language that is not there ranks long texts as it ranks questions."""

    def logits(
        self, features: Float32Array, language: Language, encoder: str, text_length: float = 0.0
    ) -> Float32Array:
        """float32 [n]: greater is likelier to be the article that answers. `encoder` is empty without the model server.

        `text_length`: tokens of a phrasing of the base in the mean. A version that nothing was fitted to is taken for
        the newest one of its model that something was.
        """
        return self.combination(language, encoder, text_length).logits(features)

    def combination(self, language: Language, encoder: str, text_length: float = 0.0) -> Combination:
        """The one in force."""
        if not encoder:
            return self.by_words[language]
        known = self.by_encoder.get(encoder)
        if known is None:
            model = encoder.rpartition("/")[0]
            known = [each for name, each in self.by_encoder.items() if name.rpartition("/")[0] == model][-1]
        long = self.long_texts.get(language)
        return known if long is None or text_length < long.least_tokens else known.of_long_texts(long.words)


def shipped(path: Path = SHIPPED) -> tuple[Reranker, dict[Language, Calibration]]:
    """The reranker that the service comes with, and the calibrations of bases that have none of their own."""
    content = json.loads(path.read_text())
    reranker = Reranker(
        version=content["version"],
        by_words={language: _combination(content["by_words"][language]) for language in LANGUAGES},
        by_encoder={name: _combination(fields) for name, fields in content["by_encoder"].items()},
        lexical_shares={language: float(content["lexical_shares"][language]) for language in LANGUAGES},
        long_texts={language: LongTexts(**fields) for language, fields in content["long_texts"].items()},
    )
    defaults = {
        language: Calibration.from_json(json.dumps(content["calibrations"][language] | {"version": DEFAULT_VERSION}))
        for language in LANGUAGES
    }
    return reranker, defaults


def _combination(fields: Mapping[str, Any]) -> Combination:
    return Combination(_weights(fields["ranking"]), _weights(fields["scope"]), float(fields["scope_intercept"]))


def _weights(fields: Mapping[str, float]) -> Float32Array:
    return np.array([fields.get(name, 0.0) for name in FEATURES], np.float32)
