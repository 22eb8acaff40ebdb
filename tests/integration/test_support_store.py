"""Support's database on real PostgreSQL: what is due to be calibrated, which risk counts, what a draft may become."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from chassis import database
from chassis.errors import Conflict
from chassis.inbox import INBOX
from support import timers
from support.calibration import Calibration
from support.knowledge import Article, KnowledgeBase, LabelledQuestion, Language
from support.store import ARTICLES, Store, add_draft
from support.timers import InboxPruning
from tests.fixtures.infrastructure import Postgres
from tests.fixtures.serving import until
from tests.unit.support.bank import calibrations

BANK = KnowledgeBase("demo", "bank")


@pytest.fixture(scope="module")
def support_database(postgres: Postgres) -> str:
    urls = postgres.create_database("support")
    database.migrate("support", urls.owner, urls.service)
    return urls.service


@pytest.fixture
async def engine(support_database: str) -> AsyncIterator[AsyncEngine]:
    engine = database.connect(support_database)
    yield engine
    await engine.dispose()


@pytest.fixture
def store(engine: AsyncEngine) -> Store:
    return Store(engine)


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


async def propose(engine: AsyncEngine, base: KnowledgeBase, article: Article) -> str:
    async with engine.begin() as connection:
        return await add_draft(connection, base, article, "h1", "bob")


def saying(answer: str) -> Article:
    return Article("opening-hours", {"en": "Opening hours"}, {"en": answer}, {})


async def test_a_draft_takes_the_place_of_no_article_that_is_put_at_the_same_time(store, engine):
    base = KnowledgeBase("demo", "drafted")
    draft_id = await propose(engine, base, saying("At noon, bob thinks."))
    putting = {"tenant": base.tenant, "knowledge_base": base.name, "article_id": "opening-hours", "content": {}}
    waiting = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%articles%'")

    async def waits() -> bool:
        async with engine.connect() as connection:
            return (await connection.execute(waiting)).scalar_one() > 0

    async with engine.begin() as operator:
        await operator.execute(insert(ARTICLES).values(putting))
        approving = asyncio.create_task(store.approve_draft(base.tenant, draft_id, "remy"))
        await until("the approval to wait for the operator's change", waits, 4)

    with pytest.raises(Conflict, match="is there already"):
        await approving
    async with engine.connect() as connection:
        assert (
            await connection.execute(select(ARTICLES.c.content).where(ARTICLES.c.knowledge_base == base.name))
        ).all() == [({},)]
    assert [each.draft_id for each in await store.drafts(base, 10)] == [draft_id]


async def test_a_draft_that_a_reviewer_has_edited_takes_the_place_of_the_article_that_is_there(store, engine):
    base = KnowledgeBase("demo", "edited")
    await store.put_article(base, saying("At nine."))
    draft_id = await propose(engine, base, saying("At noon, bob thinks."))

    _, article = await store.approve_draft(base.tenant, draft_id, "remy", saying("At noon."))

    assert (article.answer, article.revision) == ({"en": "At noon."}, 2)


async def test_events_of_long_ago_are_forgotten_batch_by_batch(engine, monkeypatch):
    monkeypatch.setattr(timers, "BATCH", 2)
    now = datetime.now(UTC)
    handled = [(f"old-{number}", now - timedelta(days=9)) for number in range(5)] + [("new", now)]
    async with engine.begin() as connection:
        rows = [{"consumer_group": "g", "event_id": each, "handled_at": at} for each, at in handled]
        await connection.execute(insert(INBOX), rows)

    async def left() -> int:
        async with engine.connect() as connection:
            return (await connection.execute(select(func.count()).select_from(INBOX))).scalar_one()

    monkeypatch.setattr(timers, "MOST_BATCHES", 1)
    await InboxPruning(engine).prune()
    assert await left() == 4, "one round has an end"
    monkeypatch.setattr(timers, "MOST_BATCHES", 10)
    await InboxPruning(engine).prune()
    assert await left() == 1
