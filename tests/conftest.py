"""A started store and platform on a database of their own, once for each database.

SQLite always; PostgreSQL when `CROSSDOCK_TEST_POSTGRES_URL` is set. Tests of one run share a PostgreSQL
schema, which is emptied before each.
"""

import asyncio
import contextlib
import os
import shutil
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import pytest
from hypothesis import HealthCheck, settings

from core.caller import SYSTEM, Caller
from core.platform import Platform
from core.store import Store, open_store
from core.store.schema import ddl
from core.store.tables import METADATA
from tests.answered import Witness
from tests.fakes import FakeClock

POSTGRES = os.environ.get("CROSSDOCK_TEST_POSTGRES_URL")

# A machine that is busy with something else is no fault of a strategy.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--unseen-answers`, for runs of a part."""
    parser.addoption("--unseen-answers", action="store_true", help="list the documented answers not seen")


def pytest_configure(config: pytest.Config) -> None:
    """Have a run of everything judged by which documented answers it saw."""
    config.pluginmanager.register(Witness(config))


OpenStore = Callable[[], Awaitable[Store]]


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with empty tables, to be copied."""
    path = tmp_path_factory.mktemp("template") / "hub.db"
    connection = sqlite3.connect(path)
    for statement in ddl("sqlite"):
        connection.execute(statement)
    connection.commit()
    connection.close()
    return path


@pytest.fixture(scope="session")
def postgres_schema() -> Iterator[str]:
    """The URL of a PostgreSQL schema with tables, which lives as long as the run."""
    if POSTGRES is None:
        pytest.skip("CROSSDOCK_TEST_POSTGRES_URL is not set")
    address = POSTGRES
    name = f"test_{uuid4().hex[:12]}"

    async def run(statements: tuple[str, ...]) -> None:
        connection = await asyncpg.connect(address, server_settings={"search_path": name})
        for statement in statements:
            await connection.execute(statement)
        await connection.close()

    def execute(*statements: str) -> None:
        # In a thread: the first test that wants it has a loop running here.
        with ThreadPoolExecutor(1) as pool:
            pool.submit(lambda: asyncio.run(run(statements))).result()

    execute(f"CREATE SCHEMA {name}", *ddl("postgresql"))
    yield f"{address}{'&' if '?' in address else '?'}search_path={name}"
    execute(f"DROP SCHEMA {name} CASCADE")


@pytest.fixture
async def empty_postgres(postgres_schema: str) -> str:
    """The URL of that schema with empty tables."""
    connection = await asyncpg.connect(postgres_schema)
    # Not TRUNCATE: its lock would wait a second for any vacuum that passes by.
    emptying = ";".join(f"DELETE FROM {table.name}" for table in METADATA.sorted_tables)
    for _ in range(4):
        # The last statements of a session that the test before it left may hold what this wants.
        with contextlib.suppress(asyncpg.DeadlockDetectedError):
            await connection.execute(emptying)
            break
    else:
        await connection.execute(emptying)
    await connection.close()
    return postgres_schema


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database with empty tables."""
    if request.param == "sqlite":
        path = tmp_path / "hub.db"
        shutil.copyfile(request.getfixturevalue("sqlite_template"), path)
        return f"sqlite:///{path}"
    url: str = request.getfixturevalue("empty_postgres")
    return url


@pytest.fixture
def clock() -> FakeClock:
    """The clock of every store in the test."""
    return FakeClock()


@pytest.fixture
async def open_another(database_url: str, clock: FakeClock) -> AsyncIterator[OpenStore]:
    """Opens and starts a store on the test's database: a replica on PostgreSQL, a restart on SQLite."""
    opened: list[Store] = []

    async def another() -> Store:
        store = open_store(database_url, clock=clock)
        await store.start()
        opened.append(store)
        return store

    yield another
    for store in opened:
        await store.stop()


@pytest.fixture
async def store(open_another: OpenStore) -> Store:
    """A started store on a database with empty tables."""
    return await open_another()


@pytest.fixture
async def platform(database_url: str, clock: FakeClock) -> AsyncIterator[Platform]:
    """A started platform on a database with empty tables."""
    platform = Platform(open_store(database_url, clock=clock))
    await platform.start()
    yield platform
    await platform.stop()


@pytest.fixture
def tenant_id() -> UUID:
    """A tenant that nobody else has."""
    return uuid4()


@pytest.fixture
def operator(tenant_id: UUID) -> Caller:
    """The hub itself in that tenant."""
    return SYSTEM(tenant_id)
