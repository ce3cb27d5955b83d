"""What is remembered with a work item: values by key, and the history of how they came to be.

A task speaks to the memory of its work item; one that belongs to none has a memory of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.errors import Conflict, Forbidden, Invalid, NotFound
from core.fencing import P_TASK, check_lease
from core.store import tables as t
from core.store.statement import Row, Statement
from core.store.tables import work_items as i
from core.store.tx import Tx
from core.store.types import Id
from core.work_items.records import find_item, item_row, tell_item
from schemas.strict_json import dump_json

MOST_BYTES: Final = 1024 * 1024
"""Of all present values of one memory, as JSON."""
MOST_PAST: Final = 1_000
"""Entries of the past that are kept; older ones are forgotten."""


@dataclass(frozen=True)
class Remember:
    """What a task's executor, or an operator, wants to be remembered. None forgets."""

    task_id: UUID
    updates: Mapping[str, Any]
    lease_id: UUID | None = None


@dataclass(frozen=True)
class TaskMemory:
    """The memory of a task: one key, or those in which a text occurs, or all."""

    task_id: UUID
    key: str | None = None
    text: str | None = None


@dataclass(frozen=True)
class ItemMemory:
    """The memory of a work item; with `past` the entries as they were made, newest first."""

    workflow_id: UUID
    work_item_id: UUID
    limit: int = 1000
    past: bool = False


@dataclass(frozen=True)
class Entry:
    """Something that is remembered, or was."""

    key: str
    value: Any
    removed: bool
    task_id: UUID | None
    author_id: UUID
    created_at: datetime

    @classmethod
    def of(cls, row: Row) -> "Entry":
        """The value of a `memory_entry` row."""
        return cls(**{name: getattr(row, name) for name in cls.__dataclass_fields__})


_c = i.memory_entry.c
_P_SUBJECT = sa.bindparam("p_subject_id", type_=Id())
_P_KEY = sa.bindparam("p_key", type_=sa.String())
_LOCKED = Statement(
    sa.select(*t.task.c).where(t.task.c.id == P_TASK, access.readable()).with_for_update(of=t.task)
)
_TASK = Statement(sa.select(*t.task.c).where(t.task.c.id == P_TASK, access.readable()))
_PRESENT = Statement(sa.select(*_c).where(_c.subject_id == _P_SUBJECT, _c.is_current).order_by(_c.key))
_PAST = Statement(
    sa.select(*_c)
    .where(_c.subject_id == _P_SUBJECT)
    .order_by(_c.id.desc())
    .limit(sa.bindparam("p_limit", type_=sa.Integer()))
)
_OUTDATE = Statement(
    sa.update(i.memory_entry)
    .where(_c.subject_id == _P_SUBJECT, _c.key == _P_KEY, _c.is_current)
    .values(is_current=sa.false())
)
_INSERT = Statement(sa.insert(i.memory_entry))
_OLDEST_KEPT = Statement(
    sa.select(_c.id)
    .where(_c.subject_id == _P_SUBJECT, sa.not_(_c.is_current))
    .order_by(_c.id.desc())
    .limit(sa.literal_column("1"))
    .offset(sa.literal_column(str(MOST_PAST)))
)
_FORGET = Statement(
    sa.delete(i.memory_entry).where(
        _c.subject_id == _P_SUBJECT,
        sa.not_(_c.is_current),
        _c.id <= sa.bindparam("p_upto", type_=Id()),
    )
)
_EXECUTED = Statement(
    sa.select(t.task.c.id).where(t.task.c.id == P_TASK, access.executing(), t.task.c.lease_id.is_not(None))
)


async def remember(tx: Tx, command: Remember) -> Sequence[Entry]:
    """Change a memory, key by key; all that it holds then. What it holds already is written no second time.

    Raises:
        NotFound: no such task, or not yours to see.
        Forbidden: you never held the task.
        Conflict: the lease is gone.
        Invalid: it would hold too much.
    """
    row = await tx.one(_LOCKED, p_task_id=command.task_id)
    if row is None:
        raise NotFound("no such task")
    if not tx.caller.operator or command.lease_id is not None:
        await check_lease(tx, row, command.lease_id)
        if row.lease_id is None:
            raise Conflict("the lease has ended", details={"reason_code": "lease_expired"})
    subject, item = row.work_item_id or row.id, None
    if row.work_item_id is not None:
        item = await find_item(tx, row.work_item_id, locked=True)
    present = {found.key: found for found in await tx.all(_PRESENT, p_subject_id=subject)}
    sizes = {key: found.size_bytes for key, found in present.items()}
    different = {
        key: value
        for key, value in command.updates.items()
        if (key in present) != (value is not None) or (key in present and present[key].value != value)
    }
    for key, value in different.items():
        sizes[key] = 0 if value is None else len(dump_json(value)) + len(key)
    if sum(sizes.values()) > MOST_BYTES:
        raise Invalid(f"a memory holds at most {MOST_BYTES} bytes", details={"field": "updates"})
    for key, value in sorted(different.items()):
        await tx.run(_OUTDATE, p_subject_id=subject, p_key=key)
        await tx.run(
            _INSERT,
            id=tx.new_id(),
            tenant_id=row.tenant_id,
            subject_id=subject,
            workflow_id=row.workflow_id,
            key=key,
            value=value,
            removed=value is None,
            is_current=value is not None,
            task_id=row.id,
            author_id=tx.caller.principal_id,
            size_bytes=sizes[key],
            created_at=tx.now,
        )
    upto = await tx.one(_OLDEST_KEPT, p_subject_id=subject)
    if upto is not None:
        await tx.run(_FORGET, p_subject_id=subject, p_upto=upto.id)
    if item is not None and different:
        said = {"task_id": str(row.id), "memory_keys": sorted(different)}
        tell_item(tx, item, "work_item.memory_updated", said)
    return await _present(tx, subject)


async def recall(tx: Tx, query: TaskMemory) -> Sequence[Entry]:
    """What the memory of a task holds. Its executor, its submitter and operators may ask.

    Raises:
        NotFound: no such task, or not yours to see.
        Forbidden: you may see the task, but it is not yours.
    """
    row = await tx.one(_TASK, p_task_id=query.task_id)
    if row is None:
        raise NotFound("no such task")
    mine = row.submitter_id == tx.caller.principal_id or tx.caller.operator
    if not mine and await tx.one(_EXECUTED, p_task_id=row.id) is None:
        raise Forbidden("only the executor of the task, its submitter and operators read its memory")
    found = await _present(tx, row.work_item_id or row.id)
    if query.text is not None:
        text = query.text.casefold()
        found = [
            entry
            for entry in found
            if text in entry.key.casefold() or text in dump_json(entry.value).decode().casefold()
        ]
    return [entry for entry in found if query.key in (None, entry.key)]


async def memory_of(tx: Tx, query: ItemMemory) -> Sequence[Entry]:
    """What the memory of a work item holds, by key; or its past, newest first.

    Raises:
        NotFound: no such workflow, or no such item of it.
    """
    row = await item_row(tx, query.workflow_id, query.work_item_id)
    if not query.past:
        return (await _present(tx, row.id))[: query.limit]
    found = await tx.all(_PAST, p_subject_id=row.id, p_limit=query.limit)
    return [Entry.of(entry) for entry in found]


async def _present(tx: Tx, subject_id: UUID) -> list[Entry]:
    found = await tx.all(_PRESENT, p_subject_id=subject_id)
    return [Entry.of(entry) for entry in found]
