"""Retrieval on public sets, beside floors and published figures: the code that serves, without the network between."""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from encoders.training import data, measures
from encoders.training.data import DataError, Pairs
from encoders.training.evaluation import SHOT_SEEDS, SHOTS, aligned
from support import calibration
from support.calibration import Calibration, Example, Float64Array, Way
from support.demo.follow_ups import read_follow_ups
from support.encoding import MODELS
from support.knowledge import Candidate, LabelledQuestion, Language, Retrieved
from support.reranking import Reranker
from support.settings import SupportSettings
from support.training import follow_ups, sets
from support.training.in_process import InProcessEncoder
from support.training.sets import Faq
from support.training.workbench import Workbench

TARGET_RISK = 0.02
OUT_OF_SCOPE_RECALL = 0.75
"""What is to be reached on CLINC150."""
LEGS: Mapping[str, Callable[[Candidate], float]] = {
    "BM25": lambda each: each.scores.lexical,
    "dense": lambda each: each.scores.dense,
    "fused": lambda each: each.scores.fused,
    "hybrid": lambda each: each.scores.reranked,
}
"""Orders of the same candidates, which hold the ten best of each search."""
NOTHING_FOUND = -13.0
"""Stands for the logit of a question for which nothing was found: below all others."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Measured:
    """One line of the table."""

    data: str
    measure: str
    n: int
    encoder: str
    value: float
    floor: str = ""
    """What is known of others, or of less."""
    reach: str = ""


@dataclass(frozen=True, slots=True)
class Setting:
    """What is measured, and where its data are."""

    folder: Path
    encoder: InProcessEncoder
    name: str
    """Of the encoder: "<model>/<version>"."""
    reranker: Reranker
    defaults: dict[Language, Calibration]
    line: Callable[..., Measured] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "line", self._line)

    @property
    def language(self) -> Language:
        """Of the encoder."""
        return "zh" if self.name.startswith(MODELS["zh"]) else "en"

    def _line(self, data: str, measure: str, n: int, value: float, floor: str = "", reach: str = "") -> Measured:
        return Measured(data, measure, n, self.name, round(value, 4), floor, reach)

    async def asked(self, faq: Faq, way: Way = "hybrid") -> list[Retrieved]:
        """What is retrieved for the questions of a base."""
        bench = await Workbench(self.encoder, self.reranker, self.defaults, faq.articles).open()
        return await bench.retrieved(faq.questions, by_words_alone=way == "lexical")


async def banking77(setting: Setting) -> list[Measured]:
    """Every training phrasing is in the index; a question of the test should find its intent."""
    faq = sets.banking77(setting.folder)
    found = await setting.asked(faq)
    lines = []
    for leg, floors in {
        "BM25": {},
        "dense": {},
        "fused": {},
        "hybrid": {1: (".920", ".940"), 5: (".990", ".993")},
    }.items():
        for count in (1, 5):
            floor, reach = floors.get(count, ("", ""))
            value = recall(found, faq.questions, leg, count)
            lines.append(setting.line("banking77 as FAQ", f"{leg} R@{count}", len(found), value, floor, reach))
    return lines


async def few_shot(setting: Setting) -> list[Measured]:
    """Ten phrasings of each intent, the mean of three draws; not with an encoder that has learnt from all of them."""
    if "banking77" in setting.encoder.trained_on("en"):
        return []
    values = []
    for seed in SHOT_SEEDS:
        faq = sets.banking77_few(setting.folder, seed)
        values.append(recall(await setting.asked(faq), faq.questions, "hybrid", 1))
    name = f"banking77, {SHOTS} phrasings an intent, mean of {len(values)} draws"
    return [setting.line(name, "hybrid accuracy", len(faq.questions), float(np.mean(values)), ".854", ".87")]


async def clinc150(setting: Setting) -> list[Measured]:
    """A threshold and a calibration from validation, measured on the test."""
    validation, test = sets.clinc150_to_fit(setting.folder), sets.clinc150(setting.folder)
    known = outcomes(await setting.asked(validation), validation.questions)
    seen = outcomes(await setting.asked(test), test.questions)
    # The threshold by the validation part alone: 3,000 questions in scope and 100 out of it.
    chosen = known.first(len(data.clinc150(setting.folder).validation) + 100)
    threshold = best_threshold(chosen)
    inside, answered = seen.in_scope, seen.logits >= threshold
    lines = [
        ("in-scope accuracy", int(inside.sum()), (seen.right & answered)[inside].mean(), ".942", ".962"),
        ("out-of-scope recall", int((~inside).sum()), (~answered)[~inside].mean(), ".712", ".75"),
        ("AUROC", len(inside), area(seen), ".962", ".97"),
        ("in-scope accuracy, nothing refused", int(inside.sum()), seen.right[inside].mean(), "", ""),
        (
            f"in-scope accuracy at an out-of-scope recall of {OUT_OF_SCOPE_RECALL:.2f}, on the test's own curve",
            int(inside.sum()),
            accuracy_at(seen, OUT_OF_SCOPE_RECALL),
            "",
            "",
        ),
    ]
    fitted = calibration.confidence(known.examples())
    probabilities = fitted.scale(seen.logits)
    error = calibration.expected_calibration_error(probabilities, seen.right.astype(np.float64))
    lines.append(("calibration error (ECE)", len(inside), error, "", "≤ .03"))
    at = probabilities >= fitted.threshold_for(TARGET_RISK)
    risk = float((at & ~seen.right).sum() / max(at.sum(), 1))
    lines += [
        ("at the threshold for 2 % from validation: risk", int(at.sum()), risk, "", ""),
        ("at the threshold for 2 % from validation: coverage", int(inside.sum()), at[inside].mean(), "", ""),
        (
            "coverage at 2 % wrong, on the test's own curve",
            int(inside.sum()),
            coverage_at(seen, TARGET_RISK),
            "",
            "≥ .85",
        ),
    ]
    return [setting.line("CLINC150", name, n, float(value), floor, reach) for name, n, value, floor, reach in lines]


async def scifact(setting: Setting) -> list[Measured]:
    """Abstracts as articles, claims as questions."""
    documents = sets.scifact(setting.folder)
    asked = tuple(LabelledQuestion(text, "en", query) for query, text in documents.queries.items())
    found = await setting.asked(Faq("SciFact", "en", documents.articles, asked))
    floors = {"BM25": (".676", ""), "dense": (".645", ""), "hybrid": (".7185", "≥ .7185")}
    lines = []
    for leg in LEGS:
        ranked = [ordered(each, leg) for each in found]
        gains = [documents.relevant[question.article_id or ""] for question in asked]
        value = float(np.mean([gain_at_ten(each, gain) for each, gain in zip(ranked, gains, strict=True)]))
        lines.append(setting.line("SciFact", f"{leg} nDCG@10", len(asked), value, *floors.get(leg, ("", ""))))
    return lines


async def bq(setting: Setting) -> list[Measured]:
    """Bank customers' questions in Chinese."""
    pairs = await spearman(setting, "BQ, test", data.bq(setting.folder, "test"), ".450; bge-large-zh .629", "≥ .62")
    return [*pairs, *await chinese_faq(setting, "BQ as FAQ", sets.bq(setting.folder), {5: (".371", "≥ .42")})]


