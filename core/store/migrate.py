"""The schema: which version a database has, and the way to another one.

SQLAlchemy engines are used here and nowhere else; commands and queries never come through this module.
Every walk is one transaction, and two programs that start at once walk one after the other.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import Script, ScriptDirectory
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from core.store.tables import METADATA

T = TypeVar("T")

VERSION_TABLE = "schema_version"
EMPTY = "0000"
LOCK_ID = 0x63726F7373646F63  # "crossdoc": replicas that start together migrate one after the other


class MigrationError(Exception):
    """The schema could not be read or changed. Nothing was changed."""


class DatabaseUnreachable(MigrationError):
    """The database cannot be opened, reached or written, or is none."""


class DatabaseTooNew(MigrationError):
    """A newer program has migrated this database; an older one must not touch it."""

    def __init__(self, current: str, newest: str) -> None:
        super().__init__(
            f"the database has schema {current}, this program knows schemas up to {newest}; "
            "install the newer program, or take the database down with it: crossdock migrate down " + newest
        )
        self.current = current
        self.newest = newest


@dataclass(frozen=True)
class Step:
    """One step of the schema's history."""

    version: str
    title: str


@dataclass(frozen=True)
class SchemaStatus:
    """`current` is "0000" for an empty database; `pending` are the steps from there to `newest`."""

    current: str
    newest: str
    pending: tuple[Step, ...]

    @property
    def is_newest(self) -> bool:
        return self.current == self.newest


async def status(url: str) -> SchemaStatus:
    """Which schema the database has. A SQLite file that does not exist yet is an empty database.

    Raises:
        DatabaseTooNew: a newer program has been here.
        DatabaseUnreachable: no connection could be made.
    """
    path = sqlite_path(url)
    if path is not None and not path.exists():
        return _describe(EMPTY)
    return await _run(url, lambda connection: _describe(_current(connection)))


async def ensure(url: str) -> SchemaStatus:
    """Bring the database to this program's schema; make the SQLite file, for its owner alone.

    Repeating it changes nothing. Programs that start together wait for the first one.

    Raises:
        DatabaseTooNew: a newer program has been here.
        DatabaseUnreachable: no connection could be made.
    """
    return await upgrade(url)


async def upgrade(url: str, target: str | None = None) -> SchemaStatus:
    """Walk up to `target`, or to the newest schema. What is above it already stays as it is.

    Raises:
        MigrationError: no such version, or one of `status`'s reasons.
    """
    path = sqlite_path(url)
    if path is not None and not path.exists():
        path.touch(mode=0o600)
    to = _existing(target or _newest())

    def walk(connection: sa.Connection) -> SchemaStatus:
        if _current(connection) < to:
            _walk(connection, to, lambda script, revision: script._upgrade_revs(to, revision))
        return _describe(_current(connection))

    return await _run(url, walk, alone=True)


async def downgrade(url: str, target: str) -> SchemaStatus:
    """Walk down to `target`; "0000" takes every table away, with all that is in it.

    Raises:
        MigrationError: no such version, or one of `status`'s reasons.
    """
    to = EMPTY if target == EMPTY else _existing(target)

    def walk(connection: sa.Connection) -> SchemaStatus:
        if _current(connection) > to:
            below = "base" if to == EMPTY else to
            _walk(connection, below, lambda script, revision: script._downgrade_revs(below, revision))
        return _describe(_current(connection))

    return await _run(url, walk, alone=True)


async def differences(url: str) -> Sequence[Any]:
    """What `core/store/tables/` says that the database does not have, in Alembic's words."""

    def compare(connection: sa.Connection) -> Sequence[Any]:
        options = {"version_table": VERSION_TABLE, "compare_type": True, "compare_server_default": True}
        found: Sequence[Any] = compare_metadata(
            MigrationContext.configure(connection, opts=options), METADATA
        )
        return found

    return await _run(url, compare)


def sqlite_path(url: str) -> Path | None:
    """The file of a `sqlite:///` address, or None for another database."""
    return Path(url.removeprefix("sqlite:///")) if url.startswith("sqlite:///") else None


def scripts() -> ScriptDirectory:
    """The history, as Alembic reads it from this package."""
    return ScriptDirectory(str(Path(__file__).parent / "migrations"))


def _history() -> Sequence[Script]:
    return list(reversed(list(scripts().walk_revisions())))


def _newest() -> str:
    return _history()[-1].revision


def _existing(version: str) -> str:
    versions = [script.revision for script in _history()]
    if version not in versions:
        raise MigrationError(f"there is no schema {version}; there are {EMPTY}, {', '.join(versions)}")
    return version


def _current(connection: sa.Connection) -> str:
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    return context.get_current_revision() or EMPTY


def _describe(current: str) -> SchemaStatus:
    history = _history()
    newest = history[-1].revision
    if current > newest:
        raise DatabaseTooNew(current, newest)
    pending = tuple(Step(s.revision, s.doc.rstrip(".")) for s in history if s.revision > current)
    return SchemaStatus(current, newest, pending)


def _walk(connection: sa.Connection, to: str, steps: Callable[[ScriptDirectory, Any], Any]) -> None:
    directory = scripts()
    with EnvironmentContext(
        Config(), directory, fn=lambda revision, _: steps(directory, revision), destination_rev=to
    ) as environment:
        environment.configure(
            connection=connection, target_metadata=METADATA, version_table=VERSION_TABLE, render_as_batch=True
        )
        environment.run_migrations()


async def _run(url: str, work: Callable[[sa.Connection], T], *, alone: bool = False) -> T:
    path = sqlite_path(url)
    if path is not None:
        return await asyncio.to_thread(_run_sqlite, path, work, alone)
    return await _run_postgres(url, work, alone)


def _run_sqlite(path: Path, work: Callable[[sa.Connection], T], alone: bool) -> T:
    engine = sa.create_engine("sqlite://", creator=lambda: _open(path), poolclass=NullPool)
    # The driver begins no transaction before DDL, so we begin it; IMMEDIATE makes the second program wait.
    begin = "BEGIN IMMEDIATE" if alone else "BEGIN"
    sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
    try:
        with engine.begin() as connection:
            return work(connection)
    except sa.exc.DBAPIError as failure:
        raise _explained(failure, str(path)) from failure
    finally:
        engine.dispose()


def _open(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=30, isolation_level=None)


async def _run_postgres(url: str, work: Callable[[sa.Connection], T], alone: bool) -> T:
    async def connect() -> Any:
        return await asyncpg.connect(url, timeout=10)

    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            if alone:
                await connection.execute(sa.text("SELECT pg_advisory_xact_lock(:id)"), {"id": LOCK_ID})
            return await connection.run_sync(work)
    except sa.exc.DBAPIError as failure:
        raise _explained(failure, "PostgreSQL") from failure
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as failure:  # from `connect`, unwrapped
        raise DatabaseUnreachable(f"PostgreSQL: {str(failure) or type(failure).__name__}") from failure
    finally:
        await engine.dispose()


def _explained(failure: sa.exc.DBAPIError, where: str) -> MigrationError:
    cause = failure.orig
    message = f"{where}: {cause.__cause__ or cause}" if cause is not None else f"{where}: {failure}"
    # SQLite has no class of its own for "unable to open", "locked" and "is not a database".
    unreachable = failure.statement is None or (isinstance(cause, sqlite3.Error) and _is_access(cause))
    return DatabaseUnreachable(message) if unreachable else MigrationError(message)


def _is_access(failure: sqlite3.Error) -> bool:
    return failure.sqlite_errorcode & 0xFF in {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_READONLY,
    }
