"""Support's database: articles, drafts, labelled questions and calibrations; and the outbox that tells the others."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Double,
    LargeBinary,
    MetaData,
    Row,
    String,
    Table,
    Text,
    and_,
    func,
    literal_column,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.sql.dml import ReturningInsert

from casebook.support.v1 import events_pb2
from chassis import database, outbox
from chassis.errors import Conflict, FailedPrecondition, InvalidField, NotFound
from chassis.events import new_event_id
from support.articles import article_message
from support.calibration import Calibration
from support.knowledge import LANGUAGES, Article, KnowledgeBase, LabelledQuestion, Language, came_together

KNOWLEDGE_TOPIC = "support.knowledge.v1"
DATABASE = "support's database"
LOADED_AT_ONCE = 1_000
PLACE = ("tenant", "knowledge_base", "language")

METADATA = MetaData()
ARTICLES = Table(
    "articles",
    METADATA,
    Column("tenant", String(128), primary_key=True),
    Column("knowledge_base", String(64), primary_key=True),
    Column("article_id", String(128), primary_key=True),
    Column("content", JSONB, nullable=False),
    Column("revision", BigInteger, nullable=False, server_default="1"),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("retired", Boolean, nullable=False, server_default="false"),
)
QUESTIONS = Table(
    "labelled_questions",
    METADATA,
    Column("tenant", String(128), primary_key=True),
    Column("knowledge_base", String(64), primary_key=True),
    Column("question_hash", LargeBinary, primary_key=True),
    Column("question", Text, nullable=False),
    Column("language", String(2), nullable=False),
    Column("article_id", String(128)),
    Column("wrong_article_id", String(128)),
    Column("from_feedback", Boolean, nullable=False),
    Column("changed_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)
CALIBRATIONS = Table(
    "calibrations",
    METADATA,
    Column("tenant", String(128), primary_key=True),
    Column("knowledge_base", String(64), primary_key=True),
    Column("language", String(2), primary_key=True),
    Column("version", Text, nullable=False),
    Column("calibration", JSONB, nullable=False),
    Column("questions_read_at", DateTime(timezone=True), nullable=False),
)
TARGET_RISKS = Table(
    "target_risks",
    METADATA,
    Column("tenant", String(128), primary_key=True),
    Column("knowledge_base", String(64), primary_key=True),
    Column("language", String(2), primary_key=True),
    Column("target_risk", Double, nullable=False),
    Column("changed_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("changed_by", Text, nullable=False),
)
DRAFTS = Table(
    "drafts",
    METADATA,
    Column("draft_id", String(128), primary_key=True),
    Column("tenant", String(128), nullable=False),
    Column("knowledge_base", String(64), nullable=False),
    Column("article_id", String(128), nullable=False),
    Column("content", JSONB, nullable=False),
    Column("handoff_id", Text, nullable=False),
    Column("proposed_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("proposed_by", Text, nullable=False),
    Column("state", String(16), nullable=False, server_default="proposed"),
    Column("decided_at", DateTime(timezone=True)),
    Column("decided_by", Text),
    Column("reason", Text),
)


@dataclass(frozen=True, slots=True)
class Draft:
    """An article that somebody proposes."""

    draft_id: str
    base: KnowledgeBase
    article: Article
    handoff_id: str
    proposed_at: datetime
    proposed_by: str


@dataclass(frozen=True, slots=True)
class InForce:
    """What was stored last of the quality of a base in a language."""

    base: KnowledgeBase
    language: Language
    version: str | None
    """Of the calibration; None before the first."""
    target_risk: float | None
    """None where nobody has chosen one."""


class Store:
    """Every method is one transaction, and raises Unavailable where PostgreSQL does not answer."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    # Articles

    async def load(self) -> list[tuple[KnowledgeBase, Article]]:
        """Every article of every base, retired ones too, read in pages: no statement takes longer for a large base."""
        key = (ARTICLES.c.tenant, ARTICLES.c.knowledge_base, ARTICLES.c.article_id)
        page = select(ARTICLES).order_by(*key).limit(LOADED_AT_ONCE)
        loaded: list[tuple[KnowledgeBase, Article]] = []
        last = ("", "", "")
        async with self._transaction() as connection:
            while True:
                rows = (await connection.execute(page.where(tuple_(*key) > last))).all()
                loaded += ((KnowledgeBase(row.tenant, row.knowledge_base), _article(row)) for row in rows)
                if len(rows) < LOADED_AT_ONCE:
                    return loaded
                last = (rows[-1].tenant, rows[-1].knowledge_base, rows[-1].article_id)

    async def put_article(self, base: KnowledgeBase, article: Article) -> Article:
        """Creates or replaces an article, and brings a retired one back; what changes nothing makes no revision."""
        async with self._transaction() as connection:
            changed = await _put(connection, base, [article])
            return changed[0] if changed else await _found(connection, base, article.article_id)

    async def put_articles(self, base: KnowledgeBase, articles: Sequence[Article]) -> list[Article]:
        """The same for many, all or none; returns those that have changed. Each id may stand there once."""
        async with self._transaction() as connection:
            return await _put(connection, base, articles)

    async def add_missing_articles(self, base: KnowledgeBase, articles: Sequence[Article]) -> list[Article]:
        """Adds those that are not there, in whatever state, and returns them. Others stay as they are."""
        async with self._transaction() as connection:
            return await _add(connection, base, articles)

    async def retire_article(self, base: KnowledgeBase, article_id: str) -> Article:
        """The article answers no more, until it is put again. Raises NotFound."""
        statement = update(ARTICLES).where(_mine(ARTICLES, base), ARTICLES.c.article_id == article_id)
        statement = statement.where(~ARTICLES.c.retired)
        statement = statement.values(retired=True, revision=ARTICLES.c.revision + 1, updated_at=func.now())
        async with self._transaction() as connection:
            row = (await connection.execute(statement.returning(ARTICLES))).first()
            if row is None:
                return await _found(connection, base, article_id)
            await _announce(connection, base, [_article(row)])
            return _article(row)

    async def article(self, base: KnowledgeBase, article_id: str) -> Article:
        """The article, retired or not. Raises NotFound."""
        async with self._transaction() as connection:
            return await _found(connection, base, article_id)

    async def articles(self, base: KnowledgeBase, after: str, limit: int, *, with_retired: bool) -> list[Article]:
        """Those whose id comes behind `after`, by id."""
        page = select(ARTICLES).where(_mine(ARTICLES, base), ARTICLES.c.article_id > after)
        if not with_retired:
            page = page.where(~ARTICLES.c.retired)
        async with self._transaction() as connection:
            return [
                _article(row) for row in await connection.execute(page.order_by(ARTICLES.c.article_id).limit(limit))
            ]

    # Drafts

    async def drafts(self, base: KnowledgeBase, limit: int) -> list[Draft]:
        """Those that nobody has decided on, oldest first."""
        open_ones = select(DRAFTS).where(_mine(DRAFTS, base), DRAFTS.c.state == literal_column("'proposed'"))
        async with self._transaction() as connection:
            rows = await connection.execute(open_ones.order_by(DRAFTS.c.proposed_at, DRAFTS.c.draft_id).limit(limit))
            return [_draft(row) for row in rows]

    async def approve_draft(
        self, tenant: str, draft_id: str, approved_by: str, edited: Article | None = None
    ) -> tuple[KnowledgeBase, Article]:
        """Makes a draft an article, as it is or as edited. Raises NotFound, FailedPrecondition, Conflict.

        As it is, it takes no article's place: whoever wrote it need not have known the one that is there.
        """
        async with self._transaction() as connection:
            draft = _draft(await _undecided(connection, tenant, draft_id))
            if edited is None:
                changed = await _add(connection, draft.base, [draft.article])
                if not changed:
                    why = "is there already: edit it, or approve the draft under another id"
                    raise Conflict("article", draft.article.article_id, why)
            else:
                changed = await _put(connection, draft.base, [edited])
            await _decide(connection, draft_id, "approved", approved_by)
            article_id = (edited or draft.article).article_id
            return draft.base, changed[0] if changed else await _found(connection, draft.base, article_id)

    async def reject_draft(self, tenant: str, draft_id: str, rejected_by: str, reason: str) -> None:
        """Puts a draft away. Raises NotFound, FailedPrecondition."""
        async with self._transaction() as connection:
            await _undecided(connection, tenant, draft_id)
            await _decide(connection, draft_id, "rejected", rejected_by, reason)

    # Labelled questions, and what is fitted to them

    async def put_questions(self, base: KnowledgeBase, questions: Sequence[LabelledQuestion]) -> int:
        """Adds questions, or gives them their new labels; returns how many have changed.

        Raises InvalidField for a label that is no article of the base.
        """
        async with self._transaction() as connection:
            wanted = {each.article_id for each in questions if each.article_id is not None}
            unknown = wanted - await _known(connection, base, wanted)
            for index, question in enumerate(questions):
                if question.article_id in unknown:
                    raise InvalidField(
                        f"questions[{index}].article_id",
                        f"no article of {base.name!r} has this id",
                        question.article_id,
                    )
            return await _label(connection, base, questions, "everything")

    async def add_missing_questions(self, base: KnowledgeBase, questions: Sequence[LabelledQuestion]) -> int:
        """Adds those that are not there; returns how many. Others keep their labels."""
        async with self._transaction() as connection:
            return await _label(connection, base, questions, "nothing")

    async def questions(
        self, base: KnowledgeBase, language: Language, limit: int
    ) -> tuple[list[LabelledQuestion], datetime]:
        """The newest labels of a language, and when they were read."""
        newest = select(QUESTIONS).where(_mine(QUESTIONS, base), QUESTIONS.c.language == language)
        newest = newest.order_by(QUESTIONS.c.changed_at.desc(), QUESTIONS.c.question_hash).limit(limit)
        async with self._transaction() as connection:
            read_at = (await connection.execute(select(func.now()))).scalar_one()
            return [_question(row) for row in await connection.execute(newest)], read_at

    async def uncalibrated(self) -> dict[KnowledgeBase, datetime]:
        """Bases with labels of a language that are newer than what its calibration was fitted to, or that has none;
        and when the newest label of the base came, in whatever language.
        """
        places = [QUESTIONS.c[name] for name in PLACE]
        labels = select(*places, func.max(QUESTIONS.c.changed_at).label("newest")).group_by(*places).subquery()
        same = and_(*(CALIBRATIONS.c[name] == labels.c[name] for name in PLACE))
        fitted = CALIBRATIONS.c.questions_read_at
        base = (labels.c.tenant, labels.c.knowledge_base)
        behind = (
            select(*base, func.max(labels.c.newest).label("newest"))
            .select_from(labels.outerjoin(CALIBRATIONS, same))
            .group_by(*base)
            .having(func.bool_or(or_(fitted.is_(None), labels.c.newest > fitted)))
        )
        async with self._transaction() as connection:
            rows = await connection.execute(behind)
            return {KnowledgeBase(row.tenant, row.knowledge_base): row.newest for row in rows}

    async def put_calibration(
        self, base: KnowledgeBase, language: Language, calibration: Calibration, questions_read_at: datetime
    ) -> None:
        """Puts a calibration in the place of the one before."""
        fitted = {
            "version": calibration.version,
            "calibration": json.loads(calibration.to_json()),
            "questions_read_at": questions_read_at,
        }
        await self._upsert(CALIBRATIONS, [_place(base, language) | fitted])

    async def set_target_risk(
        self, base: KnowledgeBase, languages: Iterable[Language], target_risk: float, changed_by: str
    ) -> None:
        """Chooses the share of wrong answers that is accepted."""
        chosen = {"target_risk": target_risk, "changed_by": changed_by}
        await self._upsert(TARGET_RISKS, [_place(base, each) | chosen for each in languages])

    async def choose_missing_target_risk(self, base: KnowledgeBase, target_risk: float, changed_by: str) -> None:
        """The same for the languages for which nobody has chosen one."""
        chosen = {"target_risk": target_risk, "changed_by": changed_by}
        rows = [_place(base, each) | chosen for each in LANGUAGES]
        async with self._transaction() as connection:
            await connection.execute(insert(TARGET_RISKS).values(rows).on_conflict_do_nothing())

    async def in_force(self) -> list[InForce]:
        """What was stored last, of every base and language that anything was stored of."""
        same = and_(*(CALIBRATIONS.c[name] == TARGET_RISKS.c[name] for name in PLACE))
        joined = CALIBRATIONS.join(TARGET_RISKS, same, full=True)
        columns = [func.coalesce(CALIBRATIONS.c[name], TARGET_RISKS.c[name]).label(name) for name in PLACE]
        async with self._transaction() as connection:
            rows = await connection.execute(
                select(*columns, CALIBRATIONS.c.version, TARGET_RISKS.c.target_risk).select_from(joined)
            )
            return [
                InForce(KnowledgeBase(row.tenant, row.knowledge_base), row.language, row.version, row.target_risk)
                for row in rows
            ]

    async def calibration(self, base: KnowledgeBase, language: Language) -> Calibration | None:
        """The newest; None before the first."""
        mine = select(CALIBRATIONS.c.calibration).where(_mine(CALIBRATIONS, base), CALIBRATIONS.c.language == language)
        async with self._transaction() as connection:
            found = (await connection.execute(mine)).scalar_one_or_none()
            return None if found is None else Calibration.from_json(json.dumps(found))

    async def _upsert(self, table: Table, rows: Sequence[dict[str, Any]]) -> None:
        """Rows of a table that has one for each base and language, in the place of those before."""
        statement = insert(table)
        changed: dict[str, Any] = {name: statement.excluded[name] for name in rows[0] if name not in PLACE}
        if "changed_at" in table.c:
            changed["changed_at"] = func.now()
        async with self._transaction() as connection:
            await connection.execute(statement.on_conflict_do_update(index_elements=PLACE, set_=changed), list(rows))

    def _transaction(self) -> AbstractAsyncContextManager[AsyncConnection]:
        return database.transaction(self._engine, DATABASE)