async def lcqmc(setting: Setting) -> list[Measured]:
    """Questions about anything in Chinese: the half of the validation file that nothing is trained on."""
    _, second = data.lcqmc_halves(setting.folder)
    pairs = await spearman(setting, "LCQMC, half", second, ".723; bge-large-zh .755", "≥ .76")
    return [
        *pairs,
        *await chinese_faq(setting, "LCQMC, half, as FAQ", sets.lcqmc(setting.folder), {1: ("", "above both")}),
    ]


async def demo(setting: Setting) -> list[Measured]:
    """The demo's own questions. Coefficients were fitted to them too: a sanity check, not a proof."""
    language = setting.language
    return await chinese_faq(setting, f"demo, {language} (fitted to)", [sets.demo(language)], {})


async def demo_follow_ups(setting: Setting) -> list[Measured]:
    """The demo's base as it serves: calibrated on its own questions, at the risk that it is seeded with.

    Nothing was fitted to the follow-ups, but they are few: of thirty, two more or less are chance.
    """
    faq = sets.demo(setting.language)
    bench = await Workbench(setting.encoder, setting.reranker, setting.defaults, faq.articles).open()
    await bench.calibrate(faq.questions, SupportSettings.model_fields["seed_target_risk"].default)
    asked = [each for each in read_follow_ups() if each.language == setting.language]
    heard = await follow_ups.hear(bench.retriever, bench.bases, bench.calibrations, bench.base, asked)
    name = f"demo, {setting.language}, follow-ups"
    return [
        setting.line(f"{name} {each.of}", each.measure, each.n, each.value, each.floor, each.reach)
        for each in follow_ups.shares(heard)
    ]


