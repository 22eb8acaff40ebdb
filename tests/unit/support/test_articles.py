"""An article on its way in: what is refused, and what comes out of the topic as it went in."""

from datetime import UTC, datetime

import pytest

from casebook.support.v1 import knowledge_pb2 as pb
from chassis.errors import InvalidField
from support.articles import article_message, article_of, checked_article, checked_articles, checked_base

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def message(**fields: object) -> pb.Article:
    given = {"article_id": "a", "title": pb.Text(en="A"), "answer": pb.Text(zh="答")} | fields
    return pb.Article(**given)


def test_what_goes_through_the_topic_is_the_article_that_came_in():
    given = message(phrasings=pb.Phrasings(en=["a", "b", "a"]), tags=["t", "t"])
    given.valid_from.FromDatetime(NOON)

    article = checked_article(given)

    assert article.phrasings == {"en": ("a", "b")}, "each once"
    assert (article.tags, article.audience, article.valid_from) == (("t",), "public", NOON)
    assert article_of(article_message(article)) == article


def test_an_article_that_no_event_could_carry_is_refused():
    phrasings = [f"{index:04}" + "长" * 290 for index in range(1_500)]

    with pytest.raises(InvalidField, match="article: at most 900000 bytes in all"):
        checked_article(message(phrasings=pb.Phrasings(zh=phrasings)))


def test_it_ends_after_it_begins():
    given = message()
    given.valid_from.FromDatetime(NOON)
    given.valid_to.FromDatetime(NOON)

    with pytest.raises(InvalidField, match=r"article\.valid_to: must be after valid_from"):
        checked_article(given)


@pytest.mark.parametrize("field", ["valid_from", "valid_to"])
def test_a_time_outside_the_calendar_is_refused(field):
    given = message()
    getattr(given, field).seconds = 10**15

    with pytest.raises(InvalidField, match=f"article.{field}: a time from the year 1"):
        checked_article(given)


def test_one_id_stands_once_in_an_import():
    with pytest.raises(InvalidField, match=r"articles\[2\].article_id: is the one of articles\[0\] as well"):
        checked_articles([message(), message(article_id="b"), message()])


@pytest.mark.parametrize("name", ["", "Bank", "a b", "x" * 65, "bank\n"])
def test_a_knowledge_base_has_a_plain_name(name):
    with pytest.raises(InvalidField, match="knowledge_base: 1 to 64 characters of a-z"):
        checked_base("demo", name)
