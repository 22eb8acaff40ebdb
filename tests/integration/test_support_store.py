"""Support's database on real PostgreSQL: what is due to be calibrated, and which risk is chosen."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from chassis import database
from support.calibration import Calibration
from support.knowledge import KnowledgeBase, LabelledQuestion, Language
from support.store import Store
from tests.fixtures.infrastructure import Postgres
from tests.unit.support.bank import calibrations

BANK = KnowledgeBase("demo", "bank")


@pytest.fixture(scope="module")
def support_database(postgres: Postgres) -> str:
    urls = postgres.create_database("support")
    database.migrate("support", urls.owner, urls.service)
    return urls.service


@pytest.fixture
async def store(support_database: str) -> AsyncIterator[Store]:
    engine = database.connect(support_database)
    yield Store(engine)
    await engine.dispose()


def calibration() -> Calibration:
    return calibrations().of(BANK, "en")


async def label(store: Store, base: KnowledgeBase, question: str, language: Language) -> None:
    await store.put_questions(base, [LabelledQuestion(question, language, None)])


async def fit(store: Store, base: KnowledgeBase, language: Language) -> None:
    _, read_at = await store.questions(base, language, 100)
    await store.put_calibration(base, language, calibration(), read_at)


async def risks(store: Store, base: KnowledgeBase) -> dict[Language, float | None]:
    return {each.language: each.target_risk for each in await store.in_force() if each.base == base}


async def test_a_base_is_behind_as_long_as_one_of_its_languages_is(store):
    base = KnowledgeBase("demo", "half-fitted")
    await label(store, base, "Will it rain?", "en")
    await label(store, base, "会下雨吗？", "zh")
    await fit(store, base, "en")  # and then, say, the model server went away

    assert base in await store.uncalibrated(), "Chinese has never been fitted"

    await fit(store, base, "zh")
    assert base not in await store.uncalibrated()


async def test_a_new_label_puts_its_base_behind_and_no_other_tenant_s(store):
    mine, theirs = KnowledgeBase("demo", "relabelled"), KnowledgeBase("another", "relabelled")
    for base in (mine, theirs):
        await label(store, base, "会下雨吗？", "zh")
        await fit(store, base, "zh")
    before = datetime.now(UTC)

    await label(store, mine, "明天呢？", "zh")

    behind = await store.uncalibrated()
    assert behind[mine] > before
    assert theirs not in behind


async def test_a_label_that_changes_nothing_puts_nothing_behind(store):
    base = KnowledgeBase("demo", "unchanged")
    await label(store, base, "Will it rain?", "en")
    await fit(store, base, "en")

    await label(store, base, "Will it rain?", "en")

    assert base not in await store.uncalibrated()


async def test_a_risk_is_chosen_for_the_languages_that_have_none_and_for_no_other(store):
    base = KnowledgeBase("demo", "chosen")
    await store.set_target_risk(base, ["zh"], 0.2, "olga")

    await store.choose_missing_target_risk(base, 0.05, "seed")
    await store.choose_missing_target_risk(base, 0.3, "seed")

    assert await risks(store, base) == {"en": 0.05, "zh": 0.2}
    assert await risks(store, KnowledgeBase("another", "chosen")) == {}


async def test_a_risk_that_is_chosen_later_takes_the_place_of_the_first_one(store):
    base = KnowledgeBase("demo", "later")
    await store.choose_missing_target_risk(base, 0.05, "seed")

    await store.set_target_risk(base, ["en", "zh"], 0.01, "olga")
    await store.choose_missing_target_risk(base, 0.05, "seed")

    assert await risks(store, base) == {"en": 0.01, "zh": 0.01}