async def chinese_faq(
    setting: Setting, name: str, folds: Sequence[Faq], known: Mapping[int, tuple[str, str]]
) -> list[Measured]:
    """R@1 and R@5 of every order of the same candidates."""
    found: list[Retrieved] = []
    questions: list[LabelledQuestion] = []
    for faq in folds:
        inside = tuple(each for each in faq.questions if each.article_id is not None)
        found += await setting.asked(replace(faq, questions=inside))
        questions += inside
    lines = []
    for leg in LEGS:
        for count in (1, 5):
            floor, reach = known.get(count, ("", "")) if leg == "hybrid" else ("", "")
            value = recall(found, questions, leg, count)
            lines.append(setting.line(name, f"{leg} R@{count}", len(found), value, floor, reach))
    words, hybrid = recall(found, questions, "BM25", 1), recall(found, questions, "hybrid", 1)
    return [*lines, setting.line(name, "hybrid less BM25, R@1", len(found), hybrid - words, "0", "≥ 0")]


async def spearman(setting: Setting, name: str, pairs: Pairs, floor: str, reach: str) -> list[Measured]:
    """Of the cosines of pairs, by vectors less their mean, with whether both ask the same."""
    one, _ = await setting.encoder.encode(pairs.first, "zh")
    another, _ = await setting.encoder.encode(pairs.second, "zh")
    values = measures.pair_correlations(one, another, pairs.same)
    return [setting.line(name, measure, len(pairs), value, floor, reach) for measure, value in values.items()]


ENGLISH: Sequence[Callable[[Setting], Awaitable[list[Measured]]]] = (
    banking77,
    few_shot,
    clinc150,
    scifact,
    demo,
    demo_follow_ups,
)
CHINESE: Sequence[Callable[[Setting], Awaitable[list[Measured]]]] = (bq, lcqmc, demo, demo_follow_ups)


