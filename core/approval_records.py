"""An approval as a value: what is asked, of whom, and what became of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from core.approval_policy import open_to
from core.caller import Caller
from core.store.statement import Row
from schemas.vocabulary import ApprovalKind, ApprovalStatus

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
    policy: Mapping[str, Any]
    routed: bool
    votes: Sequence[Mapping[str, Any]]
    answer: Any
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
            policy=row.policy,
            routed=row.routed,
            votes=row.votes,
            answer=row.answer,
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

    def decidable_by(self, caller: Caller, holder_id: UUID | None) -> bool:
        """Whether this caller may decide it now; `holder_id` has the task's lease.

        Of deciders that are named by their role `approvals.decide` alone knows.
        """
        if self.status is not ApprovalStatus.PENDING or caller.principal_id == holder_id:
            return False
        return open_to(self.policy, self.decider_id, self.votes, caller)

    @property
    def columns(self) -> dict[str, Any]:
        """The values of its row when it is opened."""
        columns = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return columns | {"kind": self.kind.value, "status": self.status.value, "used_at": None}

    @property
    def said(self) -> dict[str, Any]:
        """What the log says of it."""
        return {
            "approval_id": str(self.id),
            "task_id": self.task_id and str(self.task_id),
            "kind": self.kind.value,
            "title": self.title,
            "subject": self.subject,
            "status": self.status.value,
            "options": list(self.options),
            "option_id": self.option_id,
            "feedback": self.feedback,
            "decider_id": self.decider_id and str(self.decider_id),
            "decided_by": self.decided_by and str(self.decided_by),
            **({"policy": dict(self.policy)} if self.policy else {}),
            **({} if self.answer is None else {"answer": self.answer}),
        }
