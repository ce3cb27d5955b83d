"""Gates: a stage waits for a decision. Each is a row of the one table of approvals, of the kind `gate`.

A stage has one live gate at most, since a stage names it and changes only under its workflow's lock.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import rfc8785
import sqlalchemy as sa

from core.approval_policy import deadline, opened, routed
from core.approvals import DEFAULT_OPTIONS, Approval, DecideApproval, decide, insert_approval
from core.errors import Conflict, Invalid, NotFound
from core.lifecycle import Who, move
from core.store import tables as t
from core.store.statement import Row, Statement
from core.store.tables import workflows as w
from core.store.tx import Tx
from core.store.types import Id
from core.tasks import policy as policies
from core.tasks.release import release
from core.transitions import FINAL, Move
from core.workflows.fronts import ask_front
from core.workflows.records import (
    P_WORKFLOW,
    WorkflowId,
    change_stage,
    definition_of,
    stage_rows,
    tell,
    workflow_row,
)
from core.workflows.steps import tasks_of
from schemas.playbook import Gate, Stage
from schemas.vocabulary import (
    ApprovalKind,
    ApprovalStatus,
    Face,
    GateStatus,
    OnTaskFailure,
    StageStatus,
    TaskState,
)


@dataclass(frozen=True)
class GateId:
    """Which gate of which workflow."""

    workflow_id: UUID
    gate_id: UUID


@dataclass(frozen=True)
class DecideGate:
    """Decide a gate of a workflow."""

    workflow_id: UUID
    gate_id: UUID
    action: str
    feedback: str | None = None
    data: Any = None


_a = t.approval.c
_IS_GATE = sa.and_(_a.workflow_id == P_WORKFLOW, _a.kind == sa.literal_column(f"'{ApprovalKind.GATE.value}'"))
_ONE = Statement(sa.select(*_a).where(_a.id == sa.bindparam("p_gate_id", type_=Id()), _IS_GATE))
_ALL = Statement(sa.select(*_a).where(_IS_GATE).order_by(_a.id))
_SUPERSEDE = Statement(
    sa.update(t.approval)
    .where(_a.id == sa.bindparam("p_gate_id", type_=Id()))
    .values(
        status=ApprovalStatus.SUPERSEDED.value, updated_at=sa.bindparam("p_now", type_=_a.updated_at.type)
    )
)
_s = w.workflow_step.c


async def request_gate(
    tx: Tx,
    workflow: Row,
    stage: Row,
    summary: str,
    recommendation: str | None = None,
    concerns: Sequence[str] = (),
    key_artifacts: Sequence[Mapping[str, Any]] = (),
) -> UUID:
    """Ask for a decision on a stage. The workflow's row is locked. One given before is superseded."""
    if stage.gate_id is not None:
        before = await tx.one(_ONE, p_workflow_id=workflow.id, p_gate_id=stage.gate_id)
        if before is not None and before.status == ApprovalStatus.PENDING:
            return UUID(str(before.id))
        if before is not None and before.status == ApprovalStatus.APPROVED:
            await tx.run(_SUPERSEDE, p_gate_id=before.id, p_now=tx.now)
    gate_id = tx.new_id()
    subject: dict[str, Any] = {
        "stage_id": str(stage.id),
        "stage_name": stage.name,
        "summary": summary,
        "recommendation": recommendation,
        "concerns": [*concerns],
        "key_artifacts": [dict(artifact) for artifact in key_artifacts],
        "subject_revision": stage.iteration_count,
    }
    said: dict[str, Any] = {
        "tenant": str(workflow.tenant_id),
        "workflow": str(workflow.id),
        "kind": "gate",
        "subject": subject,
    }
    declared = (await definition_of(tx, workflow.id)).stages[stage.position].gate
    policy = policies_of(declared, [workflow.created_by, tx.caller.principal_id])
    gate = Approval(
        id=gate_id,
        tenant_id=workflow.tenant_id,
        task_id=workflow.front_task_id,
        workflow_id=workflow.id,
        attempt=None,
        kind=ApprovalKind.GATE,
        title=f"{workflow.name}: {stage.name}"[:500],
        status=ApprovalStatus.PENDING,
        subject=subject,
        subject_digest=hashlib.sha256(rfc8785.dumps(said)).hexdigest(),
        options=[dict(option) for option in DEFAULT_OPTIONS],
        policy=policy,
        routed=routed(policy),
        votes=(),
        answer=None,
        requested_by=tx.caller.principal_id,
        decider_id=workflow.created_by if workflow.front_task_id and not routed(policy) else None,
        option_id=None,
        feedback=None,
        remember=False,
        decided_by=None,
        decided_via=None,
        decided_at=None,
        expires_at=deadline(policy, tx.now, None),
        created_at=tx.now,
        updated_at=tx.now,
    )
    insert_approval(tx, gate)
    await tx.flush()
    await change_stage(
        tx,
        workflow.id,
        stage.position,
        status=StageStatus.AWAITING_GATE.value,
        gate_status=GateStatus.AWAITING_APPROVAL.value,
        gate_id=gate_id,
    )
    await ask_front(tx, workflow, gate)
    tell(
        tx, "stage.gate_requested", workflow, {"gate_id": str(gate_id), "summary": summary}, stage=stage.name
    )
    return gate_id


