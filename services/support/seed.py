"""Loads a knowledge base: articles, and the labelled questions that calibrate it.

It may run again at any time: articles that are there stay as they are, whatever somebody has made of them since, and
so do labels.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import Message

from casebook.support.v1 import knowledge_pb2 as pb
from chassis import logs
from chassis.errors import InvalidField
from support.articles import checked_article, checked_language
from support.knowledge import Article, KnowledgeBase, LabelledQuestion
from support.store import Store

BATCH = 500

T = TypeVar("T")
M = TypeVar("M", bound=Message)

_log = logs.logger(__name__)


async def seed(
    store: Store,
    base: KnowledgeBase,
    articles: Sequence[Article],
    questions: Sequence[LabelledQuestion],
    target_risk: float,
) -> None:
    """Adds what is missing. Raises Unavailable where PostgreSQL does not answer."""
    await store.choose_missing_target_risk(base, target_risk, "seed")
    added = sum([len(await store.add_missing_articles(base, batch)) for batch in _batches(articles)])
    _log.info("articles added", base=base.name, added=added, already_there=len(articles) - added)
    labelled = sum([await store.add_missing_questions(base, batch) for batch in _batches(questions)])
    _log.info("labelled questions added", base=base.name, added=labelled)


def read_articles(path: Path) -> list[Article]:
    """The articles of a JSONL file. Raises InvalidField, naming the line."""
    return [checked_article(_parsed(line, pb.Article(), place), place) for place, line in _lines(path)]


def read_questions(path: Path) -> list[LabelledQuestion]:
    """The labelled questions of a JSONL file; one without an article is out of scope. Raises InvalidField."""
    questions = []
    for place, line in _lines(path):
        message = _parsed(line, pb.LabelledQuestion(), place)
        language = checked_language(message.language, f"{place}.language")
        questions.append(LabelledQuestion(message.question, language, message.article_id or None))
    return questions


def _lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        place = f"{path.name}, line {number}"
        try:
            yield place, json.loads(line)
        except ValueError as error:
            raise InvalidField(place, f"is no JSON: {error}") from None


def _parsed(fields: dict[str, Any], message: M, place: str) -> M:
    try:
        return ParseDict(fields, message)
    except ParseError as error:
        raise InvalidField(place, str(error)) from None


def _batches(values: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(values), BATCH):
        yield values[start : start + BATCH]
