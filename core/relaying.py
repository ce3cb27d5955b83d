"""What a remote agent said and brought becomes part of our task, once, however often it is told.

A stream tells things one by one; a snapshot tells everything again. What comes from a snapshot is compared
with what is there, so that reading it twice changes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from core.fencing import P_TASK
from core.store import tables as t
from core.store.statement import Statement
from core.store.tx import Tx
from core.tasks.artifacts import PutArtifact, put_artifact
from core.tasks.messages import AddMessage, add_message
from core.tasks.task import Part


@dataclass(frozen=True)
class Said:
    """A message. `known`: it may have been taken over before."""

    message_id: str
    parts: Sequence[Part]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    final: bool = False
    known: bool = False


@dataclass(frozen=True)
class Brought:
    """An artifact, or a chunk of one. `whole`: all of it as it stands, of which some may be here already."""

    artifact_id: str
    parts: Sequence[Part]
    name: str | None = None
    description: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    append: bool = False
    last: bool = True
    whole: bool = False


Item = Said | Brought

_SAID = Statement(
    sa.select(t.message.c.parts).where(
        t.message.c.task_id == P_TASK,
        t.message.c.message_id == sa.bindparam("p_message_id", type_=sa.String()),
        t.message.c.role == sa.literal_column("'agent'"),
    )
)
_CHUNKS = Statement(
    sa.select(t.artifact_chunk.c.parts)
    .where(
        t.artifact_chunk.c.task_id == P_TASK,
        t.artifact_chunk.c.artifact_id == sa.bindparam("p_artifact_id", type_=sa.String()),
    )
    .order_by(t.artifact_chunk.c.n)
)


async def relay_items(tx: Tx, task_id: UUID, lease_id: UUID, items: Sequence[Item]) -> None:
    """Take items over in their order, under the executor's lease.

    Raises:
        NotFound, Forbidden, Conflict, InvalidTransition: as `lifecycle.touch`.
    """
    for item in items:
        if isinstance(item, Said):
            await _say(tx, task_id, lease_id, item)
        else:
            await _bring(tx, task_id, lease_id, item)


async def _say(tx: Tx, task_id: UUID, lease_id: UUID, item: Said) -> None:
    if item.known:
        await tx.flush()  # a snapshot may tell one thing twice, as history and as status
        rows = await tx.all(_SAID, p_task_id=task_id, p_message_id=item.message_id)
        if any(row.parts == list(item.parts) for row in rows):
            return
    await add_message(
        tx,
        AddMessage(
            task_id,
            item.parts,
            lease_id=lease_id,
            message_id=item.message_id,
            metadata=item.metadata,
            final=item.final,
        ),
    )


async def _bring(tx: Tx, task_id: UUID, lease_id: UUID, item: Brought) -> None:
    append, parts = item.append, list(item.parts)
    if append or item.whole:
        await tx.flush()
        chunks = await tx.all(_CHUNKS, p_task_id=task_id, p_artifact_id=item.artifact_id)
        append = append and bool(chunks)
        if item.whole and chunks:
            here = [part for chunk in chunks for part in chunk.parts]
            if here == parts:
                return
            append = parts[: len(here)] == here
            parts = parts[len(here) :] if append else parts
    await put_artifact(
        tx,
        PutArtifact(
            task_id,
            parts,
            artifact_id=item.artifact_id,
            name=item.name,
            description=item.description,
            append=append,
            last_chunk=item.last,
            metadata=item.metadata,
            lease_id=lease_id,
        ),
    )
