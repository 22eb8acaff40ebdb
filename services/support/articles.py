"""Articles between the contract and the domain, checked on the way in."""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from casebook.support.v1 import knowledge_pb2 as pb
from chassis.errors import InvalidField
from chassis.fields import check_count, check_id, check_text
from support.knowledge import LANGUAGES, PUBLIC, Article, KnowledgeBase, Language

MAX_TITLE_CHARACTERS = 200
MAX_ANSWER_CHARACTERS = 4_000
MAX_PHRASINGS = 2_000
MAX_PHRASING_CHARACTERS = 300
MAX_TAGS = 16
MAX_TAG_CHARACTERS = 64
MAX_ARTICLE_BYTES = 900_000
"""With all its phrasings, as protobuf: an article is one event, and Kafka takes a megabyte."""
_BASE_NAME = re.compile(r"[a-z0-9_-]{1,64}")


def checked_base(tenant: str, name: str, field: str = "knowledge_base") -> KnowledgeBase:
    """The tenant's knowledge base of that name, whether or not there is one. Raises InvalidField."""
    if not _BASE_NAME.fullmatch(name):
        raise InvalidField(field, '1 to 64 characters of a-z, 0-9, "-" and "_"', name)
    return KnowledgeBase(tenant, name)


def checked_language(value: str, field: str = "language") -> Language:
    """Raises InvalidField for anything but a language that is spoken here."""
    for language in LANGUAGES:
        if value == language:
            return language
    raise InvalidField(field, " or ".join(f'"{language}"' for language in LANGUAGES), value)


def checked_article(message: pb.Article, field: str = "article") -> Article:
    """The article that a request brings; what the server gives it is ignored. Raises InvalidField, naming the field."""
    check_id(f"{field}.article_id", message.article_id)
    _check_phrasings(f"{field}.phrasings", message.phrasings)
    check_count(f"{field}.tags", message.tags, MAX_TAGS)
    for index, tag in enumerate(message.tags):
        check_text(f"{field}.tags[{index}]", tag, MAX_TAG_CHARACTERS)
    check_text(f"{field}.audience", message.audience, MAX_TAG_CHARACTERS, least=0)
    article = Article(
        article_id=message.article_id,
        title=_checked_texts(f"{field}.title", message.title, MAX_TITLE_CHARACTERS),
        answer=_checked_texts(f"{field}.answer", message.answer, MAX_ANSWER_CHARACTERS),
        phrasings=_phrasings(message.phrasings),
        tags=tuple(dict.fromkeys(message.tags)),
        audience=message.audience or PUBLIC,
        valid_from=_checked_time(f"{field}.valid_from", message.valid_from, message.HasField("valid_from")),
        valid_to=_checked_time(f"{field}.valid_to", message.valid_to, message.HasField("valid_to")),
    )
    if article.valid_from and article.valid_to and article.valid_from >= article.valid_to:
        raise InvalidField(f"{field}.valid_to", "must be after valid_from", article.valid_to.isoformat())
    if message.ByteSize() > MAX_ARTICLE_BYTES:
        raise InvalidField(field, f"at most {MAX_ARTICLE_BYTES} bytes in all", message.ByteSize())
    return article


def checked_articles(messages: Iterable[pb.Article], field: str = "articles") -> list[Article]:
    """Several, each id once. Raises InvalidField, naming which."""
    places: dict[str, int] = {}
    articles = []
    for index, message in enumerate(messages):
        articles.append(checked_article(message, f"{field}[{index}]"))
        first = places.setdefault(message.article_id, index)
        if first != index:
            raise InvalidField(
                f"{field}[{index}].article_id", f"is the one of {field}[{first}] as well", message.article_id
            )
    return articles


def article_message(article: Article) -> pb.Article:
    """The article as the API and the topic show it."""
    message = pb.Article(
        article_id=article.article_id,
        title=_text_message(article.title),
        answer=_text_message(article.answer),
        phrasings=pb.Phrasings(en=article.phrasings.get("en"), zh=article.phrasings.get("zh")),
        tags=article.tags,
        audience=article.audience,
        revision=article.revision,
        retired=article.retired,
    )
    for name in ("valid_from", "valid_to", "updated_at"):
        time: datetime | None = getattr(article, name)
        if time is not None:
            getattr(message, name).FromDatetime(time)
    return message


def article_of(message: pb.Article) -> Article:
    """The article in an event of ours: checked when it came in."""
    return Article(
        article_id=message.article_id,
        title=_texts(message.title),
        answer=_texts(message.answer),
        phrasings=_phrasings(message.phrasings),
        tags=tuple(message.tags),
        audience=message.audience,
        valid_from=message.valid_from.ToDatetime(UTC) if message.HasField("valid_from") else None,
        valid_to=message.valid_to.ToDatetime(UTC) if message.HasField("valid_to") else None,
        revision=message.revision,
        updated_at=message.updated_at.ToDatetime(UTC) if message.HasField("updated_at") else None,
        retired=message.retired,
    )


def _check_phrasings(field: str, message: pb.Phrasings) -> None:
    check_count(field, [*message.en, *message.zh], MAX_PHRASINGS)
    for language in LANGUAGES:
        for index, phrasing in enumerate(getattr(message, language)):
            check_text(f"{field}.{language}[{index}]", phrasing, MAX_PHRASING_CHARACTERS)


def _checked_texts(field: str, message: pb.Text, most: int) -> Mapping[Language, str]:
    texts = _texts(message)
    if not texts:
        raise InvalidField(field, "is needed in one language at least: en, zh")
    for language, text in texts.items():
        check_text(f"{field}.{language}", text, most)
    return texts


def _checked_time(field: str, time: Timestamp, given: bool) -> datetime | None:
    try:
        return time.ToDatetime(UTC) if given else None
    except (ValueError, OverflowError):
        raise InvalidField(field, "a time from the year 1 to the year 9999", time.seconds) from None


def _text_message(texts: Mapping[Language, str]) -> pb.Text:
    return pb.Text(en=texts.get("en", ""), zh=texts.get("zh", ""))


def _texts(message: pb.Text) -> Mapping[Language, str]:
    return {language: text for language in LANGUAGES if (text := getattr(message, language)).strip()}


def _phrasings(message: pb.Phrasings) -> Mapping[Language, tuple[str, ...]]:
    return {language: each for language in LANGUAGES if (each := tuple(dict.fromkeys(getattr(message, language))))}
