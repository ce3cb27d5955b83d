"""Workflows that are over are removed, with everything that belongs to them. The log keeps what it says."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa

from core.errors import Conflict
from core.fencing import P_NOW
from core.governance import held
from core.store import tables as t
from core.store.statement import Row, Statement
from core.store.tables import work_items as i
from core.store.tables import workflows as w
from core.store.tables.operations import stored_file
from core.store.tx import Tx
from core.store.types import Id
from core.workflows.records import P_WORKFLOW, WorkflowId, tell, workflow_row
from core.workflows.standing import OVER
from schemas.vocabulary import WorkflowState


@dataclass(frozen=True)
class Removed:
    """A workflow that is gone."""

    workflow_id: UUID


_TASKS = sa.select(t.task.c.id).where(t.task.c.workflow_id == P_WORKFLOW)
_k = w.workflow_task.c
_INHERITED = Statement(
    sa.select(_k.workflow_id)
    .join(w.workflow, w.workflow.c.id == _k.workflow_id)
    .where(
        _k.task_id.in_(_TASKS),
        _k.workflow_id != P_WORKFLOW,
        w.workflow.c.state.in_([sa.literal_column(f"'{s}'") for s in ("pending", "active", "paused")]),
    )
    .limit(sa.literal_column("1"))
)
_OF_TASKS = tuple(
    Statement(sa.delete(table).where(table.c.task_id.in_(_TASKS)))
    for table in (
        t.attempt, t.message, t.artifact_chunk, t.artifact, t.input_request, t.approval_decider, t.approval,
        t.dependency, t.push_config, t.delegation, w.workflow_task, i.handoff,
    )
)  # fmt: skip
_DECIDERS = Statement(
    sa.delete(t.approval_decider).where(
        t.approval_decider.c.approval_id.in_(
            sa.select(t.approval.c.id).where(t.approval.c.workflow_id == P_WORKFLOW)
        )
    )
)
_OF_WORKFLOW = tuple(
    Statement(sa.delete(table).where(table.c.workflow_id == P_WORKFLOW))
    for table in (
        t.approval, t.task, w.workflow_task, w.workflow_step, w.workflow_stage, w.workflow_due,
        w.activation, w.document, i.handoff, i.memory_entry, i.work_item,
    )
)  # fmt: skip
_FILES = sa.select(t.artifact.c.file_id).where(
    t.artifact.c.task_id.in_(_TASKS), t.artifact.c.file_id.is_not(None)
)
_DISMISS = Statement(
    sa.update(stored_file)
    .where(stored_file.c.id.in_(_FILES), stored_file.c.remove_at.is_(None))
    .values(remove_at=P_NOW)
)
_HELD = Statement(
    sa.select(w.workflow.c.id).where(
        w.workflow.c.id == P_WORKFLOW,
        sa.or_(
            held(w.workflow.c.id, w.workflow.c.workspace_id),
            sa.exists().where(t.task.c.workflow_id == w.workflow.c.id, held(t.task.c.id)),
        ),
    )
)
_DELETE = Statement(sa.delete(w.workflow).where(w.workflow.c.id == P_WORKFLOW))
_OF_WORKSPACE = Statement(
    sa.select(w.workflow.c.id).where(w.workflow.c.workspace_id == sa.bindparam("p_workspace_id", type_=Id()))
)


async def remove_workflow(tx: Tx, command: WorkflowId) -> Removed:
    """Remove a workflow that is over.

    Raises:
        NotFound: no such workflow.
        Conflict: it goes on, or is held, or a later attempt that goes on stands on what it did.
    """
    row = await workflow_row(tx, command.workflow_id, locked=True)
    if WorkflowState(row.state) not in OVER:
        raise Conflict(
            f"the workflow is {row.state}",
            details={"reason_code": "workflow_not_over", "state": row.state},
            hint="cancel it first",
        )
    heir = await tx.one(_INHERITED, p_workflow_id=row.id)
    if heir is not None:
        raise Conflict(
            "a later attempt goes on from what it completed",
            details={"reason_code": "workflow_inherited", "workflow_id": str(heir.workflow_id)},
        )
    await _remove(tx, row)
    return Removed(row.id)


async def remove_all_of(tx: Tx, workspace_id: UUID) -> Sequence[UUID]:
    """Remove every workflow of a workspace in which nothing goes on."""
    found = [row.id for row in await tx.all(_OF_WORKSPACE, p_workspace_id=workspace_id)]
    for workflow_id in found:
        await _remove(tx, await workflow_row(tx, workflow_id, locked=True))
    return found


async def _remove(tx: Tx, row: Row) -> None:
    if await tx.one(_HELD, p_workflow_id=row.id) is not None:
        raise Conflict("the workflow is held", details={"reason_code": "legal_hold"})
    await tx.run(_DISMISS, p_workflow_id=row.id, p_now=tx.now)
    for statement in (_DECIDERS, *_OF_TASKS, *_OF_WORKFLOW, _DELETE):
        await tx.run(statement, p_workflow_id=row.id)
    tell(tx, "workflow.deleted", row, {"name": row.name, "state": row.state})
