"""`python -m support.demo.build --banking77 FOLDER`: makes articles.jsonl and questions.jsonl, and checks them.

The articles (articles/*.yaml) and the questions out of scope (out_of_scope.yaml) were written for this project. English
phrasings and calibration questions are drawn from banking77's train.csv (Casanueva et al. 2020, CC BY 4.0), never from
its test.csv: that one measures.
"""

import argparse
import csv
import hashlib
import json
import sys
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from support.knowledge import LANGUAGES, Article, LabelledQuestion, Language

HERE = Path(__file__).parent
SEED = 0
ARTICLES = 77
"""One per intent of banking77."""
TAGS = frozenset(
    {
        *("account", "cards", "cash", "delivery", "disputes", "exchange", "fees", "identity", "limits", "payments"),
        *("pin", "refunds", "security", "timing", "top_up", "transfers", "virtual_cards"),
    }
)
TAGS_PER_ARTICLE = range(2, 5)
PHRASINGS: Mapping[Language, range] = {"en": range(10, 11), "zh": range(6, 21)}
"""How many phrasings of an article are indexed."""
HELD_OUT: Mapping[Language, int] = {"en": 5, "zh": 3}
"""How many questions an article is calibrated with."""
OUT_OF_SCOPE: Mapping[Language, int] = {"en": 60, "zh": 160}
NEAR_MISSES: Mapping[Language, int] = {"en": 20, "zh": 40}
"""At least so many questions out of scope, and so many of them look like one in scope."""
TITLE_CHARACTERS, ANSWER_CHARACTERS, PHRASING_CHARACTERS = 200, 4000, 300
_SENTENCE_GAP: Mapping[Language, str] = {"en": " ", "zh": ""}
_FIELDS = {"article_id", "tags", "title", "answer", "phrasings", "held_out"}


class BaseError(ValueError):
    """The knowledge base cannot be used. The message has a line for each problem, with the article and the field."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Builds and checks both files; 0 when they were written, 1 when something is wrong with what they are made of."""
    parser = argparse.ArgumentParser(prog="python -m support.demo.build", description=__doc__)
    parser.add_argument("--banking77", type=Path, required=True, metavar="FOLDER", help="holds banking77's train.csv")
    try:
        articles, questions = build(parser.parse_args(arguments).banking77)
    except (BaseError, OSError, yaml.YAMLError) as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    write_lines(HERE / "articles.jsonl", map(article_line, articles))
    write_lines(HERE / "questions.jsonl", map(question_line, questions))
    print(counts(articles, questions))  # noqa: T201
    return 0


def build(banking77: Path) -> tuple[list[Article], list[LabelledQuestion]]:
    """Articles in the order of their ids, and questions in that of language, article and text; those checked.

    Raises:
        BaseError: if a source cannot be read, or a check fails.

    """
    written, held_out = read_written(HERE)
    drawn = draw_english(banking77 / "train.csv", _left_out(HERE / "banking77_left_out.yaml"), written)
    if unknown := {article.article_id for article in written} ^ set(drawn):
        raise BaseError(f"article_id: not the intents of {banking77 / 'train.csv'}: {', '.join(sorted(unknown))}")
    articles, questions = [], [*held_out, *read_out_of_scope(HERE / "out_of_scope.yaml")]
    indexed = PHRASINGS["en"].start
    for article in written:
        english = drawn[article.article_id]
        phrasings: dict[Language, tuple[str, ...]] = {"en": english[:indexed], "zh": article.phrasings["zh"]}
        articles.append(replace(article, phrasings=phrasings))
        questions += (LabelledQuestion(text, "en", article.article_id) for text in english[indexed:])
    questions.sort(key=lambda each: (each.language, each.article_id is None, each.article_id or "", each.question))
    if problems := check(articles, questions):
        raise BaseError("\n".join(problems))
    return articles, questions


def check(articles: Sequence[Article], questions: Sequence[LabelledQuestion]) -> list[str]:
    """What is wrong, a line each, with the article and the field; empty when all is well."""
    problems = [] if len(articles) == ARTICLES else [f"articles: {ARTICLES} are expected, {len(articles)} received"]
    for article in articles:
        problems += (f"{article.article_id}: {problem}" for problem in _article_problems(article))
    indexed: dict[str, str] = {}
    for where, text in indexed_texts(articles):
        if (earlier := indexed.setdefault(key(text), where)) != where:
            problems.append(f"{where}: {text!r} is also {earlier}")
    return problems + list(_question_problems(articles, questions, indexed))


