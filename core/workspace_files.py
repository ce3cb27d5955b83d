"""Files that a workspace keeps, each under a key of its own, and the artifacts that came of its tasks."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import sqlalchemy as sa

from core import access, files
from core.errors import Conflict, NotFound
from core.ports import Kept
from core.store import tables as t
from core.store.statement import Row, Statement
from core.store.tables import records
from core.store.tx import Tx
from core.store.types import Id, Instant
from core.tasks.read import COUNTED, Page
from core.workspaces import WorkspaceId, workspace_row

MOST_FILES: Final = 1_000
"""Of one workspace."""


@dataclass(frozen=True)
class NewFile:
    """A file that has arrived."""

    key: str
    file_name: str
    content_type: str
    file_id: UUID
    kept: Kept
    description: str | None = None


@dataclass(frozen=True)
class PutFiles:
    """Files for a workspace, in place of those that have their keys."""

    workspace_id: UUID
    files: Sequence[NewFile]


@dataclass(frozen=True)
class WorkspaceFile:
    """A file of a workspace."""

    id: UUID
    workspace_id: UUID
    key: str
    description: str | None
    file_name: str
    content_type: str
    size_bytes: int
    sha256: bytes
    file_id: UUID
    created_at: datetime

    @classmethod
    def of(cls, row: Row) -> "WorkspaceFile":
        """The value of a row."""
        return cls(**{name: getattr(row, name) for name in cls.__dataclass_fields__})


@dataclass(frozen=True)
class OneFile:
    """Which file of which workspace."""

    workspace_id: UUID
    id: UUID


@dataclass(frozen=True)
class ExploreArtifacts:
    """Which artifacts of a workspace's tasks. Conditions are joined by AND; None means any."""

    workspace_id: UUID
    q: str | None = None
    workflow_id: UUID | None = None
    work_item_id: UUID | None = None
    task_id: UUID | None = None
    stage_name: str | None = None
    role: str | None = None
    content_type: str | None = None
    like: Sequence[str] | None = None
    """Patterns of content types, one of which must fit."""
    unlike: Sequence[str] = ()
    """Patterns of content types, none of which may fit."""
    since: datetime | None = None
    until: datetime | None = None
    sort: str = "created_at"
    descending: bool = True
    page: int = 1
    per_page: int = 20


@dataclass(frozen=True)
class FoundArtifact:
    """An artifact, and the task that it came of."""

    artifact_id: str
    task_id: UUID
    task_title: str
    workflow_id: UUID | None
    work_item_id: UUID | None
    workspace_id: UUID
    stage_name: str | None
    role: str | None
    name: str | None
    description: str | None
    path: str | None
    content_type: str | None
    size_bytes: int
    sha256: bytes | None
    created_at: datetime
    updated_at: datetime


_f = records.workspace_file.c
_P_WORKSPACE = sa.bindparam("p_workspace_id", type_=Id())
_P_KEY = sa.bindparam("p_key", type_=sa.String())
_ALL = Statement(
    sa.select(*_f)
    .where(_f.workspace_id == _P_WORKSPACE)
    .order_by(_f.key)
    .limit(sa.literal_column(str(MOST_FILES)))
)
_BY_KEY = Statement(sa.select(*_f).where(_f.workspace_id == _P_WORKSPACE, _f.key == _P_KEY))
_ONE = Statement(
    sa.select(*_f).where(
        _f.id == sa.bindparam("p_id", type_=Id()),
        _f.workspace_id == _P_WORKSPACE,
        access.within_tenant(records.workspace_file),
    )
)
_COUNT = Statement(sa.select(sa.func.count().label("n")).where(_f.workspace_id == _P_WORKSPACE))
_DELETE = Statement(sa.delete(records.workspace_file).where(_f.id == sa.bindparam("p_id", type_=Id())))
_INSERT = Statement(sa.insert(records.workspace_file))
_a, _t = t.artifact.c, t.task.c
_SORTS: Final = {"created_at": _a.created_at, "name": _a.name, "size_bytes": _a.size_bytes}


