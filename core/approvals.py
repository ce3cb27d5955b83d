"""One table for everything that somebody must allow: starting, a result, a permission, a tool call.

The first decision wins; with a quorum (`core/approval_policy.py`) the first that so many share. Whoever holds
the lease of the task never decides, whatever its scope. An approval has no deadline unless one is given, and
running out is its own status, never a silent rejection; a deadline that was declared with a default decides.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import rfc8785
import sqlalchemy as sa

from core import approval_policy as policies
from core.approval_decisions import P_APPROVAL as P_APPROVAL
from core.approval_decisions import TOOL_CALLS as TOOL_CALLS
from core.approval_decisions import DecideApproval as DecideApproval
from core.approval_decisions import decide as decide
from core.approval_decisions import tell_apart
from core.approval_records import DEFAULT_OPTIONS as DEFAULT_OPTIONS
from core.approval_records import Approval as Approval
from core.errors import Invalid
from core.journal import tell
from core.lifecycle import Who, touch
from core.store import tables as t
from core.store.statement import Row, Statement
from core.store.tx import Tx
from core.transitions import Fence
from schemas.vocabulary import ApprovalKind, ApprovalStatus, TaskState


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
    form: Mapping[str, Any] | None = None
    """JSON Schema of the answer that an approval brings."""


_INSERT = Statement(sa.insert(t.approval))
_INSERT_DECIDER = Statement(sa.insert(t.approval_decider))


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
        form=command.form,
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
    form: Mapping[str, Any] | None = None,
    taken: bool = False,
) -> Approval:
    """Make a pending approval of a task, decided as the task's policy declares.

    `taken`: the task's version was taken for an event of its own.
    """
    declared = dict(row.policy.get("approval") or {}) | ({} if form is None else {"form": dict(form)})
    policy = policies.opened(declared, [row.submitter_id, tx.caller.principal_id])
    approval = _opened(tx, row, kind, title, subject, options, expires_at, decider_id, policy)
    if taken:
        tell(tx, row, "approval.requested", approval.said)
    return approval


def open_apart(tx: Tx, kind: ApprovalKind, title: str, *, subject: Any, expires_at: datetime) -> Approval:
    """Make a pending approval of what belongs to no task. Operators decide it, but for whoever asked."""
    approval = _opened(tx, None, kind, title, subject, DEFAULT_OPTIONS, expires_at, None, {})
    tell_apart(tx, "approval.requested", approval)
    return approval


def _opened(
    tx: Tx,
    row: Row | None,
    kind: ApprovalKind,
    title: str,
    subject: Any,
    options: Sequence[Mapping[str, Any]],
    expires_at: datetime | None,
    decider_id: UUID | None,
    policy: Mapping[str, Any],
) -> Approval:
    routed = policies.routed(policy)
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
        policy=policy,
        routed=routed,
        votes=(),
        answer=None,
        requested_by=tx.caller.principal_id,
        decider_id=None if routed else decider_id,
        option_id=None,
        feedback=None,
        remember=False,
        decided_by=None,
        decided_via=None,
        decided_at=None,
        expires_at=policies.deadline(policy, tx.now, expires_at),
        created_at=tx.now,
        updated_at=tx.now,
    )
    insert_approval(tx, approval)
    return approval


def insert_approval(tx: Tx, approval: Approval) -> None:
    """Write a new approval, and who decides it."""
    tx.add(_INSERT, **approval.columns)
    for n, named in enumerate(policies.lines(approval.policy)):
        tx.add(_INSERT_DECIDER, approval_id=approval.id, n=n, task_id=approval.task_id, **vars(named))


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
