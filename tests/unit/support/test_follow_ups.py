"""The demo's follow-ups keep their promises, and what is measured on them is what the dialogue makes of them."""

from dataclasses import replace
from pathlib import Path

import pytest

from support.demo.build import HERE, BaseError
from support.demo.follow_ups import KINDS, FollowUp, check, read_follow_ups
from support.seed import read_articles
from support.training.follow_ups import Heard, hear, shares
from tests.unit.support.bank import ANSWERED, ASKED_BACK, BASE, FakeKnowledge, calibrations

ARTICLES = read_articles(HERE / "articles.jsonl")
FOLLOW_UPS = read_follow_ups()
FEE = next(each for each in FOLLOW_UPS if each.question == "那手续费呢？")


def test_the_committed_follow_ups_keep_every_promise():
    assert check(FOLLOW_UPS, ARTICLES) == []


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize(("kind", "least"), list(zip(KINDS, (30, 10, 30, 15), strict=True)))
def test_there_are_enough_of_each_kind(language, kind, least):
    assert sum((each.language, each.kind) == (language, kind) for each in FOLLOW_UPS) >= least


@pytest.mark.parametrize(
    ("broken", "problem"),
    [
        (replace(FEE, article_id="mortgages"), "article_id: there is no article mortgages"),
        (replace(FEE, about="mortgages"), "about: there is no article mortgages"),
        (replace(FEE, question="转账为什么收我手续费？"), "is a title or a phrasing of the base"),
        (replace(FEE, before="How do I activate my card"), "before: 'How do I activate my card' is a title"),
        (replace(FEE, article_id=FEE.about), "is another kind"),
        (replace(FEE, kind="same_article"), "is another kind"),
        (FEE, "is there twice"),
    ],
)
def test_a_broken_follow_up_is_named(broken, problem):
    assert any(problem in line for line in check([*FOLLOW_UPS, broken], ARTICLES))


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("[]", "follow_ups.yaml: en, zh are expected, received list"),
        ("{en: {}, zh: {}}", "en: stays, same_article, changes, out_of_scope are expected"),
        (
            "en: {stays: [{before: a, about: b}], same_article: [], changes: [], out_of_scope: []}\nzh: {}",
            r"en.stays\[0\]: before, about, question, article_id are expected, received before, about",
        ),
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path: Path, written, problem):
    (tmp_path / "follow_ups.yaml").write_text(written)

    with pytest.raises(BaseError, match=problem):
        read_follow_ups(tmp_path / "follow_ups.yaml")


@pytest.fixture
def knowledge() -> FakeKnowledge:
    """Of a fee it knows by the question alone that of a card; behind a transfer, that of a transfer."""
    knowledge = FakeKnowledge()
    knowledge.knows("How do I send money abroad?", transfer=ANSWERED)
    knowledge.knows("and the fee?", card_fee=0.15, transfer_fee=0.1)
    knowledge.knows("How do I send money abroad? and the fee?", transfer=0.9, transfer_fee=0.8)
    return knowledge


async def heard(knowledge: FakeKnowledge, *follow_ups: FollowUp) -> list[Heard]:
    return await hear(knowledge, knowledge, calibrations(), BASE, follow_ups)


ABROAD = FollowUp("en", "stays", "How do I send money abroad?", "transfer", "and the fee?", "transfer-fee")


def shown(each: list[Heard]) -> dict[str, float]:
    return {share.measure: share.value for share in shares(each)}


async def test_each_way_of_asking_is_measured_by_itself(knowledge):
    measured = shown(await heard(knowledge, ABROAD))

    assert measured["retrieved in its context as well"] == 1.0
    assert measured["R@1 of the question alone"] == 0.0, "that is the fee of a card"
    assert measured["R@1 of the question rewritten: behind the first, as one"] == 0.0, "that is the transfer once more"
    assert measured["R@1 of the vote, as served"] == 1.0
    assert measured["answered or asked back with its article"] == 1.0


async def test_what_is_served_alone_stands_beside_what_is_served(knowledge):
    [share] = [
        each for each in shares(await heard(knowledge, ABROAD)) if each.measure.startswith("answered or asked back")
    ]

    assert (share.value, share.floor, share.n) == (1.0, "0.0000 alone", 1)


async def test_who_is_asked_back_picks_what_the_first_question_is_about(knowledge):
    knowledge.knows(ABROAD.before, card_fee=ASKED_BACK, transfer=0.4)
    [each] = await heard(knowledge, ABROAD)

    assert each.opened
    assert "transfer" not in {found.article.article_id for found in each.reply.retrieved}


async def test_an_answer_by_another_article_is_counted(knowledge):
    alone = replace(ABROAD, question="What does the bank charge for sending money out of the country?")
    knowledge.knows(alone.question, card_fee=ANSWERED)

    assert shown(await heard(knowledge, alone))["answered with another article"] == 1.0
    assert shown(await heard(knowledge, ABROAD))["answered with another article"] == 0.0


async def test_nothing_is_to_be_served_where_nothing_answers(knowledge):
    knowledge.knows("do you know a joke?", card_fee=ASKED_BACK)
    joke = FollowUp("en", "out_of_scope", ABROAD.before, "transfer", "do you know a joke?", None)
    [served] = [each for each in shares(await heard(knowledge, joke)) if each.measure == "answered or asked back"]

    assert (served.value, served.floor) == (1.0, "1.0000 alone")