async def add_draft(
    connection: AsyncConnection, base: KnowledgeBase, article: Article, handoff_id: str, proposed_by: str
) -> str:
    """Proposes an article in the caller's transaction; returns the draft's id."""
    draft_id = new_event_id()
    values = {
        "draft_id": draft_id,
        "tenant": base.tenant,
        "knowledge_base": base.name,
        "article_id": article.article_id,
        "content": _content(article),
        "handoff_id": handoff_id,
        "proposed_by": proposed_by,
    }
    await connection.execute(insert(DRAFTS).values(values))
    return draft_id


def label(replacing: Literal["nothing", "feedback", "everything"]) -> ReturningInsert[Any]:
    """Adds labelled questions, or gives them new labels; returns those that changed.

    `replacing` "feedback" leaves a label that an operator has given as it is, whatever customers say.
    """
    statement = insert(QUESTIONS)
    if replacing == "nothing":
        return statement.on_conflict_do_nothing().returning(QUESTIONS.c.question_hash)
    told = ("article_id", "wrong_article_id", "language", "from_feedback")
    new = {name: statement.excluded[name] for name in told}
    differs = or_(*(QUESTIONS.c[name].is_distinct_from(value) for name, value in new.items()))
    return statement.on_conflict_do_update(
        index_elements=["tenant", "knowledge_base", "question_hash"],
        set_=new | {"changed_at": func.now()},
        where=differs & QUESTIONS.c.from_feedback if replacing == "feedback" else differs,
    ).returning(QUESTIONS.c.question_hash)


