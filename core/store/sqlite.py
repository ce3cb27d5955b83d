"""The SQLite store: one writer thread that commits in groups, and reads inline on the event loop.

A command is a coroutine whose awaits never suspend here, so the writer drives it like a function. One process
serves one file; the lock beside the file sees to it. Nothing here knows what a command does.
"""

import asyncio
import fcntl
import os
import sqlite3
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, cast
from uuid import UUID

import sqlalchemy as sa

from core.errors import Conflict, Unavailable
from core.hints import Hints
from core.store.checkpoint import Checkpointer
from core.store.clock import Clock, IdSource
from core.store.engine import Call, Outcome, Store
from core.store.statement import Program, ProgramCache, Query, Row, Statement
from core.store.tables import event
from core.store.tx import EVENTS, Tx

BATCH = 256
"""Commands that share one commit, at most."""

PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "busy_timeout=5000",
    "foreign_keys=ON",
    "temp_store=MEMORY",
    "cache_size=-65536",
    "mmap_size=268435456",
    "wal_autocheckpoint=16000",
)

ADD_EVENT = Statement(
    sa.insert(event).values({c.name: sa.bindparam(c.name) for c in event.c if c.name != "pos"})
)


class StoreInUse(RuntimeError):
    """Another process serves this database file."""


class _SqliteTx(Tx):
    __slots__ = ("_cache", "_cursor", "_reads_only")

    def __init__(
        self,
        call: Call,
        store: "SqliteStore",
        cursor: sqlite3.Cursor,
        cache: ProgramCache,
        *,
        reads_only: bool = False,
    ) -> None:
        super().__init__(call.caller, store.now(), store.new_id, store.memory)
        self._cursor = cursor
        self._cache = cache
        self._reads_only = reads_only

    def _execute(self, statement: Query, params: dict[str, Any]) -> Program:
        if type(statement) is Statement:
            program = statement.program("sqlite")
        else:
            program, params = self._cache.resolve(statement, params)
        if self._reads_only and program.writes:
            raise TypeError(f"a query is read-only: {program.sql}")
        sql, arguments = program.bind(params, self.implicit)
        try:
            self._cursor.execute(sql, arguments)
        except sqlite3.Error as error:
            raise _translated(error) from error
        return program

    def _fetch(self, program: Program) -> list[Any]:
        try:
            return self._cursor.fetchall()
        except sqlite3.Error as error:
            raise _translated(error) from error

    async def one(self, statement: Query, /, **params: Any) -> Row | None:
        program = self._execute(statement, params)
        # All rows are fetched: a half-read statement would stay open across the commit.
        rows = self._fetch(program)
        return tuple.__new__(program.row_type, rows[0]) if rows else None

    async def all(self, statement: Query, /, **params: Any) -> list[Row]:
        program = self._execute(statement, params)
        kind = program.row_type
        return [tuple.__new__(kind, row) for row in self._fetch(program)]

    async def run(self, statement: Query, /, **params: Any) -> int:
        return self._run(statement, params)

    def _run(self, statement: Query, params: dict[str, Any]) -> int:
        program = self._execute(statement, params)
        if program.returns:
            return len(self._fetch(program))
        count = self._cursor.rowcount
        if count < 0:  # the driver does not count statements that begin with WITH
            count = self._cursor.execute("SELECT changes()").fetchone()[0]
        return count

    def add(self, statement: Statement, /, **params: Any) -> None:
        program = self._execute(statement, params)
        if program.returns:
            self._fetch(program)

    async def flush(self) -> None:
        pass

    def event(
        self,
        kind: str,
        *,
        data: Mapping[str, Any],
        task_id: UUID | None = None,
        version: int | None = None,
        entity_type: str = "task",
        entity_id: UUID | None = None,
        workflow_id: UUID | None = None,
        context_id: str | None = None,
        submitter_id: UUID | None = None,
    ) -> None:
        values = self.event_values(
            kind, data, task_id, version, entity_type, entity_id, workflow_id, context_id, submitter_id
        )
        self._execute(ADD_EVENT, values)
        self.wakes[EVENTS] = 1


def _translated(error: sqlite3.Error) -> Exception:
    name = getattr(error, "sqlite_errorname", "") or ""
    if name in ("SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY"):
        table = str(error).rpartition(": ")[2].partition(".")[0]
        return Conflict(
            f"This {table} exists already.", details={"reason_code": "already_exists", "resource": table}
        )
    if name.startswith(("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_CANTOPEN")):
        return Unavailable("The database cannot be written now.")
    return error


def drive(coroutine: Coroutine[Any, Any, Any], name: str) -> Any:
    """Run a coroutine that never suspends.

    Raises:
        RuntimeError: it suspended.
    """
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    coroutine.close()
    raise RuntimeError(f"{name} suspended: a command awaits nothing but its tx and other commands")


@dataclass(slots=True, eq=False)
class _Job:
    call: Call
    future: "asyncio.Future[Outcome[Any]]"
    outcome: Outcome[Any] | None = None
    error: Exception | None = None
    wakes: dict[str, int] = field(default_factory=dict)
    after: Sequence[Callable[[], None]] = ()


def _fail(jobs: Sequence[_Job], error: BaseException) -> None:
    if isinstance(error, sqlite3.Error):
        error = _translated(error)
    elif not isinstance(error, Exception):  # a cancellation or an exit is not the awaiter's
        error = RuntimeError(f"a command raised {error!r}")
    for job in jobs:
        job.outcome, job.error = None, error


