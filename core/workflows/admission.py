"""Whether a task may join a workflow, and whether it has to wait there, for a pause to end or for a place."""

from enum import Enum
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.errors import Conflict, Invalid
from core.store.statement import Row, Statement
from core.store.tables import work_items as i
from core.store.tables import workflows as w
from core.store.tx import Tx
from core.workflows.caps import has_caps
from core.workflows.records import P_WORKFLOW, definition_of
from core.workflows.standing import OVER
from schemas.item_words import WorkItemState
from schemas.vocabulary import WorkflowState

_STANDS = Statement(
    sa.select(w.workflow.c.state, w.workflow.c.paused_at)
    .where(w.workflow.c.id == P_WORKFLOW, access.within_tenant(w.workflow))
    .with_for_update(read=True)
)
_ITEM = Statement(
    sa.select(i.work_item.c.state)
    .where(i.work_item.c.id == sa.bindparam("p_work_item_id", type_=i.work_item.c.id.type))
    .with_for_update(read=True)
)


async def admit(
    tx: Tx,
    workflow_id: UUID,
    work_item_id: UUID | None,
    stage_name: str | None,
    role: str | None,
    *,
    own: bool,
    steers: bool,
) -> bool:
    """Whether a new task of the workflow has to wait.

    `own`: the hub makes it from the playbook, and has counted the places. `steers`: it is an orchestrator's,
    which takes no place.

    Raises:
        Invalid: no such workflow, no such stage, or a role that the stage does not involve.
        Conflict: the workflow is over.
    """
    row = await tx.one(_STANDS, p_workflow_id=workflow_id)
    if row is None:
        raise Invalid("workflow_id names no workflow", details={"field": "workflow_id"})
    if WorkflowState(row.state) in OVER:
        raise Conflict(
            f"the workflow is {row.state}", details={"reason_code": "workflow_over", "state": row.state}
        )
    if own:
        return row.paused_at is not None
    if not steers:
        await _check_place(tx, workflow_id, stage_name, role)
    held = await _held(tx, row, workflow_id, work_item_id, steers=steers)
    return held is not Hold.NONE


class Hold(Enum):
    """Why a task must not become ready now."""

    NONE = "none"
    PAUSED = "paused"
    """Its workflow or work item is; who resumes it lets it go."""
    COUNTED = "counted"
    """What goes on in its workflow is counted; who advances that lets it go once there is a place."""


async def why_held(
    tx: Tx, workflow_id: UUID, work_item_id: UUID | None, *, steers: bool, has_place: bool
) -> Hold:
    """Why a task of a workflow must not become ready now. A pause waits until this is committed."""
    row = await tx.one(_STANDS, p_workflow_id=workflow_id)
    if row is None:
        return Hold.NONE
    return await _held(tx, row, workflow_id, work_item_id, steers=steers or has_place)


async def _held(tx: Tx, row: Row, workflow_id: UUID, work_item_id: UUID | None, *, steers: bool) -> Hold:
    if row.paused_at is not None:
        return Hold.PAUSED
    if work_item_id is not None:
        item = await tx.one(_ITEM, p_work_item_id=work_item_id)
        if item is not None and item.state == WorkItemState.PAUSED:
            return Hold.PAUSED
    if not steers and has_caps(await definition_of(tx, workflow_id)):
        return Hold.COUNTED
    return Hold.NONE


async def _check_place(tx: Tx, workflow_id: UUID, stage_name: str | None, role: str | None) -> None:
    if stage_name is None and role is None:
        return
    definition = await definition_of(tx, workflow_id)
    stages = {stage.name: stage for stage in definition.stages}
    if role is not None and definition.roles and role not in definition.roles:
        raise _wrong(
            "role_not_defined_in_playbook", "role", f"the playbook has no role {role!r}", definition.roles
        )
    if stage_name is None:
        return
    if stage_name not in stages:
        raise _wrong("unknown_stage_name", "stage_name", f"there is no stage {stage_name!r}", list(stages))
    involves = stages[stage_name].involves
    if role is not None and involves and role not in involves:
        raise _wrong("role_not_allowed_on_stage", "role", f"the stage does not involve {role!r}", involves)


def _wrong(reason: str, field: str, message: str, possible: list[str]) -> Invalid:
    return Invalid(
        message,
        details={"reason_code": reason, "field": field},
        hint=f"orchestrator_guided_recovery: one of {', '.join(possible)}",
    )
