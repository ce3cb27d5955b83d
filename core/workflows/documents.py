"""Documents: what a workflow refers to by name, in a repository, at an address, or among its artifacts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.errors import Conflict, Invalid, NotFound
from core.store import tables as t
from core.store.statement import Row, Statement
from core.store.tables import workflows as w
from core.store.tx import Tx
from core.workflows.records import P_WORKFLOW, WorkflowId, tell, workflow_row

WHERE: Mapping[str, tuple[str, ...]] = {
    "repository": ("repository", "path"),
    "external": ("url",),
    "artifact": ("task_id", "artifact_id"),
}
"""What each source must say."""


@dataclass(frozen=True)
class CreateDocument:
    """A new document. `location` as its source demands."""

    workflow_id: UUID
    logical_name: str
    source: str
    location: Mapping[str, Any]
    scope: str = "workflow"
    title: str | None = None
    description: str | None = None
    metadata: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class ChangeDocument:
    """What is to be different, by column; `location` is merged."""

    workflow_id: UUID
    logical_name: str
    changes: Mapping[str, Any]
    location: Mapping[str, Any]


@dataclass(frozen=True)
class DocumentName:
    """Which document of which workflow."""

    workflow_id: UUID
    logical_name: str


@dataclass(frozen=True)
class Document:
    """A document."""

    id: UUID
    workflow_id: UUID
    workspace_id: UUID
    logical_name: str
    scope: str
    source: str
    title: str | None
    description: str | None
    metadata: Mapping[str, Any]
    location: Mapping[str, Any]
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, row: Row) -> "Document":
        """The value of a `document` row."""
        fields = {name: getattr(row, name) for name in cls.__dataclass_fields__ if name != "metadata"}
        return cls(**fields, metadata=row.attributes)


_c = w.document.c
_P_NAME = sa.bindparam("p_name", type_=sa.String())
_ONE = Statement(sa.select(*_c).where(_c.workflow_id == P_WORKFLOW, _c.logical_name == _P_NAME))
_ALL = Statement(sa.select(*_c).where(_c.workflow_id == P_WORKFLOW).order_by(_c.logical_name))
_INSERT = Statement(sa.insert(w.document))
_DELETE = Statement(sa.delete(w.document).where(_c.workflow_id == P_WORKFLOW, _c.logical_name == _P_NAME))
_a = t.artifact.c
_ARTIFACT = Statement(
    sa.select(_a.artifact_id).where(
        _a.task_id == sa.bindparam("p_task_id", type_=_a.task_id.type),
        _a.artifact_id == sa.bindparam("p_artifact_id", type_=sa.String()),
        access.of_readable_task(t.artifact),
    )
)


async def list_documents(tx: Tx, query: WorkflowId) -> Sequence[Document]:
    """The documents of a workflow, by name.

    Raises:
        NotFound: no such workflow.
    """
    await workflow_row(tx, query.workflow_id)
    return [Document.of(row) for row in await tx.all(_ALL, p_workflow_id=query.workflow_id)]


async def create_document(tx: Tx, command: CreateDocument) -> Document:
    """Name a document.

    Raises:
        NotFound: no such workflow.
        Conflict: the name is taken.
        Invalid: the location lacks something, or leads nowhere.
    """
    workflow = await workflow_row(tx, command.workflow_id, locked=True)
    if await tx.one(_ONE, p_workflow_id=workflow.id, p_name=command.logical_name) is not None:
        raise Conflict("the workflow has a document of this name", details={"reason_code": "name_taken"})
    await _check(tx, command.source, command.location)
    await tx.run(
        _INSERT,
        id=tx.new_id(),
        tenant_id=workflow.tenant_id,
        workflow_id=workflow.id,
        workspace_id=workflow.workspace_id,
        logical_name=command.logical_name,
        scope=command.scope,
        source=command.source,
        title=command.title,
        description=command.description,
        attributes=dict(command.metadata or {}),
        location=dict(command.location),
        created_at=tx.now,
        updated_at=tx.now,
    )
    tell(tx, "workflow.document_created", workflow, {"logical_name": command.logical_name})
    return await _document(tx, DocumentName(workflow.id, command.logical_name))


async def change_document(tx: Tx, command: ChangeDocument) -> Document:
    """Change a document.

    Raises:
        NotFound, Invalid: as `create_document`.
    """
    workflow = await workflow_row(tx, command.workflow_id, locked=True)
    found = await _document(tx, DocumentName(command.workflow_id, command.logical_name))
    source = command.changes.get("source", found.source)
    kept = found.location if source == found.source else {}
    location = {**kept, **command.location}
    await _check(tx, source, location)
    sets = {**command.changes, "location": location, "updated_at": tx.now}
    await tx.run(sa.update(w.document).where(_c.id == found.id).values(**sets))
    tell(tx, "workflow.document_updated", workflow, {"logical_name": found.logical_name})
    return await _document(tx, DocumentName(command.workflow_id, command.logical_name))


async def remove_document(tx: Tx, command: DocumentName) -> None:
    """Forget a document. What it named stays.

    Raises:
        NotFound: no such document.
    """
    workflow = await workflow_row(tx, command.workflow_id, locked=True)
    found = await _document(tx, command)
    await tx.run(_DELETE, p_workflow_id=workflow.id, p_name=found.logical_name)
    tell(tx, "workflow.document_deleted", workflow, {"logical_name": found.logical_name})


async def _document(tx: Tx, which: DocumentName) -> Document:
    row = await tx.one(_ONE, p_workflow_id=which.workflow_id, p_name=which.logical_name)
    if row is None:
        raise NotFound("no such document")
    return Document.of(row)


async def _check(tx: Tx, source: str, location: Mapping[str, Any]) -> None:
    missing = [name for name in WHERE[source] if not location.get(name)]
    if missing:
        raise Invalid(f"a document of source {source} needs {missing[0]}", details={"field": missing[0]})
    strange = sorted(set(location) - {*WHERE[source], "logical_path"})
    if strange:
        raise Invalid(f"a document of source {source} has no {strange[0]}", details={"field": strange[0]})
    if source == "artifact":
        where = {"p_task_id": UUID(str(location["task_id"])), "p_artifact_id": location["artifact_id"]}
        if await tx.one(_ARTIFACT, **where) is None:
            raise Invalid("the task has no such artifact", details={"field": "artifact_id"})
