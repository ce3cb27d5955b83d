"""What a task brings forth: artifacts, whole or streamed in chunks."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from core import access, files
from core.errors import NotFound
from core.fencing import P_NOW, P_TASK
from core.journal import tell
from core.lifecycle import Who, touch
from core.ports import Kept
from core.store import tables as t
from core.store.statement import Row, Statement, insert
from core.store.tx import Tx
from core.tasks.messages import inline
from core.tasks.task import Artifact, Part
from core.transitions import Fence
from schemas.vocabulary import TaskState

WORKING = frozenset(
    {TaskState.CLAIMED, TaskState.IN_PROGRESS, TaskState.INPUT_REQUIRED, TaskState.AUTH_REQUIRED}
)
"""The states in which an executor may leave something."""


@dataclass(frozen=True)
class PutArtifact:
    """A new artifact, a replacement (`append` false), or a further chunk of one (`append` true)."""

    task_id: UUID
    parts: Sequence[Part]
    artifact_id: str | None = None
    name: str | None = None
    description: str | None = None
    path: str | None = None
    content_type: str | None = None
    append: bool = False
    last_chunk: bool = True
    metadata: Mapping[str, Any] = field(default_factory=dict)
    lease_id: UUID | None = None


@dataclass(frozen=True)
class ListArtifacts:
    """All artifacts of a task, in the order in which they came."""

    task_id: UUID


@dataclass(frozen=True)
class GetArtifact:
    """One artifact of a task."""

    task_id: UUID
    artifact_id: str


_P_ARTIFACT = sa.bindparam("p_artifact_id", type_=sa.String())
_P_SIZE = sa.bindparam("p_size", type_=sa.BigInteger())
_P_CHUNKS = sa.bindparam("p_chunks", type_=sa.Integer())
_P_COMPLETE = sa.bindparam("p_complete", type_=sa.Boolean())
_APPEND = Statement(
    sa.update(t.artifact)
    .where(
        t.artifact.c.task_id == P_TASK,
        t.artifact.c.artifact_id == _P_ARTIFACT,
        t.artifact.c.file_id.is_(None),
    )
    .values(
        chunks=t.artifact.c.chunks + _P_CHUNKS,
        size_bytes=t.artifact.c.size_bytes + _P_SIZE,
        complete=_P_COMPLETE,
        updated_at=P_NOW,
    )
    .returning(*t.artifact.c)
)


def _replace() -> sa.Executable:
    c = t.artifact.c
    made = insert(t.artifact).values({col.name: sa.bindparam(f"p_{col.name}", type_=col.type) for col in c})
    kept = {"task_id", "artifact_id", "tenant_id", "created_n", "created_at"}
    return made.on_conflict_do_update(
        index_elements=["task_id", "artifact_id"],
        set_={col.name: made.excluded[col.name] for col in c if col.name not in kept},
    ).returning(*c)


_REPLACE = Statement(_replace())
_DROP_CHUNKS = Statement(
    sa.delete(t.artifact_chunk).where(
        t.artifact_chunk.c.task_id == P_TASK, t.artifact_chunk.c.artifact_id == _P_ARTIFACT
    )
)
_DROP = Statement(
    sa.delete(t.artifact).where(t.artifact.c.task_id == P_TASK, t.artifact.c.artifact_id == _P_ARTIFACT)
)
_INSERT_CHUNK = Statement(sa.insert(t.artifact_chunk))
_ARTIFACTS = Statement(
    sa.select(t.artifact)
    .where(t.artifact.c.task_id == P_TASK)
    .order_by(t.artifact.c.created_n, t.artifact.c.artifact_id)
)
_ONE = Statement(
    sa.select(t.artifact).where(t.artifact.c.task_id == P_TASK, t.artifact.c.artifact_id == _P_ARTIFACT)
)
_CHUNKS = Statement(
    sa.select(t.artifact_chunk).where(t.artifact_chunk.c.task_id == P_TASK).order_by(t.artifact_chunk.c.n)
)
_CHUNKS_OF = Statement(
    sa.select(t.artifact_chunk)
    .where(t.artifact_chunk.c.task_id == P_TASK, t.artifact_chunk.c.artifact_id == _P_ARTIFACT)
    .order_by(t.artifact_chunk.c.n)
)
_CHUNK = Statement(
    sa.select(t.artifact_chunk.c.parts).where(
        t.artifact_chunk.c.task_id == P_TASK,
        t.artifact_chunk.c.artifact_id == _P_ARTIFACT,
        t.artifact_chunk.c.n == sa.bindparam("p_n", type_=sa.Integer()),
    )
)
_EXISTS = Statement(sa.select(t.task.c.id).where(t.task.c.id == P_TASK, access.readable()))


async def put_artifact(tx: Tx, command: PutArtifact) -> Artifact:
    """Store an artifact or a chunk of one, under the executor's lease. The answer carries this call's parts.

    Raises:
        NotFound: no such task, or `append` to an artifact that is not there.
        Forbidden, Conflict, InvalidTransition: as `lifecycle.touch`.
    """
    row = await touch(
        tx,
        command.task_id,
        who=Who.EXECUTOR,
        states=WORKING,
        lease_id=command.lease_id,
        fence=Fence.OWN,
        doing="add an artifact",
    )
    artifact_id = command.artifact_id or str(tx.new_id())
    if command.append:
        stored = await append_chunks(tx, row.id, artifact_id, [command])
    else:
        stored, _ = await replace_artifact(tx, row, command, artifact_id)
    announce(tx, row, command, stored)
    return Artifact.of(stored, list(command.parts))


def announce(tx: Tx, row: Row, command: PutArtifact, stored: Row, version: int | None = None) -> None:
    """Keep what a call brought to an artifact, and tell it, at a version that was taken for it."""
    parts, n = list(command.parts), row.version if version is None else version
    tx.add(_INSERT_CHUNK, task_id=row.id, artifact_id=stored.artifact_id, n=n, parts=parts)
    tell(
        tx,
        row,
        "task.artifact_updated",
        {
            "task_id": str(row.id),
            "n": n,
            "artifact_id": stored.artifact_id,
            "name": stored.name,
            "description": stored.description,
            "metadata": stored.attributes,
            "append": command.append,
            "last_chunk": command.last_chunk,
            "parts": inline(parts),
        },
        version=n,
    )


async def append_chunks(tx: Tx, task_id: UUID, artifact_id: str, chunks: Sequence[PutArtifact]) -> Row:
    """Count chunks, one after the other, to the artifact that they lengthen.

    Raises:
        NotFound: there is none, or its content is a file.
    """
    stored = await tx.one(
        _APPEND,
        p_task_id=task_id,
        p_artifact_id=artifact_id,
        p_size=sum(size_of(chunk.parts) for chunk in chunks),
        p_chunks=len(chunks),
        p_complete=chunks[-1].last_chunk,
        p_now=tx.now,
    )
    if stored is None:
        raise NotFound(
            "no such artifact, or one whose content is a file: nothing to append to",
            details={"artifact_id": artifact_id},
        )
    return stored


async def replace_artifact(
    tx: Tx,
    row: Row,
    command: PutArtifact,
    artifact_id: str,
    *,
    file_id: UUID | None = None,
    kept: Kept | None = None,
    version: int | None = None,
) -> tuple[Row, bool]:
    """Put an artifact in the place of what has its id, whose file goes; and tell whether nothing had it."""
    before = None
    if command.artifact_id is not None:  # an id that was just made names nothing
        before = await tx.one(_ONE, p_task_id=row.id, p_artifact_id=artifact_id)
        if before is not None and before.file_id is not None:
            files.dismiss(tx, before.file_id)
    tx.add(_DROP_CHUNKS, p_task_id=row.id, p_artifact_id=artifact_id)
    stored = await tx.one(
        _REPLACE,
        p_task_id=row.id,
        p_artifact_id=artifact_id,
        p_tenant_id=row.tenant_id,
        p_name=command.name,
        p_description=command.description,
        p_path=command.path,
        p_content_type=command.content_type,
        p_size_bytes=size_of(command.parts) if kept is None else kept.size_bytes,
        p_chunks=1,
        p_complete=command.last_chunk,
        p_attributes=dict(command.metadata),
        p_file_id=file_id,
        p_sha256=None if kept is None else kept.sha256,
        p_created_n=row.version if version is None else version,
        p_created_at=tx.now,
        p_updated_at=tx.now,
    )
    assert stored is not None, "an upsert returns its row"
    return stored, before is None


def size_of(parts: Sequence[Part]) -> int:
    """Bytes of content in parts: text as UTF-8, raw decoded, data as written."""
    total = 0
    for part in parts:
        if isinstance(part.get("text"), str):
            total += len(part["text"].encode())
        elif isinstance(part.get("raw"), str):
            total += len(base64.b64decode(part["raw"]))
        elif "data" in part:
            total += len(repr(part["data"]))
    return total


async def list_artifacts(tx: Tx, query: ListArtifacts) -> list[Artifact]:
    """The artifacts of a readable task with all their parts.

    Raises:
        NotFound: no such task.
    """
    if await tx.one(_EXISTS, p_task_id=query.task_id) is None:
        raise NotFound("no such task")
    return await artifacts_of(tx, query.task_id)


async def artifacts_of(tx: Tx, task_id: UUID) -> list[Artifact]:
    """As `list_artifacts`, for a task that was found readable in this transaction."""
    rows = await tx.all(_ARTIFACTS, p_task_id=task_id)
    if not rows:
        return []
    parts: dict[str, list[Part]] = {}
    for chunk in await tx.all(_CHUNKS, p_task_id=task_id):
        parts.setdefault(chunk.artifact_id, []).extend(chunk.parts)
    return [Artifact.of(row, parts.get(row.artifact_id, [])) for row in rows]


async def get_artifact(tx: Tx, query: GetArtifact) -> Artifact:
    """One artifact with all its parts.

    Raises:
        NotFound: no such task or artifact.
    """
    readable = await tx.one(_EXISTS, p_task_id=query.task_id)
    row = readable and await tx.one(_ONE, p_task_id=query.task_id, p_artifact_id=query.artifact_id)
    if not row:
        raise NotFound("no such artifact")
    chunks = await tx.all(_CHUNKS_OF, p_task_id=query.task_id, p_artifact_id=query.artifact_id)
    return Artifact.of(row, [part for chunk in chunks for part in chunk.parts])


@dataclass(frozen=True)
class GetChunk:
    """What one event brought to an artifact: `n` is the event's version."""

    task_id: UUID
    artifact_id: str
    n: int


