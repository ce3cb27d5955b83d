"""One PostgreSQL transaction as a command sees it, and what several commands in it share."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import asyncpg

from core.errors import Conflict
from core.store.batch import ADD_EVENT, Announced, Ask, Batch, execute
from core.store.engine import Call, Store
from core.store.lanes import named_by
from core.store.postgres_connection import Connection
from core.store.sequencer import SEQUENCE
from core.store.statement import Program, ProgramCache, Query, Row, Statement
from core.store.tx import Tx


class PostgresTx(Tx):
    """A command's share of a batch. What it adds is gathered with what the others add."""

    __slots__ = (
        "_cache",
        "_connection",
        "_in_step",
        "_place",
        "_reads_only",
        "_shared",
        "_unnamed",
        "broken",
        "own",
        "wrote",
    )

    def __init__(
        self,
        call: Call,
        store: Store,
        cache: ProgramCache,
        connection: Connection,
        shared: Batch,
        *,
        in_step: bool = False,
        reads_only: bool = False,
    ) -> None:
        super().__init__(call.caller, store.now(), store.new_id, store.memory)
        self._cache = cache
        self._connection = connection
        self._shared = shared
        self._unnamed = not named_by(call)
        self._in_step = in_step
        self._reads_only = reads_only
        self._place = 0
        self.own = Batch()
        """What it has added since the last flush."""
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
        if self._in_step:
            result = await Ask(program, params, self.implicit)
        else:
            try:
                result = await execute(self._connection, program, params, self.implicit)
            except BaseException as error:
                self._failed(error)
                raise
        if program.writes and (result or not program.tells_all_it_writes):
            self.wrote = True
        return program, result

    def _failed(self, error: BaseException) -> None:
        self.broken = True
        if isinstance(error, asyncpg.UniqueViolationError):
            raise duplicate(error) from error

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
        self._place = self.own.add(sql, [arguments], self._place)

    async def flush(self) -> None:
        self.wrote = self.wrote or bool(self.own)
        self._place = 0
        if self._in_step:
            await Ask(None, {}, {})
            return
        self._shared.absorb(self.own)
        try:
            await self._shared.flush(self._connection)
        except BaseException as error:
            self._failed(error)
            raise

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
        self.own.events.append(Announced(task_id, version, program.bind(values, self.implicit)[1]))
        self.wakes[SEQUENCE] = 1

    def _check(self, program: Program) -> None:
        if self._reads_only and program.writes:
            raise TypeError(f"a query is read-only: {program.sql}")


def duplicate(error: asyncpg.UniqueViolationError) -> Exception:
    table = error.table_name or "row"
    return Conflict(
        f"This {table} exists already.", details={"reason_code": "already_exists", "resource": table}
    )
