"""How a workflow ends: completed, failed or cancelled; and what ends with it."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from core.lifecycle import Who, try_move
from core.store import tables as t
from core.store.statement import Row, Statement
from core.store.tables import workflows as w
from core.store.tx import Tx
from core.transitions import FINAL, Move
from core.workflows import fronts
from core.workflows.activations import enqueue
from core.workflows.records import P_WORKFLOW, change, definition_of, tell
from schemas.vocabulary import ApprovalKind, GateStatus, StageStatus, WorkflowState

_OPEN_TASKS = Statement(
    sa.select(t.task.c.id)
    .where(
        t.task.c.workflow_id == P_WORKFLOW,
        t.task.c.state.not_in([sa.literal_column(str(int(state))) for state in sorted(FINAL)]),
    )
    .order_by(t.task.c.id)
)
_DROP_GATES = Statement(
    sa.update(t.approval)
    .where(
        t.approval.c.workflow_id == P_WORKFLOW,
        t.approval.c.kind == sa.literal_column(f"'{ApprovalKind.GATE.value}'"),
        t.approval.c.status == sa.literal_column("'pending'"),
    )
    .values(status="cancelled", updated_at=sa.bindparam("p_now", type_=t.approval.c.updated_at.type))
    .returning(t.approval.c.id)
)
_s = w.workflow_stage.c
_CLOSE_STAGES = Statement(
    sa.update(w.workflow_stage)
    .where(
        _s.workflow_id == P_WORKFLOW, _s.status == sa.literal_column(f"'{StageStatus.AWAITING_GATE.value}'")
    )
    .values(status=StageStatus.BLOCKED.value, gate_status=GateStatus.REJECTED.value)
)
_FAIL_ACTIVATIONS = Statement(
    sa.update(w.activation)
    .where(
        w.activation.c.workflow_id == P_WORKFLOW,
        w.activation.c.state.in_([sa.literal_column("'queued'"), sa.literal_column("'processing'")]),
    )
    .values(state="failed", completed_at=sa.bindparam("p_now", type_=w.activation.c.completed_at.type))
)
_PARENT = Statement(
    sa.select(w.workflow.c.id, w.workflow.c.tenant_id, w.workflow.c.state, w.workflow.c.workspace_id,
              w.workflow.c.created_by).where(w.workflow.c.id == P_WORKFLOW)
)  # fmt: skip


async def complete_workflow(tx: Tx, workflow: Row, output: Any) -> None:
    """Every stage is completed. The workflow's row is locked."""
    await _end(tx, workflow, WorkflowState.COMPLETED, output=output, current_stage=None)
    tell(tx, "workflow.completed", workflow, {"output": output})


async def fail_workflow(tx: Tx, workflow: Row, failure: Mapping[str, Any]) -> None:
    """It cannot go on: what is open in it is cancelled. The workflow's row is locked."""
    await _stop_tasks(tx, workflow.id, "workflow_failed")
    await _end(tx, workflow, WorkflowState.FAILED, failure=dict(failure))
    tell(tx, "workflow.failed", workflow, {"failure": dict(failure)})


async def cancel_workflow(tx: Tx, workflow: Row, reason: str | None) -> None:
    """Somebody does not want it any more. The workflow's row is locked."""
    tell(tx, "workflow.cancellation_requested", workflow, {"reason": reason})
    await _stop_tasks(tx, workflow.id, "workflow_cancelled")
    await _end(tx, workflow, WorkflowState.CANCELLED)


async def _stop_tasks(tx: Tx, workflow_id: UUID, reason: str) -> None:
    for row in await tx.all(_OPEN_TASKS, p_workflow_id=workflow_id):
        await try_move(
            tx,
            Move.CANCEL,
            row.id,
            who=Who.SYSTEM,
            said={"reason": reason},
            sets={"status_message": [{"text": reason.replace("_", " ")}]},
        )


async def _end(tx: Tx, workflow: Row, state: WorkflowState, **sets: Any) -> None:
    for gate in await tx.all(_DROP_GATES, p_workflow_id=workflow.id, p_now=tx.now):
        tx.wake(f"approval:{gate.id}")
    await tx.run(_CLOSE_STAGES, p_workflow_id=workflow.id)
    await tx.run(_FAIL_ACTIVATIONS, p_workflow_id=workflow.id, p_now=tx.now)
    started = workflow.started_at or tx.now
    await change(
        tx,
        workflow.id,
        state=state.value,
        completed_at=tx.now,
        started_at=started,
        paused_at=None,
        pause_mode=None,
        **sets,
    )
    said = {"from_state": workflow.state, "to_state": state.value}
    tell(tx, "workflow.state_changed", workflow, said, stage=workflow.current_stage)
    await fronts.settle(tx, workflow, await definition_of(tx, workflow.id), state, sets)
    if workflow.parent_workflow_id is not None:
        parent = await tx.one(_PARENT, p_workflow_id=workflow.parent_workflow_id)
        if parent is not None and parent.state in ("pending", "active", "paused"):
            child = {"workflow_id": str(workflow.id), "name": workflow.name, "state": state.value}
            await enqueue(tx, parent, f"child_workflow.{state.value}", "a child workflow has ended", child)