async def get_chunk(tx: Tx, query: GetChunk) -> list[Part]:
    """The parts of one chunk; none when the artifact was replaced or deleted since.

    Raises:
        NotFound: no such task.
    """
    if await tx.one(_EXISTS, p_task_id=query.task_id) is None:
        raise NotFound("no such task")
    chunk = await tx.one(_CHUNK, p_task_id=query.task_id, p_artifact_id=query.artifact_id, p_n=query.n)
    return [] if chunk is None else list(chunk.parts)


@dataclass(frozen=True)
class DeleteArtifact:
    """Which artifact goes. With the executor's lease, or by an operator."""

    task_id: UUID
    artifact_id: str
    lease_id: UUID | None = None


async def delete_artifact(tx: Tx, command: DeleteArtifact) -> None:
    """Remove an artifact and its content.

    Raises:
        NotFound: no such task or artifact.
        Forbidden, Conflict, InvalidTransition: as `lifecycle.touch`.
    """
    by_operator = command.lease_id is None and tx.caller.operator
    row = await touch(
        tx,
        command.task_id,
        who=Who.READER if by_operator else Who.EXECUTOR,
        states=frozenset(TaskState) if by_operator else WORKING,
        lease_id=command.lease_id,
        fence=Fence.NONE if by_operator else Fence.OWN,
        doing="delete an artifact",
    )
    before = await tx.one(_ONE, p_task_id=row.id, p_artifact_id=command.artifact_id)
    if before is None or not await tx.run(_DROP, p_task_id=row.id, p_artifact_id=command.artifact_id):
        raise NotFound("no such artifact")
    if before.file_id is not None:
        files.dismiss(tx, before.file_id)
    tx.add(_DROP_CHUNKS, p_task_id=row.id, p_artifact_id=command.artifact_id)
    tell(tx, row, "task.artifact_deleted", {"task_id": str(row.id), "artifact_id": command.artifact_id})