async def _label(
    connection: AsyncConnection,
    base: KnowledgeBase,
    questions: Sequence[LabelledQuestion],
    replacing: Literal["nothing", "everything"],
) -> int:
    if not questions:
        return 0
    return len((await connection.execute(label(replacing), question_values(base, questions))).all())


def question_values(base: KnowledgeBase, questions: Iterable[LabelledQuestion]) -> list[dict[str, Any]]:
    """The rows of labelled questions; of two labels of one question the last one counts."""
    rows = {
        each.question: {
            "tenant": base.tenant,
            "knowledge_base": base.name,
            "question_hash": hashlib.sha256(each.question.encode()).digest(),
            "question": each.question,
            "language": each.language,
            "article_id": each.article_id,
            "wrong_article_id": each.wrong_article_id,
            "from_feedback": each.from_feedback,
        }
        for each in questions
    }
    # In one order everywhere: two transactions that change the same rows wait for each other, and never both.
    return sorted(rows.values(), key=lambda row: row["question_hash"])


async def _put(connection: AsyncConnection, base: KnowledgeBase, articles: Sequence[Article]) -> list[Article]:
    """Those that have changed, announced."""
    if not articles:
        return []
    new = insert(ARTICLES)
    content = new.excluded.content
    statement = new.on_conflict_do_update(
        index_elements=["tenant", "knowledge_base", "article_id"],
        set_={"content": content, "retired": False, "revision": ARTICLES.c.revision + 1, "updated_at": func.now()},
        where=or_(ARTICLES.c.retired, ARTICLES.c.content != content),
    ).returning(ARTICLES)
    changed = [_article(row) for row in await connection.execute(statement, _values(base, articles))]
    await _announce(connection, base, changed)
    return changed