async def put_files(tx: Tx, command: PutFiles) -> Sequence[WorkspaceFile]:
    """Keep files that have arrived, all of them or none. One that has the key already keeps its id.

    Raises:
        NotFound: no such workspace.
        Conflict: the workspace has as many files as it may.
        Unavailable: a file was removed since it arrived.
    """
    row = await workspace_row(tx, command.workspace_id, locked=True)
    made = []
    for new in command.files:
        await files.adopt(tx, new.file_id, new.kept)
        before = await tx.one(_BY_KEY, p_workspace_id=row.id, p_key=new.key)
        file = WorkspaceFile(
            tx.new_id() if before is None else before.id,
            row.id,
            new.key,
            new.description,
            new.file_name,
            new.content_type,
            new.kept.size_bytes,
            new.kept.sha256,
            new.file_id,
            tx.now,
        )
        if before is not None:
            files.dismiss(tx, before.file_id)
            await tx.run(_DELETE, p_id=before.id)
        values = {name: getattr(file, name) for name in WorkspaceFile.__dataclass_fields__}
        await tx.run(_INSERT, tenant_id=row.tenant_id, created_by=tx.caller.principal_id, **values)
        made.append(file)
    count = await tx.one(_COUNT, p_workspace_id=row.id)
    if count is not None and count.n > MOST_FILES:
        raise Conflict(
            f"a workspace has at most {MOST_FILES} files", details={"reason_code": "too_many_files"}
        )
    _tell(tx, row.id, "workspace.files_put", [file.key for file in made])
    return made


async def list_files(tx: Tx, query: WorkspaceId) -> Sequence[WorkspaceFile]:
    """The files of a workspace, by key.

    Raises:
        NotFound: no such workspace.
    """
    await workspace_row(tx, query.workspace_id)
    return [WorkspaceFile.of(row) for row in await tx.all(_ALL, p_workspace_id=query.workspace_id)]


async def get_file(tx: Tx, query: OneFile) -> WorkspaceFile:
    """One file.

    Raises:
        NotFound: no such workspace or file.
    """
    row = await tx.one(_ONE, p_id=query.id, p_workspace_id=query.workspace_id)
    if row is None:
        raise NotFound("no such file")
    return WorkspaceFile.of(row)


async def delete_file(tx: Tx, command: OneFile) -> None:
    """Remove a file; its content goes soon.

    Raises:
        NotFound: no such workspace or file.
    """
    await workspace_row(tx, command.workspace_id, locked=True)
    file = await get_file(tx, command)
    files.dismiss(tx, file.file_id)
    await tx.run(_DELETE, p_id=file.id)
    _tell(tx, file.workspace_id, "workspace.file_deleted", [file.key])


async def explore_artifacts(tx: Tx, query: ExploreArtifacts) -> Page[FoundArtifact]:
    """A page of the artifacts that the caller may see. The total is counted up to `COUNTED`.

    Raises:
        NotFound: no such workspace.
    """
    await workspace_row(tx, query.workspace_id)
    kind = sa.func.lower(sa.func.coalesce(_a.content_type, ""))
    wanted = [access.readable(), _t.workspace_id == sa.literal(query.workspace_id, Id())]
    for column, value in (
        (_t.workflow_id, query.workflow_id),
        (_t.work_item_id, query.work_item_id),
        (_t.id, query.task_id),
        (_t.stage_name, query.stage_name),
        (_t.role, query.role),
        (_a.content_type, query.content_type),
    ):
        if value is not None:
            wanted.append(column == value)
    if query.q is not None:
        texts = (_a.name, _a.path, _a.description, _a.artifact_id)
        wanted.append(sa.or_(*(text.icontains(query.q, autoescape=True) for text in texts)))
    if query.like is not None:
        wanted.append(sa.or_(*(kind.like(pattern) for pattern in query.like)))
    wanted += [kind.not_like(pattern) for pattern in query.unlike]
    if query.since is not None:
        wanted.append(_a.created_at >= sa.literal(query.since, Instant()))
    if query.until is not None:
        wanted.append(_a.created_at <= sa.literal(query.until, Instant()))
    joined = sa.join(t.artifact, t.task, _t.id == _a.task_id)
    some = sa.select(_a.artifact_id).select_from(joined).where(*wanted).limit(COUNTED).subquery()
    total = await tx.one(sa.select(sa.func.count().label("n")).select_from(some))
    first = _SORTS[query.sort]
    order = [first, _a.task_id, _a.artifact_id]
    rows = await tx.all(
        sa.select(
            _a.artifact_id, _a.task_id, _t.title.label("task_title"), _t.workflow_id, _t.work_item_id,
            _t.workspace_id, _t.stage_name, _t.role, _a.name, _a.description, _a.path, _a.content_type,
            _a.size_bytes, _a.sha256, _a.created_at, _a.updated_at,
        )
        .select_from(joined)
        .where(*wanted)
        .order_by(*(column.desc() if query.descending else column.asc() for column in order))
        .limit(query.per_page)
        .offset((query.page - 1) * query.per_page)
    )  # fmt: skip
    names = FoundArtifact.__dataclass_fields__
    found = [FoundArtifact(**{name: getattr(row, name) for name in names}) for row in rows]
    return Page(found, 0 if total is None else total.n)


def _tell(tx: Tx, workspace_id: UUID, kind: str, keys: Sequence[str]) -> None:
    data = {"workspace_id": str(workspace_id), "keys": list(keys)}
    tx.event(kind, entity_type="workspace", entity_id=workspace_id, data=data)
