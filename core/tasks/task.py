"""What the task commands take apart and give back: frozen values, never rows.

A *part* is a dict with exactly one of `text`, `data`, `url`, `raw` (base64) and optional `media_type`,
`filename`, `metadata`. Parts are checked at the faces (`schemas/parts.py`); core carries them unopened.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from core.store.statement import Row
from schemas.vocabulary import Face, InputKind, InputStatus, OnDependencyFailure, Priority, TaskState

Part = Mapping[str, Any]


@dataclass(frozen=True)
class RetryPolicy:
    """When a failed attempt is tried again.

    `initial_backoff_seconds` grows by `backoff_strategy`; only errors whose category is listed are retried,
    and never one that was reported as not recoverable.
    """

    max_attempts: int = 3
    backoff_strategy: str = "exponential"
    initial_backoff_seconds: float = 5.0
    retryable_categories: tuple[str, ...] = ("infrastructure",)


@dataclass(frozen=True)
class Policy:
    """How the hub treats one task. Absent parts mean: replaced when its executor is lost, nothing else."""

    retry: RetryPolicy = field(default_factory=RetryPolicy)
    on_dependency_failure: OnDependencyFailure = OnDependencyFailure.WAIT
    requires_approval: bool = False
    output_schema: Mapping[str, Any] | None = None
    timeout_seconds: int | None = None
    max_rework: int = 10
    submitter_decides: bool = True
    approval: Mapping[str, Any] | None = None
    """How its approvals are decided: `schemas.approval_policy.ApprovalPolicy`, as JSON."""


@dataclass(frozen=True)
class Origin:
    """Where a task came from."""

    face: Face
    principal_id: UUID
    external_id: str | None


@dataclass(frozen=True)
class Task:
    """A task as its reader sees it. `version` is the number of its newest event."""

    id: UUID
    tenant_id: UUID
    submitter_id: UUID
    origin: Origin
    context_id: str
    previous_task_id: UUID | None
    parent_id: UUID | None
    workflow_id: UUID | None
    work_item_id: UUID | None
    workspace_id: UUID | None
    state: TaskState
    version: int
    status_at: datetime
    status_message: Sequence[Part] | None
    left_queue: bool
    priority: Priority
    ready_at: datetime
    attempt: int
    held: bool
    agent_id: UUID | None
    worker_id: UUID | None
    preferred_agent_id: UUID | None
    cancel_requested_at: datetime | None
    timeout_at: datetime | None
    retry_count: int
    rework_count: int
    title: str
    description: str | None
    type: str
    role: str | None
    stage_name: str | None
    required_tags: Sequence[str]
    required_tools: Sequence[str]
    depends_on: Sequence[str]
    policy: Mapping[str, Any]
    input: Any
    context: Mapping[str, Any]
    metadata: Mapping[str, Any]
    extras: Mapping[str, Any]
    output: Any
    error: Mapping[str, Any] | None
    report: Mapping[str, Any] | None
    created_at: datetime
    updated_at: datetime
    claimed_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None

    @classmethod
    def of(cls, row: Row) -> "Task":
        """The value of a `task` row.

        Every read and every move makes one, so the fields are set as a whole instead of one by one.
        """
        fields = row.pick(_COLUMNS)
        fields["metadata"] = fields.pop("attributes")
        fields["state"] = _STATES[fields["state"]]
        fields["priority"] = _PRIORITIES[fields["priority"]]
        face, external_id = fields.pop("face"), fields.pop("external_id")
        fields["origin"] = Origin(_FACES[face], fields["submitter_id"], external_id)
        made = object.__new__(cls)
        made.__dict__.update(fields)
        return made


_STATES = {int(state): state for state in TaskState}
_PRIORITIES = {priority.value: priority for priority in Priority}
_FACES = {face.value: face for face in Face}
_COLUMNS = (
    *(name for name in Task.__dataclass_fields__ if name not in ("origin", "metadata")),
    "face",
    "external_id",
    "attributes",
)


@dataclass(frozen=True)
class Claimed:
    """A task together with the lease that makes its holder its executor."""

    task: Task
    lease_id: UUID
    lease_expires_at: datetime
    messages: Sequence["Message"] = ()
    """The conversation so far, when the claim asked for it."""
    checkpoint: Any = None
    """What an attempt before this one kept, so that its work need not be done again."""


@dataclass(frozen=True)
class Claims:
    """What a claim brought. `replayed`: the agent had no free place and gets its own tasks again."""

    items: Sequence[Claimed]
    replayed: bool = False

    @property
    def void(self) -> bool:
        """Whether it brought nothing, so that a repeat of the claim is free to bring something."""
        return not self.items


@dataclass(frozen=True)
class LeaseState:
    """What an executor learns when it renews its lease."""

    lease_expires_at: datetime
    cancel_requested: bool
    state: TaskState
    version: int


@dataclass(frozen=True)
class Message:
    """One message of a task's history. `n` is the task's version at which it was said."""

    task_id: UUID
    n: int
    message_id: str
    role: str
    parts: Sequence[Part]
    metadata: Mapping[str, Any]
    final: bool
    sender_id: UUID
    at: datetime

    @classmethod
    def of(cls, row: Row) -> "Message":
        """The value of a `message` row."""
        return cls(
            row.task_id,
            row.n,
            row.message_id,
            row.role,
            row.parts,
            row.attributes,
            row.final,
            row.sender_id,
            row.at,
        )


@dataclass(frozen=True)
class Artifact:
    """An artifact with its parts so far; `complete` once its last chunk came."""

    task_id: UUID
    artifact_id: str
    name: str | None
    description: str | None
    path: str | None
    content_type: str | None
    size_bytes: int
    complete: bool
    metadata: Mapping[str, Any]
    parts: Sequence[Part]
    created_at: datetime
    updated_at: datetime
    file_id: UUID | None = None
    """Set when its content came as a file."""
    sha256: bytes | None = None

    @classmethod
    def of(cls, row: Row, parts: Sequence[Part]) -> "Artifact":
        """The value of an `artifact` row and its chunks' parts, in order."""
        return cls(
            row.task_id,
            row.artifact_id,
            row.name,
            row.description,
            row.path,
            row.content_type,
            row.size_bytes,
            row.complete,
            row.attributes,
            parts,
            row.created_at,
            row.updated_at,
            row.file_id,
            row.sha256,
        )


@dataclass(frozen=True)
class InputRequest:
    """Something that an executor wants to know."""

    id: UUID
    task_id: UUID
    attempt: int
    kind: InputKind
    parts: Sequence[Part]
    schema: Mapping[str, Any] | None
    status: InputStatus
    answer: Any
    created_at: datetime
    answered_at: datetime | None

    @classmethod
    def of(cls, row: Row) -> "InputRequest":
        """The value of an `input_request` row."""
        return cls(
            row.id,
            row.task_id,
            row.attempt,
            InputKind(row.kind),
            row.parts,
            row.answer_schema,
            InputStatus(row.status),
            row.answer,
            row.created_at,
            row.answered_at,
        )


@dataclass(frozen=True)
class TaskView:
    """A task with everything that belongs to it, read in one snapshot."""

    task: Task
    messages: Sequence[Message]
    artifacts: Sequence[Artifact]
    inputs: Sequence[InputRequest]
    """The open input requests, oldest first."""
    approvals: Sequence[Any] = ()
    """The pending approvals, oldest first (`core.approvals.Approval`)."""
