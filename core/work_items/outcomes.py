"""What an assessment comes to: its subject is accepted, done again, failed or blocked, in one transaction.

An assessment says its outcome by its handoff's `resolution`, or by a `resolution` (or `decision_state`) in
its output. It holds for the revision that it looked at: when its subject was done again meanwhile, or cannot
be judged any more, the log says `task.assessment_resolution_skipped` and nothing else happens.
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.fencing import P_NOW, P_TASK
from core.journal import tell
from core.lifecycle import Who, move, touch
from core.store import tables as t
from core.store.statement import Row, Statement
from core.store.tables import workflows as w
from core.store.tx import Tx
from core.tasks import policy as policies
from core.tasks.release import release
from core.transitions import FINAL, Move
from core.work_items.following import assessed, end_branch
from core.workflows.records import P_WORKFLOW
from core.workflows.standing import OVER
from schemas.item_words import OutcomeAction, Resolution
from schemas.vocabulary import ApprovalKind, Face, TaskState, WorkflowState

_SUBJECT = Statement(
    sa.select(*t.task.c).where(t.task.c.id == P_TASK, access.within_tenant(t.task)).with_for_update(of=t.task)
)
_STATE = Statement(sa.select(w.workflow.c.state).where(w.workflow.c.id == P_WORKFLOW))
_DECIDE = Statement(
    sa.update(t.approval)
    .where(
        t.approval.c.task_id == P_TASK,
        t.approval.c.status == sa.literal_column("'pending'"),
        t.approval.c.kind == sa.literal_column(f"'{ApprovalKind.OUTPUT.value}'"),
    )
    .values(
        status=sa.bindparam("p_status", type_=sa.String()),
        feedback=sa.bindparam("p_feedback", type_=sa.String()),
        decided_by=access.ME,
        decided_via="assessment",
        decided_at=P_NOW,
        updated_at=P_NOW,
    )
    .returning(t.approval.c.id)
)
_JUDGED = frozenset({TaskState.OUTPUT_PENDING_ASSESSMENT, TaskState.COMPLETED})
_DONE_AGAIN = _JUDGED | {TaskState.FAILED, TaskState.CANCELLED}


async def settle(tx: Tx, assessment: Row) -> None:
    """Do what follows from an assessment that has just been completed."""
    named = assessment.extras.get("subject_task_id")
    if named is None:
        return
    resolution, action, feedback = said_by(assessment)
    if resolution is None:
        return await _skip(tx, assessment, "no_resolution")
    subject = await tx.one(_SUBJECT, p_task_id=UUID(named))
    if subject is None:
        return await _skip(tx, assessment, "no_subject")
    reason = await _unfit(tx, assessment, subject, resolution)
    if reason is not None:
        return await _skip(tx, assessment, reason)
    told = {"assessment_task_id": str(assessment.id), "resolution": resolution.value, "feedback": feedback}
    match resolution:
        case Resolution.APPROVED:
            await _accept(tx, subject, feedback, told)
        case Resolution.REQUEST_CHANGES:
            await _again(tx, subject, feedback, told)
        case Resolution.REJECTED:
            await _fail(tx, subject, feedback, told, "task.assessment_rejection_applied")
        case Resolution.BLOCKED:
            await _tell(tx, subject, "task.assessment_block_applied", told)
    await assessed(tx, assessment, subject, resolution, feedback)
    if action is OutcomeAction.ESCALATE:
        await _tell(tx, await _fresh(tx, subject), "task.assessment_escalated", told)
    elif action is OutcomeAction.TERMINATE_BRANCH:
        await end_branch(tx, assessment, feedback)
        await _tell(tx, await _fresh(tx, subject), "task.assessment_branch_terminated", told)


def said_by(assessment: Row) -> tuple[Resolution | None, OutcomeAction | None, str]:
    """What an assessment says: its resolution, what else it wants, and its words."""
    handoff = assessment.extras.get("latest_handoff") or {}
    output: Mapping[str, Any] = assessment.output if isinstance(assessment.output, dict) else {}
    action = None
    if handoff.get("rework_count") == assessment.rework_count and handoff.get("resolution"):
        resolution: object = handoff["resolution"]
        action, feedback = handoff.get("outcome_action_applied"), str(handoff["summary"])
    else:
        resolution = output.get("resolution", output.get("decision_state"))
        feedback = str(output.get("feedback") or output.get("summary") or "")[:4000]
        action = output.get("outcome_action_applied")
    actions = {item.value: item for item in OutcomeAction}
    resolutions = {item.value: item for item in Resolution}
    wanted = actions.get(action) if isinstance(action, str) else None
    found = resolutions.get(resolution) if isinstance(resolution, str) else None
    if wanted is OutcomeAction.REOPEN_SUBJECT:
        found = Resolution.REQUEST_CHANGES
    elif wanted is OutcomeAction.BLOCK_SUBJECT:
        found = Resolution.BLOCKED
    return found, wanted, feedback


async def _unfit(tx: Tx, assessment: Row, subject: Row, resolution: Resolution) -> str | None:
    """Why the outcome cannot be applied any more."""
    if assessment.extras.get("subject_revision") != subject.rework_count:
        return "subject_revision_superseded"
    possible = {
        Resolution.APPROVED: _JUDGED,
        Resolution.REQUEST_CHANGES: _DONE_AGAIN,
        Resolution.REJECTED: _JUDGED,
        Resolution.BLOCKED: frozenset(TaskState),
    }
    state = TaskState(subject.state)
    if state not in possible[resolution]:
        return f"subject_is_{state.wire}"
    reopens = state in FINAL and resolution in (Resolution.REQUEST_CHANGES, Resolution.REJECTED)
    if reopens and subject.face in (Face.A2A, Face.ACP, Face.MCP):
        return "subject_is_final_for_good"
    if reopens and subject.workflow_id is not None:
        workflow = await tx.one(_STATE, p_workflow_id=subject.workflow_id)
        if workflow is not None and WorkflowState(workflow.state) in OVER:
            return "workflow_over"
    return None


async def _accept(tx: Tx, subject: Row, feedback: str, told: Mapping[str, Any]) -> None:
    if subject.state == TaskState.COMPLETED:
        return await _tell(tx, subject, "task.assessment_resolution_applied", told)
    await _decide(tx, subject, "approved", feedback)
    await move(
        tx,
        Move.APPROVE_OUTPUT,
        subject.id,
        who=Who.SYSTEM,
        said=told,
        announces="task.assessment_resolution_applied",
    )


async def _again(tx: Tx, subject: Row, feedback: str, told: Mapping[str, Any]) -> None:
    if subject.rework_count + 1 > policies.loaded(subject.policy).max_rework:
        return await _fail(tx, subject, feedback, told, "task.max_rework_exceeded")
    await _decide(tx, subject, "changes_requested", feedback)
    given = subject.input if isinstance(subject.input, dict) else {"input": subject.input}
    waits = subject.state == TaskState.OUTPUT_PENDING_ASSESSMENT
    moved = await move(
        tx,
        Move.REWORK if waits else Move.REOPEN_REWORK,
        subject.id,
        who=Who.SYSTEM,
        said=told,
        announces="task.assessment_rework_applied",
        sets={
            "rework_count": subject.rework_count + 1,
            "ready_at": tx.now,
            "input": {**given, "assessment_feedback": feedback},
            "output": None,
            "status_message": None,
        },
    )
    await release(tx, moved.row)


async def _fail(tx: Tx, subject: Row, feedback: str, told: Mapping[str, Any], announces: str) -> None:
    if TaskState(subject.state) in (TaskState.FAILED, TaskState.CANCELLED):
        return await _tell(tx, subject, announces, told)
    await _decide(tx, subject, "rejected", feedback)
    error = {"category": "assessment_rejected", "message": feedback or "rejected", "recoverable": False}
    waits = subject.state == TaskState.OUTPUT_PENDING_ASSESSMENT
    await move(
        tx,
        Move.REJECT if waits else Move.REJECT_COMPLETED,
        subject.id,
        who=Who.SYSTEM,
        said={**told, "error": error},
        announces=announces,
        sets={"error": error, "status_message": [{"text": error["message"]}]},
    )


async def _decide(tx: Tx, subject: Row, status: str, feedback: str) -> None:
    if not subject.has_approvals:
        return
    for decided in await tx.all(
        _DECIDE, p_task_id=subject.id, p_status=status, p_feedback=feedback or None, p_now=tx.now
    ):
        tx.wake(f"approval:{decided.id}")


async def _fresh(tx: Tx, subject: Row) -> Row:
    row = await tx.one(_SUBJECT, p_task_id=subject.id)
    assert row is not None
    return row


async def _skip(tx: Tx, assessment: Row, reason: str) -> None:
    named = assessment.extras.get("subject_task_id")
    said = {"reason": reason, "subject_task_id": named}
    await _tell(tx, assessment, "task.assessment_resolution_skipped", said)


async def _tell(tx: Tx, row: Row, kind: str, said: Mapping[str, Any]) -> None:
    told = await touch(tx, row.id, who=Who.SYSTEM, states=frozenset(TaskState), doing="assess it")
    tell(tx, told, kind, {"task_id": str(row.id), **said})