def key(text: str) -> str:
    """A text without case, width, whitespace and punctuation: two texts with one key are the same question."""
    folded = unicodedata.normalize("NFKC", text).lower()
    return "".join(letter for letter in folded if unicodedata.category(letter)[0] not in "ZPC")


def read_written(folder: Path) -> tuple[list[Article], list[LabelledQuestion]]:
    """The articles of `folder`/articles/*.yaml, without English phrasings, and the questions held out from them.

    Raises:
        BaseError: if an entry lacks a field, or has one that is not known.

    """
    articles: list[Article] = []
    held_out: list[LabelledQuestion] = []
    for file in sorted((folder / "articles").glob("*.yaml")):
        for entry in yaml.safe_load(file.read_text(encoding="utf-8")):
            article_id = str(entry.get("article_id", f"an article of {file.name}"))
            if wrong := _FIELDS ^ set(entry):
                raise BaseError(f"{article_id}: fields missing or unknown: {', '.join(sorted(wrong))}")
            articles.append(
                Article(
                    article_id=article_id,
                    title=_texts(entry["title"]),
                    answer=_texts(entry["answer"]),
                    phrasings={"zh": tuple(map(str, entry["phrasings"].get("zh", ())))},
                    tags=tuple(entry["tags"]),
                )
            )
            held_out += (LabelledQuestion(str(text), "zh", article_id) for text in entry["held_out"].get("zh", ()))
    return sorted(articles, key=lambda article: article.article_id), held_out


def read_out_of_scope(file: Path) -> list[LabelledQuestion]:
    """The questions that no article answers, which the file groups by language and kind.

    Raises:
        BaseError: if there are too few near misses.

    """
    kinds = yaml.safe_load(file.read_text(encoding="utf-8"))
    for language in LANGUAGES:
        if (near := len(kinds[language]["near_misses"])) < NEAR_MISSES[language]:
            raise BaseError(f"out of scope: {language}.near_misses needs {NEAR_MISSES[language]}, received {near}")
    return [
        LabelledQuestion(str(text), language, None)
        for language in LANGUAGES
        for texts in kinds[language].values()
        for text in texts
    ]


def draw_english(
    train: Path, left_out: Mapping[str, set[str]], written: Iterable[Article]
) -> dict[str, tuple[str, ...]]:
    """Per intent the texts of `train` to index, then those to calibrate with.

    They are drawn by hash, so that leaving one out changes nothing about the others. Texts of two intents, too long
    ones and those equal to a written one are not drawn.

    Raises:
        BaseError: if a column or a text that is left out is not there, or an intent has too few texts.

    """
    texts: dict[str, dict[str, str]] = defaultdict(dict)
    with train.open(encoding="utf-8", newline="") as lines:
        rows = csv.DictReader(lines)
        if missing := {"text", "category"} - set(rows.fieldnames or ()):
            raise BaseError(f"{train}: columns missing: {', '.join(sorted(missing))}")
        for row in rows:
            text = " ".join(row["text"].split())
            texts[row["category"]].setdefault(key(text), text)
    intents = Counter(each for of_intent in texts.values() for each in of_intent)
    taken = {key(text) for _, text in indexed_texts(written)}
    return {
        intent: _drawn(intent, [text for each, text in of_intent.items() if intents[each] == 1 and each not in taken])
        for intent, of_intent in _without(texts, left_out).items()
    }


def article_line(article: Article) -> dict[str, Any]:
    """The import format."""
    return {
        "article_id": article.article_id,
        "tags": list(article.tags),
        "audience": article.audience,
        "valid_from": None,
        "valid_to": None,
        "title": dict(article.title),
        "answer": dict(article.answer),
        "phrasings": {language: list(texts) for language, texts in article.phrasings.items()},
    }


def question_line(question: LabelledQuestion) -> dict[str, Any]:
    """A question and its answer's article; None: out of scope."""
    return {"question": question.question, "language": question.language, "article_id": question.article_id}


