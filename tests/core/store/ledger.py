"""A few commands on real tables, small enough to see what the store does with them."""

from dataclasses import dataclass, field
from uuid import UUID

import sqlalchemy as sa

from core.errors import Conflict, NotFound
from core.store.statement import Statement, insert
from core.store.tables import consumer, conversation
from core.store.tx import Tx

INSERT = Statement(sa.insert(conversation))
TITLES = Statement(
    sa.select(conversation.c.context_id, conversation.c.title)
    .where(conversation.c.tenant_id == sa.bindparam("caller_tenant"))
    .order_by(conversation.c.created_at, conversation.c.context_id)
)
RETITLE = Statement(
    sa.update(conversation)
    .values(title=sa.bindparam("to"))
    .where(
        conversation.c.tenant_id == sa.bindparam("caller_tenant"),
        conversation.c.context_id == sa.bindparam("context"),
    )
    .returning(conversation.c.title)
)
COUNT_UP = Statement(
    insert(consumer)
    .values(name=sa.bindparam("name"), pos=1)
    .on_conflict_do_update(index_elements=["name"], set_={"pos": consumer.c.pos + 1})
    .returning(consumer.c.pos)
)


@dataclass(frozen=True)
class Open:
    """Open a conversation of that name."""

    name: str
    task_id: UUID | None = None
    secretly: bool = False


@dataclass(frozen=True)
class Opened:
    id: UUID
    name: str
    token: str | None = field(default=None, metadata={"secret": True})


@dataclass(frozen=True)
class Count:
    name: str
    task_id: UUID | None = None


@dataclass(frozen=True)
class Nothing:
    pass


def row(tx: Tx, name: str) -> dict[str, object]:
    """A conversation's columns."""
    return {
        "tenant_id": tx.caller.tenant_id,
        "owner_id": tx.caller.principal_id,
        "context_id": name,
        "title": name,
        "created_at": tx.now,
    }


async def open_one(tx: Tx, command: Open) -> Opened:
    """Add a conversation and an event, and wake the route."""
    made = tx.new_id()
    tx.add(INSERT, **row(tx, command.name))
    tx.event("conversation.opened", task_id=command.task_id or made, version=1, data={"name": command.name})
    tx.wake("route:1")
    return Opened(made, command.name, "hush" if command.secretly else None)


async def open_and_refuse(tx: Tx, command: Open) -> Opened:
    """Refuse after something was added."""
    await open_one(tx, command)
    raise NotFound("no")


async def write_and_refuse(tx: Tx, command: Open) -> Opened:
    """Refuse after something was written at once."""
    await tx.run(INSERT, **row(tx, command.name))
    await open_one(tx, Open(command.name + "'"))
    raise Conflict("no")


async def write_and_break(tx: Tx, command: Open) -> Opened:
    """Fail with a bug after something was written at once."""
    await tx.run(INSERT, **row(tx, command.name))
    raise ZeroDivisionError


async def moody(tx: Tx, command: Open) -> Opened:
    """Do as the name says."""
    match command.name.partition(":")[0]:
        case "refuse":
            return await open_and_refuse(tx, command)
        case "write-refuse":
            return await write_and_refuse(tx, command)
        case "break":
            return await write_and_break(tx, command)
        case "twice":
            tx.add(INSERT, **row(tx, command.name))
            return await open_one(tx, command)
    return await open_one(tx, command)


async def count_up(tx: Tx, command: Count) -> int:
    """Count one more, and write an event with the new number."""
    counted = await tx.one(COUNT_UP, name=command.name)
    assert counted is not None
    number: int = counted.pos
    tx.event("counted", task_id=command.task_id, version=number, data={"name": command.name})
    return number


async def titles(tx: Tx, _: Nothing) -> list[str]:
    """The titles of the caller's tenant."""
    return [found.title for found in await tx.all(TITLES)]