class _FileLock:
    """An exclusive lock beside the database, which dies with its process."""

    def __init__(self, database: Path) -> None:
        path = database.with_name(database.name + ".lock")
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(self._fd, 32).decode(errors="replace").strip() or "another process"
            os.close(self._fd)
            raise StoreInUse(f"{database.name} is served by pid {holder}") from None
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        os.close(self._fd)


class SqliteStore(Store):
    """One file, one writer."""

    dialect = "sqlite"

    def __init__(self, path: str, *, clock: Clock, new_id: IdSource, beside: bool = False) -> None:
        self.clock = clock
        self.new_id = new_id
        self.hints = Hints()
        self.memory = {}
        self._path = Path(path)
        self._beside = beside
        self._gathered: list[_Job] = []
        self._queue: SimpleQueue[Sequence[_Job] | None] = SimpleQueue()
        self._write_cache = ProgramCache("sqlite")
        self._read_cache = ProgramCache("sqlite")
        self._accepting = False

    async def start(self) -> None:
        """Lock the file, open it and begin to serve.

        Raises:
            StoreInUse: another process has it.
        """
        self._loop = asyncio.get_running_loop()
        self._lock = None if self._beside else _FileLock(self._path)
        try:
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._writer = self._connect()
            self._reader = self._connect()
        except BaseException:
            self._unlock()
            raise
        self._checkpointer = Checkpointer(self._connect)
        self._reader.execute("PRAGMA query_only=ON")
        self._read_cursor = self._reader.cursor()
        self._write_cursor = self._writer.cursor()
        self._accepting = True
        self._thread = threading.Thread(target=self._serve, name="crossdock-writer", daemon=True)
        self._thread.start()
        self._checkpointer.start()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        for pragma in PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
        return connection

    async def stop(self) -> None:
        if not self._accepting:
            return
        self._accepting = False
        self._hand_over()
        self._queue.put(None)
        await self._loop.run_in_executor(None, self._thread.join)
        await self._loop.run_in_executor(None, self._checkpointer.stop)
        self._reader.close()
        self._writer.close()
        self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.release()

    async def write(self, call: Call) -> Outcome[Any]:
        if not self._accepting:
            raise Unavailable("The hub is stopping.")
        job = _Job(call, self._loop.create_future())
        if not self._gathered:
            self._loop.call_soon(self._hand_over)
        self._gathered.append(job)
        return await job.future

    def _hand_over(self) -> None:
        """Give the writer what this turn of the loop has brought: it wakes once for all, and commits once."""
        if self._gathered:
            self._queue.put(self._gathered)
            self._gathered = []

    async def read(self, call: Call) -> Any:
        if not self._accepting:
            raise Unavailable("The hub is stopping.")
        tx = _SqliteTx(call, self, self._read_cursor, self._read_cache, reads_only=True)
        self._read_cursor.execute("BEGIN")
        try:
            return drive(call.command(tx, call.argument), call.name)
        finally:
            self._read_cursor.execute("COMMIT")

    def _serve(self) -> None:
        more: Sequence[_Job] | None = ()
        while more is not None and (jobs := self._queue.get()) is not None:
            waiting = list(jobs)
            while len(waiting) < BATCH:
                try:
                    more = self._queue.get_nowait()
                except Empty:
                    break
                if more is None:
                    break
                waiting += more
            for begin in range(0, len(waiting), BATCH):
                batch = waiting[begin : begin + BATCH]
                try:
                    self._commit(batch)
                except Exception as failure:  # the file is away: the thread lives on, and says so
                    _fail(batch, failure)
                self._settle_soon(batch)
                self._checkpointer.committed()

    def _commit(self, batch: Sequence[_Job]) -> None:
        self._write_cursor.execute("BEGIN IMMEDIATE")
        try:
            self._attempt(batch)
        except Exception as failure:
            if self._writer.in_transaction:
                self._write_cursor.execute("ROLLBACK")
            if len(batch) == 1:
                _fail(batch, failure)
                return
            # The transaction itself was lost (disk full, a deferred constraint): find out whose fault it was.
            for job in batch:
                self._commit([job])

    def _attempt(self, batch: Sequence[_Job]) -> None:
        execute = self._write_cursor.execute
        for job in batch:
            tx = _SqliteTx(job.call, self, self._write_cursor, self._write_cache)
            execute("SAVEPOINT command")
            try:
                job.outcome = cast(Outcome[Any], drive(_perform(tx, job.call), job.call.name))
            except BaseException as error:
                if not self._writer.in_transaction:
                    raise
                execute("ROLLBACK TO command")
                _fail([job], error)
            else:
                job.error, job.wakes, job.after = None, tx.wakes, tx.after
            execute("RELEASE command")
        execute("COMMIT")

    def _settle_soon(self, batch: Sequence[_Job]) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._settle, batch)

    def _settle(self, batch: Sequence[_Job]) -> None:
        wakes: dict[str, int] = {}
        for job in batch:
            if job.error is None:
                for callback in job.after:
                    callback()
                for topic, count in job.wakes.items():
                    wakes[topic] = wakes.get(topic, 0) + count
            if job.future.done():
                continue
            if job.error is not None:
                job.future.set_exception(job.error)
            elif job.outcome is not None:
                job.future.set_result(job.outcome)
        for topic, count in wakes.items():
            self.hints.publish(topic, count)


async def _perform(tx: Tx, call: Call) -> Outcome[Any]:
    replay = call.replay
    if replay is None:
        return Outcome(await call.command(tx, call.argument), False)
    found = await replay.find(tx)
    if found is not None:
        return Outcome(replay.recall(found), True)
    result = await call.command(tx, call.argument)
    replay.remember(tx, result)
    return Outcome(result, False)
