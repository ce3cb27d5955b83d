"""One table for everything that somebody must allow: starting, a result, a permission, a tool call.

The first decision wins. Whoever holds the lease of the task never decides, whatever its scope. An approval
has no deadline unless one is given, and running out is its own status, never a silent rejection.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import rfc8785
import sqlalchemy as sa

from core import access
from core.errors import Conflict, Forbidden, Invalid, NotFound
from core.fencing import P_NOW, P_TASK
from core.journal import tell
from core.lifecycle import Who, touch
from core.store import tables as t
from core.store.statement import Row, Statement
from core.store.tx import Tx
from core.store.types import Id
from core.transitions import FINAL, Fence
from schemas.vocabulary import ApprovalKind, ApprovalStatus, TaskState

ACTIONS = {
    "approve": ApprovalStatus.APPROVED,
    "reject": ApprovalStatus.REJECTED,
    "request_changes": ApprovalStatus.CHANGES_REQUESTED,
    "block": ApprovalStatus.BLOCKED,
}
ALLOWED_ACTIONS: Mapping[ApprovalKind, frozenset[str]] = {
    ApprovalKind.START: frozenset({"approve", "reject"}),
    ApprovalKind.OUTPUT: frozenset({"approve", "reject", "request_changes"}),
    ApprovalKind.PERMISSION: frozenset({"approve", "reject"}),
    ApprovalKind.TOOL_CALL: frozenset({"approve", "reject"}),
    ApprovalKind.GATE: frozenset(ACTIONS),
}
DEFAULT_OPTIONS: Sequence[Mapping[str, str]] = (
    {"id": "approve", "name": "Approve", "kind": "allow_once"},
    {"id": "reject", "name": "Reject", "kind": "reject_once"},
)


@dataclass(frozen=True)
class Approval:
    """Something that is to be allowed, and what became of it."""

    id: UUID
    tenant_id: UUID
    task_id: UUID | None
    workflow_id: UUID | None
    attempt: int | None
    kind: ApprovalKind
    title: str
    status: ApprovalStatus
    subject: Any
    subject_digest: str | None
    options: Sequence[Mapping[str, Any]]
    requested_by: UUID
    decider_id: UUID | None
    option_id: str | None
    feedback: str | None
    remember: bool
    decided_by: UUID | None
    decided_via: str | None
    decided_at: datetime | None
    expires_at: datetime | None
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, row: Row) -> "Approval":
        """The value of an `approval` row."""
        return cls(
            id=row.id,
            tenant_id=row.tenant_id,
            task_id=row.task_id,
            workflow_id=row.workflow_id,
            attempt=row.attempt,
            kind=ApprovalKind(row.kind),
            title=row.title,
            status=ApprovalStatus(row.status),
            subject=row.subject,
            subject_digest=row.subject_digest,
            options=row.options,
            requested_by=row.requested_by,
            decider_id=row.decider_id,
            option_id=row.option_id,
            feedback=row.feedback,
            remember=row.remember,
            decided_by=row.decided_by,
            decided_via=row.decided_via,
            decided_at=row.decided_at,
            expires_at=row.expires_at,
            created_at=row.created_at,
            updated_at=row.updated_at,
        )

    def decidable_by(self, principal_id: UUID, operator: bool, holder_id: UUID | None) -> bool:
        """Whether this principal may decide it now; `holder_id` has the task's lease."""
        if self.status is not ApprovalStatus.PENDING or principal_id == holder_id:
            return False
        return operator or principal_id == self.decider_id


@dataclass(frozen=True)
class AskApproval:
    """What the executor wants to be allowed. `options` of none means approve or reject."""

    task_id: UUID
    lease_id: UUID
    title: str
    kind: ApprovalKind = ApprovalKind.PERMISSION
    subject: Any = None
    options: Sequence[Mapping[str, Any]] = ()
    expires_at: datetime | None = None


@dataclass(frozen=True)
class DecideApproval:
    """One of the options, or an action. `remember` is kept with the decision."""

    approval_id: UUID
    option_id: str | None = None
    action: str | None = None
    feedback: str | None = None
    remember: bool = False


