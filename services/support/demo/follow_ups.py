"""The demo's follow-ups: follow_ups.yaml, which says what each kind is, read and checked."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from support.demo.build import HERE, BaseError, indexed_texts, key
from support.knowledge import LANGUAGES, Article, Language

FILE = HERE / "follow_ups.yaml"
Kind = Literal["stays", "same_article", "changes", "out_of_scope"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, slots=True)
class FollowUp:
    """A question, and the one before it in the conversation."""

    language: Language
    kind: Kind
    before: str
    about: str
    """The article that answers `before`."""
    question: str
    article_id: str | None
    """The article that answers `question`; None: out of scope."""


def read_follow_ups(file: Path = FILE) -> list[FollowUp]:
    """In the order of the file.

    Raises:
        BaseError: if a language, a kind or a field is missing or unknown.

    """
    languages = _fields(yaml.safe_load(file.read_text(encoding="utf-8")), LANGUAGES, file.name)
    return [
        _follow_up(language, kind, entry, f"{language}.{kind}[{place}]")
        for language in LANGUAGES
        for kind, entries in _fields(languages[language], KINDS, language).items()
        for place, entry in enumerate(entries)
    ]


def check(follow_ups: Sequence[FollowUp], articles: Sequence[Article]) -> list[str]:
    """What is wrong, a line each; empty when all is well.

    Every article must be there, no text may be one that is indexed or stand twice, and a kind must be what it says.
    """
    problems: list[str] = []
    known, indexed = {each.article_id for each in articles}, {key(text) for _, text in indexed_texts(articles)}
    seen: set[tuple[str, str]] = set()
    for each in follow_ups:
        where = f"{each.language}.{each.kind}: {each.question!r}"
        problems += (f"{where}: {problem}" for problem in _problems(each, known, indexed))
        if (pair := (key(each.before), key(each.question))) in seen:
            problems.append(f"{where}: is there twice")
        seen.add(pair)
    return problems


def _problems(each: FollowUp, known: Collection[str], indexed: Collection[str]) -> Iterator[str]:
    for name, article_id in (("about", each.about), ("article_id", each.article_id)):
        if article_id is not None and article_id not in known:
            yield f"{name}: there is no article {article_id}"
    for name, text in (("before", each.before), ("question", each.question)):
        if key(text) in indexed:
            yield f"{name}: {text!r} is a title or a phrasing of the base"
    if (each.kind == "same_article") != (each.article_id == each.about):
        yield f"article_id: {each.article_id} after a question about {each.about} is another kind"


def _follow_up(language: Language, kind: Kind, entry: Any, place: str) -> FollowUp:
    answered = () if kind == "out_of_scope" else ("article_id",)
    fields = _fields(entry, ("before", "about", "question", *answered), place)
    return FollowUp(language, kind, fields["before"], fields["about"], fields["question"], fields.get("article_id"))


def _fields(received: Any, expected: Collection[str], place: str) -> dict[Any, Any]:
    if not isinstance(received, dict) or set(received) != set(expected):
        names = ", ".join(map(str, received)) if isinstance(received, dict) else type(received).__name__
        raise BaseError(f"{place}: {', '.join(expected)} are expected, received {names}")
    return received