def evaluate(settings: Sequence[Setting]) -> Iterator[Measured]:
    """Every line, as it is known. A set that is not there is left out, and said."""
    for setting in settings:
        for part in CHINESE if setting.language == "zh" else ENGLISH:
            try:
                yield from asyncio.run(part(setting))  # type: ignore[arg-type]
            except (DataError, OSError) as error:
                _log.warning("NOT MEASURED: %s with %s: %s", part.__name__, setting.name, error)


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What became of questions: arrays [n]."""

    logits: Float64Array
    right: "np.ndarray[tuple[int], np.dtype[np.bool_]]"
    in_scope: "np.ndarray[tuple[int], np.dtype[np.bool_]]"

    def first(self, count: int) -> "Outcomes":
        """Of the first questions."""
        return Outcomes(self.logits[:count], self.right[:count], self.in_scope[:count])

    def examples(self) -> list[Example]:
        """As a calibration takes them."""
        columns = (self.logits.tolist(), self.right.tolist(), self.in_scope.tolist())
        return [Example(*each) for each in zip(*columns, strict=True)]


def outcomes(found: Sequence[Retrieved], questions: Sequence[LabelledQuestion]) -> Outcomes:
    """By the best candidate of each."""
    tops = [next(iter(each.candidates), None) for each in found]
    return Outcomes(
        np.array([NOTHING_FOUND if top is None else top.scores.reranked for top in tops]),
        np.array(
            [
                top is not None and top.article.article_id == each.article_id
                for top, each in zip(tops, questions, strict=True)
            ]
        ),
        np.array([each.article_id is not None for each in questions]),
    )


def best_threshold(known: Outcomes) -> float:
    """The logit from which to answer with the most right: see `measures.best_threshold`."""
    inside = known.in_scope
    return measures.best_threshold(known.logits[inside], known.right[inside], known.logits[~inside])


def coverage_at(seen: Outcomes, risk: float) -> float:
    """The greatest share of in-scope questions that is answered with so many wrong ones among all answers.

    Questions that tie are answered together, or not at all.
    """
    _, place = np.unique(-seen.logits, return_inverse=True)
    answered, wrong, covered = (
        np.cumsum(np.bincount(place, each)) for each in (np.ones(len(place)), ~seen.right, seen.in_scope)
    )
    return float(covered[wrong <= risk * answered].max(initial=0.0) / seen.in_scope.sum())


def accuracy_at(seen: Outcomes, recall: float) -> float:
    """The share of in-scope questions answered rightly at the lowest threshold that refuses `recall` of those out of
    scope.

    A question at the threshold itself is refused.
    """
    outside = np.sort(seen.logits[~seen.in_scope])
    refused = math.ceil(recall * len(outside))  # the lowest so many
    threshold = -math.inf if refused == 0 else np.nextafter(outside[refused - 1], math.inf)
    return float((seen.right & (seen.logits >= threshold))[seen.in_scope].mean())


def area(seen: Outcomes) -> float:
    """The probability that a question in scope scores above one out of it."""
    logits = seen.logits.astype(np.float32)
    return measures.auroc(logits[seen.in_scope], logits[~seen.in_scope])


def recall(found: Sequence[Retrieved], questions: Sequence[LabelledQuestion], leg: str, count: int) -> float:
    """The share of questions whose article is among the `count` best; a tie counts for its share."""
    score, total = LEGS[leg], 0.0
    for each, question in zip(found, questions, strict=True):
        scores = {candidate.article.article_id: score(candidate) for candidate in each.candidates}
        own = scores.get(question.article_id or "")
        if own is not None and (own > 0.0 or leg in ("hybrid", "dense")):
            better = sum(other > own for other in scores.values())
            equal = sum(other == own for other in scores.values()) - 1
            total += min(max((count - better) / (1 + equal), 0.0), 1.0)
    return total / len(questions)


def ordered(found: Retrieved, leg: str) -> list[str]:
    """The article ids in the order of one leg."""
    return [each.article.article_id for each in sorted(found.candidates, key=LEGS[leg], reverse=True)]


def gain_at_ten(ranked: Sequence[str], gains: Mapping[str, int]) -> float:
    """The normalised discounted cumulative gain of the first ten."""
    discounts = 1.0 / np.log2(np.arange(2, 12))
    got = float(np.dot([gains.get(each, 0) for each in ranked[:10]], discounts[: len(ranked[:10])]))
    best = sorted(gains.values(), reverse=True)[:10]
    return got / float(np.dot(best, discounts[: len(best)]))


def table(lines: Sequence[Measured]) -> str:
    """The lines in columns."""
    rows = [["data", "measure", "n", "known floor", "to reach", "encoder", "value"]]
    rows += [
        [each.data, each.measure, f"{each.n:,}", each.floor, each.reach, each.encoder, f"{each.value:.4f}"]
        for each in lines
    ]
    return aligned(rows)
