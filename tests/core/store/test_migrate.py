"""The schema's history leads to exactly what the tables say, on both databases."""

import asyncio
import itertools
import os
import sqlite3
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from core.store import migrate
from core.store.tables import METADATA

POSTGRES = os.environ.get("CROSSDOCK_TEST_POSTGRES_URL")

Schema = dict[str, dict[str, Any]]


@pytest.fixture(params=["sqlite", "postgresql"])
async def empty(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """The address of a database with nothing in it."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/hub.db"
        return
    async for url in _postgres_database():
        yield url


@pytest.fixture
async def another(empty: str, tmp_path: Path) -> AsyncIterator[str]:
    """A second one of the same kind."""
    if empty.startswith("sqlite"):
        yield f"sqlite:///{tmp_path}/another.db"
        return
    async for url in _postgres_database():
        yield url


async def _postgres_database() -> AsyncIterator[str]:
    if POSTGRES is None:
        pytest.skip("CROSSDOCK_TEST_POSTGRES_URL is not set")
    name = f"crossdock_migrate_{uuid4().hex[:12]}"
    admin = await asyncpg.connect(POSTGRES)
    try:
        await admin.execute(f'CREATE DATABASE "{name}"')
        try:
            yield sa.make_url(POSTGRES).set(database=name).render_as_string(hide_password=False)
        finally:
            await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    finally:
        await admin.close()


async def test_a_migrated_database_differs_in_nothing_from_the_tables(empty: str) -> None:
    await migrate.ensure(empty)
    assert await migrate.differences(empty) == []


async def test_a_migrated_schema_equals_a_fresh_one(empty: str, another: str) -> None:
    await migrate.ensure(empty)
    await _create_all(another)
    migrated, fresh = await _dump(empty), await _dump(another)
    migrated.pop(migrate.VERSION_TABLE)
    assert migrated.keys() == fresh.keys()
    for table, shape in fresh.items():
        assert migrated[table] == shape, table


async def test_the_way_down_leaves_nothing_behind(empty: str) -> None:
    newest = (await migrate.ensure(empty)).newest
    gone = await migrate.downgrade(empty, migrate.EMPTY)
    assert gone.current == migrate.EMPTY
    assert set(await _dump(empty)) <= {migrate.VERSION_TABLE}
    assert (await migrate.upgrade(empty)).current == newest


async def test_each_step_can_be_walked_down_and_up_again(empty: str, another: str) -> None:
    await migrate.ensure(another)
    versions = [migrate.EMPTY, *(s.version for s in (await migrate.status(empty)).pending)]
    for below, version in itertools.pairwise(versions):
        assert (await migrate.upgrade(empty, version)).current == version
        assert (await migrate.downgrade(empty, below)).current == below
        assert (await migrate.upgrade(empty, version)).current == version
    assert await _dump(empty) == await _dump(another)


async def test_programs_that_start_together_migrate_once(empty: str) -> None:
    results = await asyncio.gather(*(migrate.ensure(empty) for _ in range(4)))
    assert {r.current for r in results} == {results[0].newest}


async def test_ensuring_again_changes_nothing(empty: str) -> None:
    first = await migrate.ensure(empty)
    before = await _dump(empty)
    assert await migrate.ensure(empty) == first
    assert await _dump(empty) == before


async def test_a_database_newer_than_the_program_is_refused_and_left_alone(empty: str) -> None:
    newest = (await migrate.ensure(empty)).newest
    await _execute(empty, f"UPDATE {migrate.VERSION_TABLE} SET version_num = '9999'")
    before = await _dump(empty)
    for attempt in (migrate.ensure, migrate.status):
        with pytest.raises(migrate.DatabaseTooNew) as refusal:
            await attempt(empty)
        assert "9999" in str(refusal.value)
        assert newest in str(refusal.value)
    assert await _dump(empty) == before


async def test_an_unknown_version_is_refused_with_those_that_exist(empty: str) -> None:
    with pytest.raises(migrate.MigrationError, match="there is no schema 0999"):
        await migrate.upgrade(empty, "0999")


async def test_the_status_of_a_missing_file_makes_no_file(tmp_path: Path) -> None:
    status = await migrate.status(f"sqlite:///{tmp_path}/hub.db")
    assert status.current == migrate.EMPTY
    assert status.pending
    assert not (tmp_path / "hub.db").exists()


async def test_a_new_database_file_is_its_owners_alone(tmp_path: Path) -> None:
    await migrate.ensure(f"sqlite:///{tmp_path}/hub.db")
    assert stat.S_IMODE((tmp_path / "hub.db").stat().st_mode) == 0o600


async def test_a_file_that_is_no_database_is_named_in_the_error(tmp_path: Path) -> None:
    (tmp_path / "hub.db").write_text("these are not the pages of a database\n" * 100)
    with pytest.raises(migrate.DatabaseUnreachable, match=r"hub\.db: file is not a database"):
        await migrate.ensure(f"sqlite:///{tmp_path}/hub.db")


async def test_a_step_that_fails_halfway_changes_nothing(empty: str) -> None:
    await _execute(empty, "CREATE TABLE task (id INTEGER)")
    before = await _dump(empty)
    with pytest.raises(migrate.MigrationError, match="task"):
        await migrate.ensure(empty)
    assert await _dump(empty) == before


async def test_an_unreachable_server_is_a_migration_error() -> None:
    with pytest.raises(migrate.DatabaseUnreachable):
        await migrate.status("postgresql://nobody@127.0.0.1:1/nothing")


async def _create_all(url: str) -> None:
    if (path := migrate.sqlite_path(url)) is not None:
        engine = sa.create_engine(f"sqlite:///{path}")
        METADATA.create_all(engine)
        engine.dispose()
        return
    remote = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://"), poolclass=NullPool)
    async with remote.begin() as connection:
        await connection.run_sync(METADATA.create_all)
    await remote.dispose()


async def _execute(url: str, statement: str) -> None:
    if (path := migrate.sqlite_path(url)) is not None:
        connection = sqlite3.connect(path)
        connection.execute(statement)
        connection.commit()
        connection.close()
        return
    remote = await asyncpg.connect(url)
    await remote.execute(statement)
    await remote.close()


async def _dump(url: str) -> Schema:
    """Columns, keys, indexes, checks and storage options of every table, in a form to compare."""
    if (path := migrate.sqlite_path(url)) is not None:
        engine = sa.create_engine(f"sqlite:///{path}", poolclass=NullPool)
        with engine.connect() as connection:
            return _describe(connection)
    remote = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://"), poolclass=NullPool)
    async with remote.connect() as connected:
        found = await connected.run_sync(_describe)
    await remote.dispose()
    return found


def _describe(connection: sa.Connection) -> Schema:
    inspector = sa.inspect(connection)
    tables: Schema = {}
    for name in inspector.get_table_names():
        tables[name] = {
            "columns": sorted(
                (c["name"], str(c["type"]), c["nullable"], str(c["default"]))
                for c in inspector.get_columns(name)
            ),
            "primary key": inspector.get_pk_constraint(name)["constrained_columns"],
            "unique": sorted(tuple(u["column_names"]) for u in inspector.get_unique_constraints(name)),
            "checks": sorted((c["name"] or "", c["sqltext"]) for c in inspector.get_check_constraints(name)),
            "foreign keys": inspector.get_foreign_keys(name),
        }
        tables[name].update(_own_words(connection, name))
    return tables


def _own_words(connection: sa.Connection, table: str) -> dict[str, Any]:
    if connection.dialect.name == "sqlite":
        indexes = (
            "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = :table AND sql != ''"
        )
        options = "SELECT sql LIKE '%AUTOINCREMENT%' FROM sqlite_master WHERE name = :table"
    else:
        indexes = "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = :table"
        options = "SELECT reloptions::text FROM pg_class WHERE relname = :table AND relkind = 'r'"
    return {
        "indexes": sorted(tuple(row) for row in connection.execute(sa.text(indexes), {"table": table})),
        "options": [tuple(row) for row in connection.execute(sa.text(options), {"table": table})],
    }
