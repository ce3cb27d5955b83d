"""The content of artifacts as bytes: received as a file of any size, and read back, whole or in part."""

import base64
import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import sqlalchemy as sa

from core import access, files
from core.errors import NotFound
from core.fencing import P_TASK, check_lease
from core.lifecycle import Who, touch
from core.ports import Kept
from core.store import tables as t
from core.store.statement import Statement
from core.store.tx import Tx
from core.tasks.artifacts import (
    WORKING,
    GetArtifact,
    PutArtifact,
    announce,
    get_artifact,
    replace_artifact,
)
from core.tasks.task import Artifact
from core.transitions import Fence
from schemas.strict_json import dump_json

UNKNOWN: Final = "application/octet-stream"


@dataclass(frozen=True)
class MayPut:
    """Whether the caller may leave something with a task now."""

    task_id: UUID
    lease_id: UUID | None


@dataclass(frozen=True)
class PutContent:
    """A file that has arrived, as the content of an artifact. `url` is where it can be read."""

    task_id: UUID
    artifact_id: str
    file_id: UUID
    kept: Kept
    url: str
    content_type: str
    name: str | None = None
    path: str | None = None
    lease_id: UUID | None = None


@dataclass(frozen=True)
class Stored:
    """The artifact, and whether it is new."""

    artifact: Artifact
    created: bool


@dataclass(frozen=True)
class Content:
    """The bytes of an artifact: in a file, or here."""

    size_bytes: int
    sha256: bytes
    content_type: str
    filename: str
    updated_at: datetime
    file_id: UUID | None
    inline: bytes = b""


_READ = Statement(sa.select(*t.task.c).where(t.task.c.id == P_TASK, access.readable()))


async def may_put(tx: Tx, query: MayPut) -> None:
    """Refuse a file before its bytes are read, for the reasons for which `put_content` would.

    Raises:
        NotFound, Forbidden, Conflict: as `put_content`.
    """
    row = await tx.one(_READ, p_task_id=query.task_id)
    if row is None:
        raise NotFound("no such task")
    await check_lease(tx, row, query.lease_id)


async def put_content(tx: Tx, command: PutContent) -> Stored:
    """Make a received file an artifact's content, in place of what it had. Under the executor's lease.

    Raises:
        NotFound: no such task.
        Forbidden, Conflict, InvalidTransition: as `lifecycle.touch`.
        Unavailable: the file was removed since.
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
    await files.adopt(tx, command.file_id, command.kept)
    filename = (command.path or command.name or command.artifact_id).rsplit("/", 1)[-1]
    part = {"url": command.url, "filename": filename, "media_type": command.content_type}
    put = PutArtifact(
        command.task_id,
        [part],
        artifact_id=command.artifact_id,
        name=command.name,
        path=command.path,
        content_type=command.content_type,
    )
    stored, created = await replace_artifact(
        tx, row, put, command.artifact_id, file_id=command.file_id, kept=command.kept
    )
    announce(tx, row, put, stored)
    return Stored(Artifact.of(stored, [part]), created)


async def get_content(tx: Tx, query: GetArtifact) -> Content:
    """The bytes of an artifact, or where they are.

    Raises:
        NotFound: no such task or artifact, or one that only refers to another place.
    """
    artifact = await get_artifact(tx, query)
    path = artifact.path or artifact.name or artifact.artifact_id
    filename = path.rsplit("/", 1)[-1]
    if artifact.file_id is not None:
        assert artifact.sha256 is not None, "written together"
        return Content(
            artifact.size_bytes,
            artifact.sha256,
            artifact.content_type or UNKNOWN,
            filename,
            artifact.updated_at,
            artifact.file_id,
        )
    inline = b""
    kind: str | None = artifact.content_type
    for part in artifact.parts:
        if isinstance(part.get("text"), str):
            inline, kind = inline + part["text"].encode(), kind or part.get("media_type") or "text/plain"
        elif isinstance(part.get("raw"), str):
            inline, kind = inline + base64.b64decode(part["raw"]), kind or part.get("media_type")
        elif "data" in part:
            inline, kind = inline + dump_json(part["data"]), kind or "application/json"
        else:
            raise NotFound("this artifact only refers to another place; its parts say where")
    digest = hashlib.sha256(inline).digest()
    return Content(len(inline), digest, kind or UNKNOWN, filename, artifact.updated_at, None, inline)