TOOL_CALLS = "tool_calls"
"""The topic that is woken when a tool call may have got its leave."""
P_APPROVAL = sa.bindparam("p_approval_id", type_=Id())
_INSERT = Statement(sa.insert(t.approval))
_ONE = Statement(
    sa.select(t.approval).where(
        t.approval.c.id == P_APPROVAL,
        access.within_tenant(t.approval),
        access.approval_readable(t.approval),
    )
)
_DECIDE = Statement(
    sa.update(t.approval)
    .where(t.approval.c.id == P_APPROVAL, t.approval.c.status == sa.literal_column("'pending'"))
    .values(
        status=sa.bindparam("p_status", type_=sa.String()),
        option_id=sa.bindparam("p_option_id", type_=sa.String()),
        feedback=sa.bindparam("p_feedback", type_=sa.String()),
        remember=sa.bindparam("p_remember", type_=sa.Boolean()),
        decided_by=access.ME,
        decided_via=sa.bindparam("p_via", type_=sa.String()),
        decided_at=P_NOW,
        updated_at=P_NOW,
    )
    .returning(*t.approval.c)
)
_TASK = Statement(sa.select(*t.task.c).where(t.task.c.id == P_TASK).with_for_update())


async def ask(tx: Tx, command: AskApproval) -> Approval:
    """Ask for leave while the attempt goes on. The task stays in progress.

    Raises:
        NotFound, Forbidden, Conflict, InvalidTransition: as `lifecycle.touch`.
    """
    row = await touch(
        tx,
        command.task_id,
        who=Who.EXECUTOR,
        states=frozenset({TaskState.IN_PROGRESS}),
        lease_id=command.lease_id,
        fence=Fence.OWN,
        doing="ask for approval",
        sets={"has_approvals": True},
    )
    return await open_approval(
        tx,
        row,
        command.kind,
        command.title,
        subject=command.subject,
        options=command.options or DEFAULT_OPTIONS,
        expires_at=command.expires_at,
        decider_id=row.submitter_id if row.policy.get("submitter_decides", True) else None,
        taken=True,
    )


async def open_approval(
    tx: Tx,
    row: Row,
    kind: ApprovalKind,
    title: str,
    *,
    subject: Any = None,
    options: Sequence[Mapping[str, Any]] = DEFAULT_OPTIONS,
    expires_at: datetime | None = None,
    decider_id: UUID | None = None,
    taken: bool = False,
) -> Approval:
    """Make a pending approval of a task. `taken`: the task's version was taken for an event of its own."""
    approval = _opened(tx, row, kind, title, subject, options, expires_at, decider_id)
    if taken:
        tell(tx, row, "approval.requested", _said(approval))
    return approval


def open_apart(tx: Tx, kind: ApprovalKind, title: str, *, subject: Any, expires_at: datetime) -> Approval:
    """Make a pending approval of what belongs to no task. Operators decide it, but for whoever asked."""
    approval = _opened(tx, None, kind, title, subject, DEFAULT_OPTIONS, expires_at, None)
    _tell_apart(tx, "approval.requested", approval)
    return approval


def _tell_apart(tx: Tx, kind: str, approval: Approval) -> None:
    tx.event(
        kind,
        entity_type="approval",
        entity_id=approval.id,
        submitter_id=approval.requested_by,
        data=_said(approval),
    )


def _opened(
    tx: Tx,
    row: Row | None,
    kind: ApprovalKind,
    title: str,
    subject: Any,
    options: Sequence[Mapping[str, Any]],
    expires_at: datetime | None,
    decider_id: UUID | None,
) -> Approval:
    approval = Approval(
        id=tx.new_id(),
        tenant_id=tx.caller.tenant_id if row is None else row.tenant_id,
        task_id=None if row is None else row.id,
        workflow_id=None if row is None else row.workflow_id,
        attempt=None if row is None else row.attempt,
        kind=kind,
        title=title,
        status=ApprovalStatus.PENDING,
        subject=subject,
        subject_digest=digest(tx, row, kind, subject),
        options=[dict(option) for option in options],
        requested_by=tx.caller.principal_id,
        decider_id=decider_id,
        option_id=None,
        feedback=None,
        remember=False,
        decided_by=None,
        decided_via=None,
        decided_at=None,
        expires_at=expires_at,
        created_at=tx.now,
        updated_at=tx.now,
    )
    columns = {name: getattr(approval, name) for name in approval.__dataclass_fields__}
    columns |= {"kind": kind.value, "status": approval.status.value, "policy": {}, "used_at": None}
    tx.add(_INSERT, **columns)
    return approval


def digest(tx: Tx, row: Row | None, kind: ApprovalKind, subject: Any) -> str:
    """What exactly is asked, as a hash: the approval holds for this and nothing else (RFC 8785 form)."""
    said = {
        "tenant": str(tx.caller.tenant_id if row is None else row.tenant_id),
        "caller": str(tx.caller.principal_id),
        "task": None if row is None else str(row.id),
        "attempt": None if row is None else row.attempt,
        "kind": kind.value,
        "subject": subject,
    }
    try:
        return hashlib.sha256(rfc8785.dumps(said)).hexdigest()
    except rfc8785.CanonicalizationError as error:
        raise Invalid(f"the subject has no canonical form: {error}", details={"field": "subject"}) from error


