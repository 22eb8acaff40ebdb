"""API keys in a real PostgreSQL: a rotation is whole, whatever breaks in it."""

from contextlib import contextmanager

import psycopg
import pytest
from psycopg import sql


@contextmanager
def refused(superuser_url, database, statement):
    """PostgreSQL refuses every such statement on the table of keys, for the length of a block."""
    address = psycopg.conninfo.make_conninfo(superuser_url, dbname=database)
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE 'broken by a test' USING ERRCODE = 'crash_shutdown'; END $$"
        )
        connection.execute(
            sql.SQL("CREATE TRIGGER broken BEFORE {} ON api_keys EXECUTE FUNCTION refuse()").format(sql.SQL(statement))
        )
        try:
            yield
        finally:
            connection.execute("DROP FUNCTION refuse CASCADE")


async def keys(gateway):
    """When each of the tenant's keys ends, by id."""
    return {key["key_id"]: key["revoked_at"] for key in (await gateway.client.get("/v1/keys")).json()["keys"]}


@pytest.mark.parametrize("step", ["INSERT", "UPDATE"])
async def test_a_rotation_that_breaks_leaves_everything_as_it_was(gateway, gateway_database, postgres, step):
    made = (await gateway.client.post("/v1/keys", json={"principal": "shop", "roles": ["viewer"]})).json()
    before = await keys(gateway)

    with refused(postgres.superuser_url, psycopg.conninfo.conninfo_to_dict(gateway_database)["dbname"], step):
        broken = await gateway.client.post(f"/v1/keys/{made['key_id']}:rotate", json={"grace_seconds": 0})

    assert broken.status_code == 503
    assert await keys(gateway) == before
    old = {"Authorization": f"Bearer {made['key']}"}
    assert (await gateway.client.get("/v1/models", headers=old)).status_code == 200


async def test_a_key_that_has_ended_is_not_rotated(gateway):
    made = (await gateway.client.post("/v1/keys", json={"principal": "shop", "roles": ["viewer"]})).json()
    first = await gateway.client.post(f"/v1/keys/{made['key_id']}:rotate", json={"grace_seconds": 0})
    before = await keys(gateway)

    again = await gateway.client.post(f"/v1/keys/{made['key_id']}:rotate", json={"grace_seconds": 0})

    assert (first.status_code, again.status_code) == (201, 409)
    assert await keys(gateway) == before