def policies_of(declared: Gate | None, parties: Sequence[UUID]) -> dict[str, Any]:
    """The policy of a stage's gate, as the playbook declares it."""
    policy = None if declared is None else declared.approval_policy
    return opened(None if policy is None else policy.model_dump(mode="json"), parties)


async def list_gates(tx: Tx, query: WorkflowId) -> Sequence[Approval]:
    """The gates of a workflow, oldest first.

    Raises:
        NotFound: no such workflow.
    """
    await workflow_row(tx, query.workflow_id)
    return [Approval.of(row) for row in await tx.all(_ALL, p_workflow_id=query.workflow_id)]


async def get_gate(tx: Tx, query: GateId) -> Approval:
    """One gate.

    Raises:
        NotFound: no such workflow, or no such gate of it.
    """
    await workflow_row(tx, query.workflow_id)
    row = await tx.one(_ONE, p_workflow_id=query.workflow_id, p_gate_id=query.gate_id)
    if row is None:
        raise NotFound("no such gate")
    return Approval.of(row)


async def decide_gate(tx: Tx, command: DecideGate) -> Approval:
    """Decide a gate, and do what follows from it.

    Raises:
        NotFound: no such gate.
        Forbidden: the gate's policy leaves it to others.
        Invalid: anything but an approval needs a reason.
        Unprocessable: the answer does not fit the gate's form.
        Conflict: it was decided before, or what is to be done again was done again too often.
    """
    await get_gate(tx, GateId(command.workflow_id, command.gate_id))
    wanted = DecideApproval(
        command.gate_id, action=command.action, feedback=command.feedback, data=command.data
    )
    return await decide(tx, wanted)