async def _add(connection: AsyncConnection, base: KnowledgeBase, articles: Sequence[Article]) -> list[Article]:
    """Those that were not there, in whatever state, announced. Waits for a transaction that puts one of them."""
    statement = insert(ARTICLES).on_conflict_do_nothing().returning(ARTICLES)
    added = [_article(row) for row in await connection.execute(statement, _values(base, articles))]
    await _announce(connection, base, added)
    return added


async def _announce(connection: AsyncConnection, base: KnowledgeBase, articles: Sequence[Article]) -> None:
    imported = came_together(articles)
    events = [
        outbox.NewEvent(
            KNOWLEDGE_TOPIC,
            f"{base.tenant}:{base.name}:{article.article_id}",
            events_pb2.ArticleChanged(knowledge_base=base.name, article=article_message(article), imported=imported),
            base.tenant,
        )
        for article in articles
    ]
    await outbox.add_many_async(connection, events)


async def _found(connection: AsyncConnection, base: KnowledgeBase, article_id: str) -> Article:
    found = select(ARTICLES).where(_mine(ARTICLES, base), ARTICLES.c.article_id == article_id)
    row = (await connection.execute(found)).first()
    if row is None:
        raise NotFound("article", article_id, f"in the knowledge base {base.name!r}")
    return _article(row)