def write_lines(file: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    """JSON, one object a line, readable in both languages."""
    file.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")


def counts(articles: Sequence[Article], questions: Sequence[LabelledQuestion]) -> str:
    """A table of how many there are."""
    rows: dict[str, list[int]] = {
        "phrasings, indexed": [sum(len(each.phrasings[language]) for each in articles) for language in LANGUAGES],
        "questions, in scope": [_asked(questions, language, in_scope=True) for language in LANGUAGES],
        "questions, out of scope": [_asked(questions, language, in_scope=False) for language in LANGUAGES],
    }
    heading = f"{len(articles)} articles".ljust(24) + "".join(language.rjust(6) for language in LANGUAGES)
    return "\n".join([heading, *(name.ljust(24) + "".join(f"{n:6}" for n in row) for name, row in rows.items())])


def _asked(questions: Iterable[LabelledQuestion], language: Language, *, in_scope: bool) -> int:
    return sum(each.language == language and (each.article_id is not None) == in_scope for each in questions)


def _texts(of_languages: Mapping[Language, str]) -> dict[Language, str]:
    """A line of the source is a sentence."""
    return {language: _SENTENCE_GAP[language].join(text.split("\n")) for language, text in of_languages.items()}


def _left_out(file: Path) -> dict[str, set[str]]:
    return {intent: set(texts) for intent, texts in (yaml.safe_load(file.read_text(encoding="utf-8")) or {}).items()}


def _without(texts: Mapping[str, Mapping[str, str]], left_out: Mapping[str, set[str]]) -> dict[str, dict[str, str]]:
    for intent, unwanted in left_out.items():
        if unknown := unwanted - set(texts[intent].values()):
            raise BaseError(f"{intent}: left out, but not a text of this intent: {', '.join(sorted(unknown))}")
    return {
        intent: {each: text for each, text in of_intent.items() if text not in left_out.get(intent, ())}
        for intent, of_intent in texts.items()
    }


def _drawn(intent: str, texts: Iterable[str]) -> tuple[str, ...]:
    count = PHRASINGS["en"].start + HELD_OUT["en"]
    short = [text for text in texts if len(text) <= PHRASING_CHARACTERS]
    if len(short) < count:
        raise BaseError(f"{intent}: phrasings.en needs {count} texts to draw from, received {len(short)}")
    return tuple(sorted(short, key=lambda text: hashlib.sha256(f"{SEED} {text}".encode()).digest())[:count])


def _article_problems(article: Article) -> Iterator[str]:
    if len(article.tags) not in TAGS_PER_ARTICLE or not set(article.tags) <= TAGS:
        yield f"tags: 2 to 4 of {', '.join(sorted(TAGS))} are expected, received {', '.join(article.tags)}"
    for language in LANGUAGES:
        yield from _length_problems(f"title.{language}", article.title.get(language, ""), TITLE_CHARACTERS)
        yield from _length_problems(f"answer.{language}", article.answer.get(language, ""), ANSWER_CHARACTERS)
        phrasings, expected = article.phrasings.get(language, ()), PHRASINGS[language]
        if len(phrasings) not in expected:
            limits = f"{expected.start} to {expected.stop - 1}"
            yield f"phrasings.{language}: {limits} are expected, {len(phrasings)} received"
        for text in phrasings:
            yield from _length_problems(f"phrasings.{language}", text, PHRASING_CHARACTERS)


def _length_problems(field: str, text: str, limit: int) -> Iterator[str]:
    if not key(text) or len(text) > limit or not text.isprintable() or text != text.strip():
        yield f"{field}: one line of 1 to {limit} characters is expected, received {len(text)}: {text[:40]!r}"


def indexed_texts(articles: Iterable[Article]) -> Iterator[tuple[str, str]]:
    """Where each text stands that a question is compared with, and the text."""
    for article in articles:
        for language in LANGUAGES:
            yield f"{article.article_id}: title.{language}", article.title.get(language, "")
            for place, text in enumerate(article.phrasings.get(language, ())):
                yield f"{article.article_id}: phrasings.{language}[{place}]", text


def _question_problems(
    articles: Iterable[Article], questions: Iterable[LabelledQuestion], indexed: Mapping[str, str]
) -> Iterator[str]:
    asked: Counter[tuple[str | None, Language]] = Counter()
    seen: set[str] = set()
    for question in questions:
        asked[question.article_id, question.language] += 1
        where = f"{question.article_id or 'out of scope'}: questions.{question.language}"
        yield from _length_problems(where, question.question, PHRASING_CHARACTERS)
        if (each := key(question.question)) in indexed:
            yield f"{where}: {question.question!r} is also {indexed[each]}"
        if each in seen:
            yield f"{where}: {question.question!r} is there twice"
        seen.add(each)
    article_ids = {article.article_id for article in articles}
    for language in LANGUAGES:
        if asked[None, language] < (least := OUT_OF_SCOPE[language]):
            yield f"out of scope: questions.{language}: {least} are expected, {asked[None, language]} received"
        for article_id in sorted(article_ids):
            if (count := asked[article_id, language]) != HELD_OUT[language]:
                yield f"{article_id}: questions.{language}: {HELD_OUT[language]} are expected, {count} received"
    for article_id in sorted({each for each, _ in asked if each is not None} - article_ids):
        yield f"{article_id}: questions: there is no such article"


if __name__ == "__main__":
    sys.exit(main())
