"""Data sets as knowledge bases and the questions that are asked of them.

Questions that a model, a coefficient or a threshold was chosen by are never those that are reported on: `fit` and the
tests' thresholds take training and validation parts, `evaluate` the test parts.
"""

import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from encoders.training import data
from encoders.training.data import DataError, Pairs, Phrasings
from encoders.training.evaluation import SHOTS
from support import seed
from support.knowledge import Article, LabelledQuestion, Language
from support.settings import DEMO

FOLDS = 10
"""Questions of a group that are asked at most, each of a base that lacks it."""
MOST_QUESTIONS = 6_000
"""Of a corpus of pairs as a base of questions."""


@dataclass(frozen=True, slots=True)
class Faq:
    """A knowledge base in one language, and questions to it."""

    name: str
    language: Language
    articles: tuple[Article, ...]
    questions: tuple[LabelledQuestion, ...]


@dataclass(frozen=True, slots=True)
class Documents:
    """A collection to search, queries, and which documents are relevant to each."""

    articles: tuple[Article, ...]
    queries: Mapping[str, str]
    relevant: Mapping[str, Mapping[str, int]]
    """By query: the gain of each document that has one."""


def banking77(folder: Path) -> Faq:
    """The index is every training phrasing, the questions are the test's."""
    train, test = data.banking77(folder)
    return Faq("banking77", "en", articles(train, "en"), questions(test, "en"))


def banking77_few(folder: Path, seed: int) -> Faq:
    """The index is ten training phrasings an intent."""
    train, test = data.banking77(folder)
    return Faq("banking77, 10 an intent", "en", articles(train.few(SHOTS, seed), "en"), questions(test, "en"))


def banking77_to_fit(folder: Path) -> list[Faq]:
    """Of the training file: the part that encoders are not trained on, asked of the rest, and of ten phrasings an
    intent of it."""
    train, _ = data.banking77(folder)
    rest, held = train.split_by_text()
    asked = questions(held, "en")
    return [
        Faq("banking77, held out", "en", articles(rest, "en"), asked),
        Faq("banking77, held out, 10 an intent", "en", articles(rest.few(SHOTS, 0), "en"), asked),
    ]


def clinc150_to_fit(folder: Path) -> Faq:
    """The index is the training part; the validation part is asked, and all that is out of scope and no test."""
    clinc = data.clinc150(folder)
    outside = questions_out_of_scope((*clinc.out_validation, *clinc.out_train), "en")
    return Faq("CLINC150", "en", articles(clinc.train, "en"), (*questions(clinc.validation, "en"), *outside))


def clinc150(folder: Path) -> Faq:
    """The index is the training part; the test part is asked."""
    clinc = data.clinc150(folder)
    outside = questions_out_of_scope(clinc.out_test, "en")
    return Faq("CLINC150", "en", articles(clinc.train, "en"), (*questions(clinc.test, "en"), *outside))


def demo(language: Language) -> Faq:
    """The demo's base and its own questions, which are there to calibrate with."""
    asked = tuple(each for each in seed.read_questions(DEMO / "questions.jsonl") if each.language == language)
    return Faq(f"demo, {language}", language, tuple(seed.read_articles(DEMO / "articles.jsonl")), asked)


def demo_few(language: Language, phrasings: int) -> Faq:
    """The same with so many phrasings an article, and the others asked as well: bases are not all rich."""
    whole = demo(language)
    few, asked = [], list(whole.questions)
    for each in whole.articles:
        own = each.phrasings[language]
        few.append(article(each.article_id, language, own[:phrasings]))
        asked += [LabelledQuestion(text, language, each.article_id) for text in own[phrasings:]]
    return Faq(f"{whole.name}, {phrasings} an article", language, tuple(few), tuple(asked))