async def _known(connection: AsyncConnection, base: KnowledgeBase, article_ids: Iterable[str]) -> set[str]:
    """Those ids that the base has articles of, retired or not."""
    known = select(ARTICLES.c.article_id).where(_mine(ARTICLES, base), ARTICLES.c.article_id.in_(list(article_ids)))
    return {row.article_id for row in await connection.execute(known)}


async def _undecided(connection: AsyncConnection, tenant: str, draft_id: str) -> Row[Any]:
    found = select(DRAFTS).where(DRAFTS.c.tenant == tenant, DRAFTS.c.draft_id == draft_id).with_for_update()
    row = (await connection.execute(found)).first()
    if row is None:
        raise NotFound("draft", draft_id)
    if row.state != "proposed":
        raise FailedPrecondition(f"draft {draft_id!r}", f"{row.decided_by} has {row.state} it")
    return row


async def _decide(connection: AsyncConnection, draft_id: str, state: str, decided_by: str, reason: str = "") -> None:
    decided = {"state": state, "decided_by": decided_by, "decided_at": func.now(), "reason": reason}
    await connection.execute(update(DRAFTS).where(DRAFTS.c.draft_id == draft_id).values(decided))


def _place(base: KnowledgeBase, language: Language) -> dict[str, Any]:
    return {"tenant": base.tenant, "knowledge_base": base.name, "language": language}


def _mine(table: Table, base: KnowledgeBase) -> Any:
    return (table.c.tenant == base.tenant) & (table.c.knowledge_base == base.name)


def _values(base: KnowledgeBase, articles: Sequence[Article]) -> list[dict[str, Any]]:
    # In one order everywhere: two transactions that change the same rows wait for each other, and never both.
    in_order = sorted(articles, key=lambda each: each.article_id)
    place = {"tenant": base.tenant, "knowledge_base": base.name}
    return [place | {"article_id": each.article_id, "content": _content(each)} for each in in_order]


def _content(article: Article) -> dict[str, Any]:
    """What an article says, without what the server knows of it."""
    return {
        "title": dict(article.title),
        "answer": dict(article.answer),
        "phrasings": {language: list(each) for language, each in article.phrasings.items()},
        "tags": list(article.tags),
        "audience": article.audience,
        "valid_from": article.valid_from and article.valid_from.isoformat(),
        "valid_to": article.valid_to and article.valid_to.isoformat(),
    }


def _article_of(article_id: str, content: Mapping[str, Any]) -> Article:
    return Article(
        article_id=article_id,
        title=content["title"],
        answer=content["answer"],
        phrasings={language: tuple(each) for language, each in content["phrasings"].items()},
        tags=tuple(content["tags"]),
        audience=content["audience"],
        valid_from=_time(content["valid_from"]),
        valid_to=_time(content["valid_to"]),
    )


def _article(row: Row[Any]) -> Article:
    content = _article_of(row.article_id, row.content)
    return replace(content, revision=row.revision, updated_at=row.updated_at, retired=row.retired)


def _draft(row: Row[Any]) -> Draft:
    base = KnowledgeBase(row.tenant, row.knowledge_base)
    article = _article_of(row.article_id, row.content)
    return Draft(row.draft_id, base, article, row.handoff_id, row.proposed_at, row.proposed_by)


def _question(row: Row[Any]) -> LabelledQuestion:
    return LabelledQuestion(row.question, row.language, row.article_id, row.from_feedback, row.wrong_article_id)


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
