"""One PostgreSQL transaction as a command sees it, and what several commands in it share."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import asyncpg
import sqlalchemy as sa

from core.errors import Conflict
from core.store.engine import Call, Store
from core.store.lanes import named_by
from core.store.postgres_connection import Connection
from core.store.sequencer import SEQUENCE
from core.store.statement import Program, ProgramCache, Query, Row, Statement
from core.store.tables import event_outbox
from core.store.tx import Tx

ADD_EVENT = Statement(
    sa.insert(event_outbox).values({c.name: sa.bindparam(c.name) for c in event_outbox.c if c.name != "seq"})
)


class Batch:
    """One transaction in the making: its connection, and the writes that wait for its end."""

    __slots__ = ("connection", "events", "groups")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.groups: list[tuple[str, list[list[Any]]]] = []
        self.events: list[list[Any]] = []

    def add(self, sql: str, arguments: list[Any], after: int) -> int:
        """Gather a row with others of its statement, in no group before `after`; tells in which."""
        for place in range(after, len(self.groups)):
            if self.groups[place][0] == sql:
                self.groups[place][1].append(arguments)
                return place
        self.groups.append((sql, [arguments]))
        return len(self.groups) - 1

    def mark(self) -> tuple[list[int], int]:
        return [len(rows) for _, rows in self.groups], len(self.events)

    def drop_since(self, mark: tuple[list[int], int]) -> None:
        sizes, events = mark
        del self.groups[len(sizes) :]
        for (_, rows), size in zip(self.groups, sizes, strict=True):
            del rows[size:]
        del self.events[events:]

    async def flush(self) -> None:
        groups = [(sql, rows) for sql, rows in self.groups if rows]
        if self.events:
            # Last and in one piece: nothing refers to them, and the log keeps the order in which they were
            # made.
            groups.append((ADD_EVENT.program("postgresql").sql, self.events))
        self.groups, self.events = [], []
        for sql, rows in groups:
            if len(rows) == 1:
                await self.connection.execute(sql, *rows[0])
            else:
                await self.connection.executemany(sql, rows)


class PostgresTx(Tx):
    """A command's share of a batch. What it adds is gathered with what the others add."""

    __slots__ = (
        "_added",
        "_batch",
        "_cache",
        "_mark",
        "_place",
        "_reads_only",
        "_unnamed",
        "broken",
        "wrote",
    )

    def __init__(
        self, call: Call, store: Store, cache: ProgramCache, batch: Batch, *, reads_only: bool = False
    ) -> None:
        super().__init__(call.caller, store.now(), store.new_id, store.memory)
        self._batch = batch
        self._cache = cache
        self._unnamed = not named_by(call)
        self._reads_only = reads_only
        self._mark = batch.mark()
        self._place = 0
        self._added = False
        self.wrote = False
        """Something of this command is in the database already."""
        self.broken = False
        """A statement failed: the server refuses everything but ROLLBACK."""

    async def _fetch(self, statement: Query, params: dict[str, Any]) -> tuple[Program, Any]:
        program, params = self._cache.resolve(statement, params)
        self._check(program)
        if program.locks and self._unnamed:
            # Within the batch a lock keeps nobody out, so what the others added must be there to be seen.
            await self.flush()
        sql, arguments = program.bind(params, self.implicit)
        connection = self._batch.connection
        try:
            result: Any
            if program.returns:
                result = await connection.fetch(sql, *arguments)
            else:
                count = (await connection.execute(sql, *arguments)).rpartition(" ")[2]
                result = int(count) if count.isdigit() else 0
        except BaseException as error:
            self.broken = True
            if isinstance(error, asyncpg.UniqueViolationError):
                raise duplicate(error) from error
            raise
        if program.writes and (result or not program.tells_all_it_writes):
            self.wrote = True
        return program, result

    async def one(self, statement: Query, /, **params: Any) -> Row | None:
        program, records = await self._fetch(statement, params)
        return tuple.__new__(program.row_type, records[0]) if records else None

    async def all(self, statement: Query, /, **params: Any) -> list[Row]:
        program, records = await self._fetch(statement, params)
        kind = program.row_type
        return [tuple.__new__(kind, record) for record in records]

    async def run(self, statement: Query, /, **params: Any) -> int:
        program, result = await self._fetch(statement, params)
        return len(result) if program.returns else result

    def add(self, statement: Statement, /, **params: Any) -> None:
        program = statement.program("postgresql")
        self._check(program)
        sql, arguments = program.bind(params, self.implicit)
        self._added = True
        self._place = self._batch.add(sql, arguments, self._place)

    async def flush(self) -> None:
        try:
            await self._batch.flush()
        except BaseException as error:
            self.broken = True
            if isinstance(error, asyncpg.UniqueViolationError):
                raise duplicate(error) from error
            raise
        self.wrote = self.wrote or self._added
        self._mark, self._place, self._added = ([], 0), 0, False

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
        program = ADD_EVENT.program("postgresql")
        self._check(program)
        values = self.event_values(
            kind, data, task_id, version, entity_type, entity_id, workflow_id, context_id, submitter_id
        )
        self._batch.events.append(program.bind(values, self.implicit)[1])
        self._added = True
        self.wakes[SEQUENCE] = 1

    def _check(self, program: Program) -> None:
        if self._reads_only and program.writes:
            raise TypeError(f"a query is read-only: {program.sql}")

    def forget(self) -> None:
        """Drop what was added and not yet flushed."""
        self._batch.drop_since(self._mark)


def duplicate(error: asyncpg.UniqueViolationError) -> Exception:
    table = error.table_name or "row"
    return Conflict(
        f"This {table} exists already.", details={"reason_code": "already_exists", "resource": table}
    )
