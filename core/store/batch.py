"""One PostgreSQL transaction in the making: writes that wait for its end, and commands that run in step.

In step, the commands of a batch all go as far as their next statement, and what they ask for then goes out
together: equal statements travel as one message and come back as one, so that a batch costs about as many
round trips as one of its commands. This module decides nothing about which calls share a batch.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from core.store.postgres_connection import Connection
from core.store.statement import NUMBER, Program, Statement
from core.store.tables import event_outbox

ADD_EVENT = Statement(
    sa.insert(event_outbox).values({c.name: sa.bindparam(c.name) for c in event_outbox.c if c.name != "seq"})
)


@dataclass(frozen=True, slots=True)
class Announced:
    """An event that waits to be written."""

    task_id: UUID | None
    version: int | None
    row: Sequence[Any]


class Batch:
    """Writes that nobody needs before the end of their transaction."""

    __slots__ = ("events", "groups")

    def __init__(self) -> None:
        self.groups: list[tuple[str, list[Sequence[Any]]]] = []
        self.events: list[Announced] = []

    def __bool__(self) -> bool:
        return bool(self.groups or self.events)

    def add(self, sql: str, rows: Sequence[Sequence[Any]], after: int) -> int:
        """Gather rows with others of their statement, in no group before `after`; tells in which."""
        for place in range(after, len(self.groups)):
            if self.groups[place][0] == sql:
                self.groups[place][1].extend(rows)
                return place
        self.groups.append((sql, list(rows)))
        return len(self.groups) - 1

    def absorb(self, other: "Batch") -> None:
        """Take over another's writes, each behind those that were before it there."""
        place = 0
        for sql, rows in other.groups:
            place = self.add(sql, rows, place)
        self.events += other.events
        other.groups, other.events = [], []

    async def flush(self, connection: Connection) -> None:
        """Write them all."""
        groups, events = self.groups, self.events
        self.groups, self.events = [], []
        if events:
            # Last and in one piece: nothing refers to them, and the log keeps their order.
            groups.append((ADD_EVENT.program("postgresql").sql, [e.row for e in by_version(events)]))
        for sql, rows in groups:
            if len(rows) == 1:
                await connection.execute(sql, *rows[0])
            else:
                await connection.executemany(sql, rows)


def by_version(events: Sequence[Announced]) -> list[Announced]:
    """The events as they came, but those of one task in the order of their versions.

    Commands that run in step may finish in another order than that in which they changed a common task.
    """
    places: dict[UUID, list[int]] = {}
    for place, announced in enumerate(events):
        if announced.task_id is not None and announced.version is not None:
            places.setdefault(announced.task_id, []).append(place)
    ordered = list(events)
    for own in places.values():
        if len(own) > 1:
            for place, announced in zip(
                own, sorted((events[p] for p in own), key=lambda e: e.version or 0), strict=True
            ):
                ordered[place] = announced
    return ordered


async def execute(
    connection: Connection, program: Program, params: Mapping[str, Any], implicit: Mapping[str, Any]
) -> Any:
    """Records, or the count of rows where there is no result."""
    sql, arguments = program.bind(params, implicit)
    if program.returns:
        return await connection.fetch(sql, *arguments)
    count = (await connection.execute(sql, *arguments)).rpartition(" ")[2]
    return int(count) if count.isdigit() else 0


@dataclass(frozen=True, slots=True, eq=False)
class Ask:
    """What a command in step asks for: a statement's result, or with no program, a flush."""

    program: Program | None
    params: Mapping[str, Any]
    implicit: Mapping[str, Any]

    def __await__(self) -> Generator["Ask", Any, Any]:
        return (yield self)


async def answer(connection: Connection, asks: Sequence[tuple[Program, Ask]]) -> list[Any]:
    """The results of several statements, equal ones in one round trip."""
    results: list[Any] = [None] * len(asks)
    together: dict[str, list[tuple[int, list[Any]]]] = {}
    for index, (program, ask) in enumerate(asks):
        numbered = program.numbered
        if numbered is None:
            results[index] = await execute(connection, program, ask.params, ask.implicit)
            continue
        sql, arguments = numbered.bind({**ask.params, NUMBER: index}, ask.implicit)
        together.setdefault(sql, []).append((index, arguments))
        results[index] = []
    for sql, executions in together.items():
        # The number of each execution comes back as the last column of its rows.
        for record in await connection.fetchmany(sql, [arguments for _, arguments in executions]):
            results[record[-1]].append(record)
    return [
        result if program.returns or program.numbered is None else len(result)
        for result, (program, _) in zip(results, asks, strict=True)
    ]


async def take_step(connection: Connection, shared: Batch, running: Sequence[tuple[Batch, Ask]]) -> list[Any]:
    """Give every running command what it asks for; flushes first."""
    for own, ask in running:
        if ask.program is None:
            shared.absorb(own)
    if any(ask.program is None for _, ask in running):
        await shared.flush(connection)
    asking = [(place, ask.program, ask) for place, (_, ask) in enumerate(running) if ask.program is not None]
    results: list[Any] = [None] * len(running)
    answers = await answer(connection, [(program, ask) for _, program, ask in asking])
    for (place, _, _), result in zip(asking, answers, strict=True):
        results[place] = result
    return results