async def decide(tx: Tx, command: DecideApproval) -> Approval:
    """Decide an approval, and make the task's move that hangs on it, in one transaction.

    Raises:
        NotFound: no such approval, or not yours to see.
        Forbidden: not yours to decide.
        Conflict: it was decided before; the first decision stands.
        Invalid: no such option or action.
    """
    row = await tx.one(_ONE, p_approval_id=command.approval_id)
    if row is None:
        raise NotFound("no such approval")
    approval = Approval.of(row)
    task = None if approval.task_id is None else await tx.one(_TASK, p_task_id=approval.task_id)
    _may_decide(tx, approval, task)
    status, option_id = _choice(approval, command)
    decided = await tx.one(
        _DECIDE,
        p_approval_id=approval.id,
        p_status=status.value,
        p_option_id=option_id,
        p_feedback=command.feedback,
        p_remember=command.remember,
        p_via=tx.caller.face,
        p_now=tx.now,
    )
    if decided is None:
        raise _decided(approval)
    approval = Approval.of(decided)
    if task is not None and TaskState(task.state) not in FINAL:
        await _tell_decided(tx, task, approval)
        if approval.kind in (ApprovalKind.START, ApprovalKind.OUTPUT):
            from core.tasks.review import judge  # it decides approvals in turn

            await judge(tx, task, approval)
        tx.wake(f"task:{task.id}")
    if task is None:
        _tell_apart(tx, "approval.decided", approval)
    if approval.kind is ApprovalKind.GATE:
        from core.workflows.gates import judge_gate  # it decides by these very rows

        await judge_gate(tx, approval)
    tx.wake(f"approval:{approval.id}")
    if approval.kind is ApprovalKind.TOOL_CALL:
        tx.wake(TOOL_CALLS)
    return approval


async def _tell_decided(tx: Tx, task: Row, approval: Approval) -> None:
    row = await touch(
        tx, task.id, who=Who.SYSTEM, states=frozenset(TaskState) - FINAL, doing="decide an approval"
    )
    tell(tx, row, "approval.decided", _said(approval))


def _said(approval: Approval) -> dict[str, Any]:
    return {
        "approval_id": str(approval.id),
        "task_id": approval.task_id and str(approval.task_id),
        "kind": approval.kind.value,
        "title": approval.title,
        "subject": approval.subject,
        "status": approval.status.value,
        "options": list(approval.options),
        "option_id": approval.option_id,
        "feedback": approval.feedback,
        "decider_id": approval.decider_id and str(approval.decider_id),
        "decided_by": approval.decided_by and str(approval.decided_by),
    }


def _may_decide(tx: Tx, approval: Approval, task: Row | None) -> None:
    me = tx.caller.principal_id
    if task is not None and task.lease_id is not None and me in (task.agent_id, task.worker_id):
        raise Forbidden("whoever does the task does not decide about it")
    if approval.kind is ApprovalKind.OUTPUT and task is not None and me in (task.agent_id, task.worker_id):
        raise Forbidden("whoever made the output does not judge it")
    if approval.kind is ApprovalKind.TOOL_CALL and me == approval.requested_by:
        raise Forbidden("whoever asked for a call does not allow it")
    if not tx.caller.operator and me != approval.decider_id:
        raise Forbidden("this approval is not yours to decide")
    if approval.status is not ApprovalStatus.PENDING:
        raise _decided(approval)


def _decided(approval: Approval) -> Conflict:
    return Conflict(
        f"the approval is {approval.status.value} already",
        details={"reason_code": "already_decided", "status": approval.status.value},
    )


def _choice(approval: Approval, command: DecideApproval) -> tuple[ApprovalStatus, str | None]:
    if command.option_id is not None:
        for option in approval.options:
            if option["id"] == command.option_id:
                allowed = str(option.get("kind", "")).startswith("allow")
                return (ApprovalStatus.APPROVED if allowed else ApprovalStatus.REJECTED), command.option_id
        raise Invalid(
            "no such option", details={"field": "option_id", "options": [o["id"] for o in approval.options]}
        )
    if command.action not in ALLOWED_ACTIONS[approval.kind]:
        raise Invalid(
            "no such action for this kind of approval",
            details={"field": "action", "actions": sorted(ALLOWED_ACTIONS[approval.kind])},
        )
    return ACTIONS[command.action], _option_of(approval, command.action)


def _option_of(approval: Approval, action: str) -> str | None:
    wanted = {"approve": "allow", "reject": "reject"}.get(action)
    for option in approval.options:
        if wanted and str(option.get("kind", "")).startswith(wanted):
            return str(option["id"])
    return None
