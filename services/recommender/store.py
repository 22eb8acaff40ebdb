"""The recommender's database: items and users, and the outbox that tells the others of a change in one transaction."""

from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Integer,
    MetaData,
    Row,
    String,
    Table,
    Text,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from casebook.catalogue.v1 import catalogue_pb2
from chassis import database, outbox
from chassis.errors import NotFound
from recommender.catalogue import CatalogueItem
from recommender.features import ItemFacts, UserProfile

CATALOGUE_TOPIC = "catalogue.items.v1"

METADATA = MetaData()
ITEMS = Table(
    "items",
    METADATA,
    Column("tenant", String(128), primary_key=True),
    Column("item_id", String(128), primary_key=True),
    Column("title", Text, nullable=False),
    Column("categories", ARRAY(String(64)), nullable=False),
    Column("year", Integer, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("revision", BigInteger, nullable=False, server_default="1"),
    Column("retired", Boolean, nullable=False, server_default="false"),
)
USERS = Table(
    "users",
    METADATA,
    Column("tenant", String(128), primary_key=True),
    Column("user_id", String(128), primary_key=True),
    Column("age", Integer, nullable=False),
    Column("gender", String(32), nullable=False),
    Column("occupation", String(64), nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)


class Store:
    """Every method is one transaction, and raises Unavailable where PostgreSQL does not answer."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def load(self) -> list[tuple[str, CatalogueItem]]:
        """Every item of every tenant, retired ones too, in the order in which they came."""
        async with self._transaction() as connection:
            rows = await connection.execute(select(ITEMS).order_by(ITEMS.c.created_at, ITEMS.c.item_id))
            return [(row.tenant, _item(row)) for row in rows]

    async def put_item(self, tenant: str, facts: ItemFacts) -> CatalogueItem:
        """Creates or replaces an item; a call that changes nothing makes no new revision and no event."""
        given = _facts(facts)
        statement = insert(ITEMS).values(tenant=tenant, item_id=facts.item_id, **given)
        differs = or_(ITEMS.c.retired, *(ITEMS.c[name] != statement.excluded[name] for name in given))
        statement = statement.on_conflict_do_update(
            index_elements=["tenant", "item_id"],
            set_=given | {"retired": False, "revision": ITEMS.c.revision + 1},
            where=differs,
        )
        async with self._transaction() as connection:
            row = (await connection.execute(statement.returning(ITEMS))).first()
            if row is None:
                unchanged = select(ITEMS).where(ITEMS.c.tenant == tenant, ITEMS.c.item_id == facts.item_id)
                return _item((await connection.execute(unchanged)).one())
            item = _item(row)
            await _announce(connection, tenant, item)
            return item

    async def retire_item(self, tenant: str, item_id: str) -> CatalogueItem:
        """Takes an item out of recall, for good or until it is put again. Raises NotFound."""
        mine = (ITEMS.c.tenant == tenant) & (ITEMS.c.item_id == item_id)
        statement = update(ITEMS).where(mine, ~ITEMS.c.retired)
        statement = statement.values(retired=True, revision=ITEMS.c.revision + 1)
        async with self._transaction() as connection:
            row = (await connection.execute(statement.returning(ITEMS))).first()
            if row is not None:
                await _announce(connection, tenant, _item(row))
                return _item(row)
            row = (await connection.execute(select(ITEMS).where(mine))).first()
            if row is None:
                raise NotFound("item", item_id)
            return _item(row)

    async def put_user(self, tenant: str, profile: UserProfile) -> None:
        """Creates or replaces a user's profile."""
        await self.put_users(tenant, [profile])

    async def put_users(self, tenant: str, profiles: Sequence[UserProfile]) -> None:
        """The same for many."""
        statement = insert(USERS)
        told = {name: statement.excluded[name] for name in ("age", "gender", "occupation")}
        statement = statement.on_conflict_do_update(
            index_elements=["tenant", "user_id"], set_=told | {"updated_at": func.now()}
        )
        async with self._transaction() as connection:
            await connection.execute(
                statement,
                [
                    {"tenant": tenant, "user_id": each.user_id}
                    | {"age": each.age, "gender": each.gender, "occupation": each.occupation}
                    for each in profiles
                ],
            )

    async def add_missing_items(self, tenant: str, items: Iterable[ItemFacts]) -> int:
        """Adds those items that are not there yet, each with its event; says how many. Others stay as they are."""
        values = [{"tenant": tenant, "item_id": each.item_id} | _facts(each) for each in items]
        async with self._transaction() as connection:
            statement = insert(ITEMS).on_conflict_do_nothing().returning(ITEMS)
            added = await connection.execute(statement, values)
            rows = added.all()
            await _announce(connection, tenant, *map(_item, rows))
        return len(rows)

    def _transaction(self) -> AbstractAsyncContextManager[AsyncConnection]:
        return database.transaction(self._engine, "the recommender's database")


def item_message(item: CatalogueItem) -> catalogue_pb2.Item:
    """The item as the API and the topic show it."""
    message = catalogue_pb2.Item(
        item_id=item.facts.item_id,
        title=item.facts.title,
        categories=item.facts.categories,
        year=item.facts.year,
        revision=item.revision,
    )
    message.created_at.FromDatetime(item.created_at)
    return message


async def _announce(connection: AsyncConnection, tenant: str, *items: CatalogueItem) -> None:
    events = [
        outbox.NewEvent(
            CATALOGUE_TOPIC,
            f"{tenant}:{item.facts.item_id}",
            catalogue_pb2.ItemChanged(item=item_message(item), retired=item.retired),
            tenant,
        )
        for item in items
    ]
    await outbox.add_many_async(connection, events)


def _facts(facts: ItemFacts) -> dict[str, object]:
    return {"title": facts.title, "categories": list(facts.categories), "year": facts.year}


def _item(row: Row[tuple[object, ...]]) -> CatalogueItem:
    facts = ItemFacts(row.item_id, row.title, tuple(row.categories), row.year)
    return CatalogueItem(facts, row.created_at, row.revision, row.retired)