async def judge_gate(tx: Tx, approval: Approval) -> None:
    """Make the stage's move that hangs on a decided gate, and what follows from it.

    Raises:
        Invalid, Conflict: as `decide_gate`.
    """
    from core.work_items.gating import block_items, rework_items  # items advance their workflow

    assert approval.workflow_id is not None
    workflow = await workflow_row(tx, approval.workflow_id, locked=True)
    found = [row for row in await stage_rows(tx, workflow.id) if row.gate_id == approval.id]
    if not found or found[0].status != StageStatus.AWAITING_GATE:
        raise Conflict("the stage does not wait for this gate", details={"reason_code": "gate_superseded"})
    stage = found[0]
    # Most faces have no place for a reason beside a decision.
    said_at_length = approval.decided_via not in (Face.A2A, Face.ACP, Face.MCP)
    if approval.status is not ApprovalStatus.APPROVED and not approval.feedback and said_at_length:
        raise Invalid("anything but an approval needs feedback", details={"field": "feedback"})
    status, said = StageStatus.ACTIVE, {"gate_id": str(approval.id), "feedback": approval.feedback}
    sets: dict[str, Any] = {}
    match approval.status:
        case ApprovalStatus.CHANGES_REQUESTED:
            declared = (await definition_of(tx, workflow.id)).stages[stage.position]
            await _do_again(tx, workflow, declared, approval.feedback)
            await rework_items(tx, workflow.id, stage.name, approval.feedback)
            sets["iteration_count"] = stage.iteration_count + 1
        case ApprovalStatus.BLOCKED:
            await block_items(tx, workflow.id, stage.name, approval.feedback)
            status = StageStatus.BLOCKED
        case ApprovalStatus.REJECTED:
            status = StageStatus.BLOCKED
    gate_status = GateStatus(approval.status.value)
    await change_stage(
        tx, workflow.id, stage.position, status=status.value, gate_status=gate_status.value, **sets
    )
    tell(tx, f"stage.gate.{_ACTIONS[approval.status]}", workflow, said, stage=stage.name)
    if approval.status is ApprovalStatus.REJECTED and workflow.failure_policy == OnTaskFailure.FAIL_WORKFLOW:
        from core.workflows.ending import fail_workflow

        message = f"the gate of {stage.name} was rejected: {approval.feedback or 'no reason was given'}"
        failure = {"category": "gate_rejected", "message": message, "stage_name": stage.name}
        await fail_workflow(tx, workflow, {**failure, "gate_id": str(approval.id)})
        return
    from core.workflows.advance import carry_on  # it asks for gates in turn

    await carry_on(tx, workflow)


_ACTIONS: Mapping[ApprovalStatus, str] = {
    ApprovalStatus.APPROVED: "approve",
    ApprovalStatus.REJECTED: "reject",
    ApprovalStatus.CHANGES_REQUESTED: "request_changes",
    ApprovalStatus.BLOCKED: "block",
}


async def _do_again(tx: Tx, workflow: Row, stage: Stage, feedback: str | None) -> None:
    """Reopen the tasks that are to be done again, and forget what was made of their results."""
    mine = {task.name: task for task in stage.tasks}
    roots = set(stage.gate.rework if stage.gate else ()) or {
        task.name for task in stage.tasks if not any(d in mine for d in task.depends_on)
    }
    after: set[str] = set()
    grown = True
    while grown:
        more = {
            task.name
            for task in stage.tasks
            if task.name not in after and (roots | after) & {*task.depends_on}
        }
        grown = bool(more)
        after |= more
    for row in await tasks_of(tx, workflow.id, sorted(roots - after)):
        if TaskState(row.state) in FINAL and row.state != TaskState.REJECTED:
            await _reopen(tx, row, feedback)
    anew = sorted(after)
    if anew:
        await tx.run(
            sa.update(w.workflow_step)
            .where(_s.workflow_id == workflow.id, _s.name.in_(anew))
            .values(begun=False, made=0, iteration=_s.iteration + 1)
        )


async def _reopen(tx: Tx, row: Row, feedback: str | None) -> None:
    if row.rework_count + 1 > policies.loaded(row.policy).max_rework:
        raise Conflict(
            f"{row.title} was done again {row.rework_count} times; that is as often as it may be",
            details={"reason_code": "max_rework_exceeded", "task_id": str(row.id)},
            hint="approve, reject or block the gate",
        )
    given = row.input if isinstance(row.input, dict) else {"input": row.input}
    moved = await move(
        tx,
        Move.REOPEN_REWORK,
        row.id,
        who=Who.SYSTEM,
        said={"feedback": feedback},
        sets={
            "rework_count": row.rework_count + 1,
            "ready_at": tx.now,
            "input": {**given, "assessment_feedback": feedback},
            "output": None,
            "status_message": None,
        },
    )
    await release(tx, moved.row)