def bq(folder: Path) -> list[Faq]:
    """The BQ corpus as a base of questions; those of its test file are asked."""
    valid, test = data.bq(folder, "valid"), data.bq(folder, "test")
    both = Pairs(valid.first + test.first, valid.second + test.second, valid.same + test.same)
    seen = {*valid.first, *valid.second}
    return folds("BQ", both, [each for each in dict.fromkeys((*test.first, *test.second)) if each not in seen])


def lcqmc(folder: Path) -> list[Faq]:
    """The second half of LCQMC's validation file as a base of questions."""
    _, second = data.lcqmc_halves(folder)
    return folds("LCQMC", second, list(dict.fromkeys((*second.first, *second.second))))


def folds(name: str, pairs: Pairs, askable: Sequence[str]) -> list[Faq]:
    """Questions that positive pairs connect are an article. Each question that is asked is not in the base it is asked
    of.

    Groups are incomplete: two articles may ask the same. Single questions are articles too, that nothing is asked
    about.
    """
    joined = data.Groups()
    for one, another, same in zip(pairs.first, pairs.second, pairs.same, strict=True):
        joined.of(one), joined.of(another)
        if same:
            joined.join(one, another)
    groups: dict[str, list[str]] = {}
    for question in dict.fromkeys((*pairs.first, *pairs.second)):
        groups.setdefault(joined.of(question), []).append(question)
    asked: list[dict[str, str]] = [{} for _ in range(FOLDS)]
    left, may_be_asked = MOST_QUESTIONS, set(askable)
    for group, members in groups.items():
        candidates = [each for each in members if each in may_be_asked] if len(members) > 1 else []
        for fold, question in zip(asked, candidates[: min(FOLDS, left)], strict=False):
            fold[question] = group
            left -= 1
    return [
        Faq(
            name,
            "zh",
            tuple(
                article(group, "zh", [each for each in members if each not in fold])
                for group, members in groups.items()
                if any(each not in fold for each in members)
            ),
            tuple(LabelledQuestion(question, "zh", group) for question, group in fold.items()),
        )
        for fold in asked
        if fold
    ]


def scifact(folder: Path, part: str = "test") -> Documents:
    """BEIR's SciFact: claims, and the abstracts that support or refute them."""
    here = folder / "scifact"
    documents = _lines(here / "corpus.jsonl.gz")
    queries = {each["_id"]: each["text"] for each in _lines(here / "queries.jsonl")}
    relevant: dict[str, dict[str, int]] = {}
    for line in (here / f"qrels-{part}.tsv").read_text().splitlines()[1:]:
        query, document, gain = line.split("\t")
        relevant.setdefault(query, {})[document] = int(gain)
    return Documents(
        tuple(article(each["_id"], "en", [f"{each['title']}. {each['text']}"]) for each in documents),
        {query: queries[query] for query in relevant},
        relevant,
    )


def articles(phrasings: Phrasings, language: Language) -> tuple[Article, ...]:
    """An article for each intent."""
    texts: dict[str, list[str]] = {}
    for text, intent in zip(phrasings.texts, phrasings.intents, strict=True):
        texts.setdefault(intent, []).append(text)
    return tuple(article(intent, language, own) for intent, own in sorted(texts.items()))


def article(name: str, language: Language, phrasings: Sequence[str]) -> Article:
    """An article that is found by its phrasings alone."""
    return Article(name, {language: phrasings[0]}, {language: name}, {language: tuple(phrasings)}, revision=1)


def questions(phrasings: Phrasings, language: Language) -> tuple[LabelledQuestion, ...]:
    """What is asked, and the intents that answer."""
    pairs = zip(phrasings.texts, phrasings.intents, strict=True)
    return tuple(LabelledQuestion(text, language, intent) for text, intent in pairs)


def questions_out_of_scope(texts: Iterable[str], language: Language) -> tuple[LabelledQuestion, ...]:
    """What nothing answers."""
    return tuple(LabelledQuestion(text, language, None) for text in texts)


def _lines(file: Path) -> list[dict[str, str]]:
    try:
        content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        return [json.loads(line) for line in content.splitlines()]
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read: {error}") from error
