"""The demo's knowledge base: what is committed keeps its promises, and what breaks one is named."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from support.demo import build
from support.demo.build import BaseError, check, draw_english
from support.knowledge import Article, LabelledQuestion
from support.seed import read_articles, read_questions

ARTICLES = read_articles(build.HERE / "articles.jsonl")
QUESTIONS = read_questions(build.HERE / "questions.jsonl")
CARD = next(article for article in ARTICLES if article.article_id == "card_arrival")
LATE = CARD.phrasings["zh"][0]


def with_card(**changed: Any) -> list[Article]:
    return [replace(CARD, **changed) if article is CARD else article for article in ARTICLES]


def with_phrasings(*phrasings: str) -> list[Article]:
    return with_card(phrasings={**CARD.phrasings, "zh": phrasings})


def test_the_committed_base_keeps_every_promise() -> None:
    assert check(ARTICLES, QUESTIONS) == []


def test_the_committed_base_is_the_one_that_was_written() -> None:
    written, held_out = build.read_written(build.HERE)
    out_of_scope = build.read_out_of_scope(build.HERE / "out_of_scope.yaml")

    assert [replace(article, phrasings={"zh": article.phrasings["zh"]}) for article in ARTICLES] == written
    asked = {each for each in QUESTIONS if each.article_id is None or each.language == "zh"}
    assert asked == {*held_out, *out_of_scope}


@pytest.mark.parametrize(
    ("articles", "problem"),
    [
        (ARTICLES[1:], f"articles: 77 are expected, {len(ARTICLES) - 1} received"),
        (with_card(title={"en": "Where is my card?"}), "card_arrival: title.zh: one line of 1 to 200"),
        (with_card(answer={**CARD.answer, "en": "a" * 4001}), "card_arrival: answer.en: one line of 1 to 4000"),
        (with_card(tags=("cards", "letters")), "card_arrival: tags: 2 to 4 of"),
        (with_phrasings(*CARD.phrasings["zh"][:5]), "card_arrival: phrasings.zh: 6 to 20 are expected, 5 received"),
        (with_phrasings(*CARD.phrasings["zh"], "卡\n呢"), "card_arrival: phrasings.zh: one line of 1 to 300"),
        (with_phrasings(*CARD.phrasings["zh"], "Ｐｉｎ码在 APP，哪里找？！"), "is also card_arrival: phrasings.zh"),
    ],
)
def test_a_broken_article_is_named_with_its_field(articles: list[Article], problem: str) -> None:
    assert any(problem in line for line in check(articles, QUESTIONS))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda known: known[1:], "Refund_not_showing_up: questions.en: 5 are expected, 4 received"),
        (lambda known: [*known, known[0]], "is there twice"),
        (lambda known: [*known, LabelledQuestion(LATE + "？", "zh", None)], "out of scope: questions.zh"),
        (lambda known: [*known, LabelledQuestion("在吗在吗", "zh", "mortgages")], "mortgages: questions: there is no"),
        (lambda known: [each for each in known if each.article_id], "out of scope: questions.zh: 160 are expected"),
    ],
)
def test_a_broken_question_is_named(
    change: Callable[[list[LabelledQuestion]], list[LabelledQuestion]], problem: str
) -> None:
    assert any(problem in line for line in check(ARTICLES, change(QUESTIONS)))


def test_english_is_drawn_once_and_always_the_same(tmp_path: Path) -> None:
    arrivals = [f"Where is card number {number}?" for number in range(20)]
    estimates = [f"When will card number {number} come?" for number in range(20)]
    train = written_train(
        tmp_path, [*arrivals, "It asks  for\nboth", "Too long" * 50], [*estimates, "It asks for both!"]
    )

    drawn = draw_english(train, {"card_arrival": {arrivals[0]}}, ())

    assert [len(set(texts)) for texts in drawn.values()] == [15, 15]
    assert set(drawn["card_arrival"]) <= set(arrivals[1:])
    assert set(drawn["card_delivery_estimate"]) <= set(estimates)
    assert drawn == draw_english(train, {"card_arrival": {arrivals[0]}}, ())


def test_a_text_left_out_must_be_there(tmp_path: Path) -> None:
    train = written_train(tmp_path, [f"Where is card number {number}?" for number in range(20)], [])

    with pytest.raises(BaseError, match="card_arrival: left out, but not a text of this intent: Gone"):
        draw_english(train, {"card_arrival": {"Gone"}}, ())


def written_train(folder: Path, arrivals: list[str], estimates: list[str]) -> Path:
    file = folder / "train.csv"
    rows = [f'"{text}",card_arrival' for text in arrivals] + [f'"{text}",card_delivery_estimate' for text in estimates]
    file.write_text("\n".join(["text,category", *rows]), encoding="utf-8")
    return file
