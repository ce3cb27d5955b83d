"""What is said in a task. A2A history and ACP turns are views of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.errors import NotFound
from core.fencing import P_TASK
from core.journal import tell
from core.lifecycle import Who, touch
from core.store import tables as t
from core.store.statement import Row, Statement
from core.store.tx import Tx
from core.tasks.task import Message, Part
from core.transitions import FINAL, Fence
from schemas.vocabulary import TaskState

_WORKING = frozenset(
    {TaskState.CLAIMED, TaskState.IN_PROGRESS, TaskState.INPUT_REQUIRED, TaskState.AUTH_REQUIRED}
)
_OPEN = frozenset(TaskState) - FINAL
_LARGEST_INLINE = 64 * 1024
"""Bytes of parts that travel inside the event; larger ones are read from their own table."""


@dataclass(frozen=True)
class AddMessage:
    """A message of the executor (role `agent`, under its lease) or of whoever asked (role `user`).

    `final`: this message is the whole answer; an A2A caller gets it instead of the task.
    """

    task_id: UUID
    parts: Sequence[Part]
    role: str = "agent"
    lease_id: UUID | None = None
    message_id: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    final: bool = False


@dataclass(frozen=True)
class ListMessages:
    """Messages with `n` greater than `after`, in order."""

    task_id: UUID
    after: int = 0
    limit: int = 100


_INSERT = Statement(sa.insert(t.message))
_EXISTS = Statement(sa.select(t.task.c.id).where(t.task.c.id == P_TASK, access.readable()))
_LIST = Statement(
    sa.select(t.message)
    .where(t.message.c.task_id == P_TASK, t.message.c.n > sa.bindparam("p_after", type_=sa.Integer()))
    .order_by(t.message.c.n)
    .limit(sa.bindparam("p_limit", type_=sa.Integer()))
)


async def add_message(tx: Tx, command: AddMessage) -> Message:
    """Say something in a task that is not final.

    Raises:
        NotFound, Forbidden, Conflict, InvalidTransition: as `lifecycle.touch`.
    """
    if command.role == "user":
        row = await touch(tx, command.task_id, who=Who.SUBMITTER, states=_OPEN, doing="add a message")
    else:
        row = await touch(
            tx,
            command.task_id,
            who=Who.EXECUTOR,
            states=_WORKING,
            lease_id=command.lease_id,
            fence=Fence.OWN,
            doing="add a message",
        )
    return say(
        tx,
        row,
        role=command.role,
        parts=command.parts,
        message_id=command.message_id,
        metadata=command.metadata,
        final=command.final,
    )


def keep(
    tx: Tx,
    row: Row,
    *,
    role: str,
    parts: Sequence[Part],
    message_id: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    final: bool = False,
    version: int | None = None,
    sender_id: UUID | None = None,
) -> Message:
    """Write a message into the history at the task's present version, whose event says it already."""
    message = Message(
        task_id=row.id,
        n=row.version if version is None else version,
        message_id=message_id or str(tx.new_id()),
        role=role,
        parts=list(parts),
        metadata=dict(metadata or {}),
        final=final,
        sender_id=sender_id or tx.caller.principal_id,
        at=tx.now,
    )
    tx.add(
        _INSERT,
        task_id=message.task_id,
        n=message.n,
        tenant_id=row.tenant_id,
        message_id=message.message_id,
        role=message.role,
        parts=message.parts,
        attributes=message.metadata,
        final=message.final,
        sender_id=message.sender_id,
        at=message.at,
    )
    return message


def say(
    tx: Tx,
    row: Row,
    *,
    role: str,
    parts: Sequence[Part],
    message_id: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    final: bool = False,
    version: int | None = None,
) -> Message:
    """Write a message, and its event, at the version that the caller has just taken for it."""
    message = keep(
        tx,
        row,
        role=role,
        parts=parts,
        message_id=message_id,
        metadata=metadata,
        final=final,
        version=version,
    )
    tell(
        tx,
        row,
        "task.message_sent",
        {
            "task_id": str(row.id),
            "n": message.n,
            "message_id": message.message_id,
            "role": role,
            "final": final,
            "metadata": message.metadata,
            "parts": inline(message.parts),
        },
        version=message.n,
    )
    return message


def inline(parts: Sequence[Part]) -> Sequence[Part] | None:
    """The parts when they are small enough to travel inside an event, else None: they are read by `n`."""
    size = sum(len(value) for part in parts for value in part.values() if isinstance(value, str))
    if size > _LARGEST_INLINE or any(
        "data" in part and len(repr(part["data"])) > _LARGEST_INLINE for part in parts
    ):
        return None
    return parts


async def list_messages(tx: Tx, query: ListMessages) -> list[Message]:
    """The messages of a readable task, oldest first.

    Raises:
        NotFound: no such task.
    """
    if await tx.one(_EXISTS, p_task_id=query.task_id) is None:
        raise NotFound("no such task")
    rows = await tx.all(_LIST, p_task_id=query.task_id, p_after=query.after, p_limit=query.limit)
    return [Message.of(row) for row in rows]
