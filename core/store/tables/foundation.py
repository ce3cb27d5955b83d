"""What everything stands on: who acts, tasks and what belongs to them, the log, deliveries, sessions.

Constraints repeat the law of `core/transitions.py`: a state is one of the known ones, and a task has an
end time exactly when it is final.
"""

from datetime import datetime
from typing import Any, cast
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from core.store.tables.declaring import one_of, where
from core.store.types import Id, Instant, Json
from core.transitions import FINAL, LEASED
from schemas.vocabulary import (
    AgentStatus,
    ApprovalStatus,
    DelegationState,
    DeliveryState,
    Health,
    InputStatus,
    SessionStatus,
    TaskState,
    VerificationStatus,
)

_FINAL = ", ".join(str(int(s)) for s in sorted(FINAL))
_LEASED = ", ".join(str(int(s)) for s in sorted(LEASED))
_STATES = ", ".join(str(int(s)) for s in TaskState)
_READY = f"state = {int(TaskState.READY)}"
_OF_A_WORKFLOW = "workflow_id IS NOT NULL"
_SETTLED = ", ".join(repr(s.value) for s in (DeliveryState.DELIVERED, DeliveryState.DEAD))
_DELEGATION_OVER = ", ".join(repr(s.value) for s in (DelegationState.DONE, DelegationState.LOST))


class TenantRow(SQLModel, table=True):
    __tablename__ = "tenant"
    id: UUID = Field(primary_key=True, sa_type=Id)
    slug: str = Field(unique=True)
    name: str
    is_active: bool = True
    created_at: datetime = Field(sa_type=Instant)


class PrincipalRow(SQLModel, table=True):
    """Who acts. Keys belong to it, so that a new key sees what the old one made."""

    __tablename__ = "principal"
    __table_args__ = (sa.Index("principal_owner", "tenant_id", "owner_type", "owner_id", unique=True),)
    id: UUID = Field(primary_key=True, sa_type=Id)
    tenant_id: UUID = Field(sa_type=Id)
    owner_type: str
    owner_id: str
    name: str
    created_at: datetime = Field(sa_type=Instant)


class ApiKeyRow(SQLModel, table=True):
    __tablename__ = "api_key"
    __table_args__ = (sa.Index("api_key_tenant", "tenant_id", "id"),)
    id: UUID = Field(primary_key=True, sa_type=Id)
    tenant_id: UUID = Field(sa_type=Id)
    principal_id: UUID = Field(sa_type=Id)
    scope: str
    lookup_hash: bytes = Field(unique=True)
    pepper_id: str
    key_prefix: str
    label: str | None = None
    last_used_at: datetime | None = Field(default=None, sa_type=Instant)
    expires_at: datetime | None = Field(default=None, sa_type=Instant)
    revoked_at: datetime | None = Field(default=None, sa_type=Instant)
    created_at: datetime = Field(sa_type=Instant)


class RefreshSessionRow(SQLModel, table=True):
    """One refresh token. It is used once; a second use revokes its family."""

    __tablename__ = "refresh_session"
    __table_args__ = (sa.Index("refresh_session_family", "family_id"),)
    id: UUID = Field(primary_key=True, sa_type=Id)
    tenant_id: UUID = Field(sa_type=Id)
    family_id: UUID = Field(sa_type=Id)
    key_id: UUID = Field(sa_type=Id)
    persistent: bool = True
    expires_at: datetime = Field(sa_type=Instant)
    used_at: datetime | None = Field(default=None, sa_type=Instant)
    revoked_at: datetime | None = Field(default=None, sa_type=Instant)
    created_at: datetime = Field(sa_type=Instant)


class AgentRow(SQLModel, table=True):
    __tablename__ = "agent"
    __table_args__ = (
        sa.CheckConstraint(one_of("status", AgentStatus), name="agent_status_valid"),
        sa.Index("agent_tenant", "tenant_id", "id"),
        sa.Index("agent_worker", "worker_id", **where("worker_id IS NOT NULL")),
    )
    id: UUID = Field(primary_key=True, sa_type=Id)
    tenant_id: UUID = Field(sa_type=Id)
    name: str
    protocol: str
    execution_mode: str
    routing_tags: list[str] = Field(sa_type=Json)
    tools: dict[str, Any] = Field(sa_type=Json)
    worker_id: UUID | None = Field(default=None, sa_type=Id)
    registered_by: UUID = Field(sa_type=Id)
    status: str
    max_concurrent: int = 1
    heartbeat_interval_seconds: int = 60
    last_seen_at: datetime = Field(sa_type=Instant)
    last_claim_at: datetime | None = Field(default=None, sa_type=Instant)
    attributes: dict[str, Any] = Field(sa_type=Json)
    created_at: datetime = Field(sa_type=Instant)
    updated_at: datetime = Field(sa_type=Instant)


class RouteRow(SQLModel, table=True):
    """What a task asks for, as one number. The key is canonical JSON of tags, tools and mode."""

    __tablename__ = "route"
    __table_args__ = (sa.UniqueConstraint("tenant_id", "key", name="route_key"),)
    id: int | None = Field(default=None, primary_key=True)
    tenant_id: UUID = Field(sa_type=Id)
    key: str


class ConversationRow(SQLModel, table=True):
    __tablename__ = "conversation"
    tenant_id: UUID = Field(primary_key=True, sa_type=Id)
    owner_id: UUID = Field(primary_key=True, sa_type=Id)
    context_id: str = Field(primary_key=True)
    title: str | None = None
    created_at: datetime = Field(sa_type=Instant)


class TaskRow(SQLModel, table=True):
    __tablename__ = "task"
    __table_args__ = (
        sa.CheckConstraint(f"state IN ({_STATES})", name="task_state_valid"),
        sa.CheckConstraint(f"(state IN ({_FINAL})) = (finished_at IS NOT NULL)", name="task_final_has_end"),
        sa.CheckConstraint(f"state NOT IN ({_LEASED}) OR lease_id IS NOT NULL", name="task_leased_has_lease"),
        sa.CheckConstraint(f"state NOT IN ({_FINAL}) OR lease_id IS NULL", name="task_final_has_no_lease"),
        sa.CheckConstraint("waiting >= 0", name="task_waiting_counts"),
        sa.Index("task_ready", "route_id", "rank", "id", **where(_READY)),
        sa.Index(
            "task_delayed",
            "ready_at",
            **where(f"state = {int(TaskState.PENDING)} AND waiting = 0 AND NOT on_hold"),
        ),
        sa.Index("task_preferred", "preferred_until", **where(f"{_READY} AND preferred_until IS NOT NULL")),
        sa.Index("task_timeout", "timeout_at", **where("timeout_at IS NOT NULL")),
        sa.Index("task_cancel_due", "cancel_due_at", **where("cancel_due_at IS NOT NULL")),
        sa.Index("task_leased_by", "agent_id", **where("lease_id IS NOT NULL")),
        sa.Index("task_tenant", "tenant_id", "id"),
        sa.Index("task_tenant_state", "tenant_id", "state", "id"),
        sa.Index("task_submitter", "tenant_id", "submitter_id", "status_at", "id"),
        sa.Index("task_context", "tenant_id", "context_id", "id"),
        sa.Index("task_workflow", "workflow_id", "id", **where("workflow_id IS NOT NULL")),
        sa.Index(
            "task_workflow_open",
            "workflow_id",
            "id",
            **where(f"state NOT IN ({_FINAL}) AND {_OF_A_WORKFLOW}"),
        ),
        sa.Index("task_work_item", "work_item_id", "id", **where("work_item_id IS NOT NULL")),
        sa.Index("task_parent", "parent_id", "id", **where("parent_id IS NOT NULL")),
        {
            "postgresql_with": {
                "fillfactor": 80,
                "autovacuum_vacuum_scale_factor": 0.01,
                "autovacuum_vacuum_threshold": 1000,
                "autovacuum_vacuum_cost_delay": 0,
            }
        },
    )
    id: UUID = Field(primary_key=True, sa_type=Id)
    tenant_id: UUID = Field(sa_type=Id)
    submitter_id: UUID = Field(sa_type=Id)
    face: str
    exposure_id: UUID | None = Field(default=None, sa_type=Id)
    """The exposed agent that it was sent to; of a removed one its id stays."""
    external_id: str | None = None
    context_id: str
    previous_task_id: UUID | None = Field(default=None, sa_type=Id)
    parent_id: UUID | None = Field(default=None, sa_type=Id)
    depth: int = 0
    workflow_id: UUID | None = Field(default=None, sa_type=Id)
    work_item_id: UUID | None = Field(default=None, sa_type=Id)
    workspace_id: UUID | None = Field(default=None, sa_type=Id)

    state: int = Field(sa_type=sa.SmallInteger)
    prev_state: int = Field(sa_type=sa.SmallInteger)
    """The state before the last move, so that a compare-and-set can say where it came from."""
    version: int = 1
    status_at: datetime = Field(sa_type=Instant)
    status_message: list[Any] | None = Field(default=None, sa_type=Json)
    left_queue: bool = False
    rank: int = Field(sa_type=sa.BigInteger)
    priority: str
    route_id: int
    general_route_id: int
    waiting: int = 0
    dependants: int = 0
    on_hold: bool = False
    """Its workflow or work item is paused, or as much goes on there as may: it stays pending until those who
    held it let it go."""
    ready_at: datetime = Field(sa_type=Instant)
    approval_open: bool = False
    has_approvals: bool = False
    """An approval was once asked for, so that there may be one to close."""
    checks_output: bool = False
    """The policy has an output schema, so that completing takes a look at it first."""
    timeout_seconds: int | None = None
    attempt: int = 0
    lease_id: UUID | None = Field(default=None, sa_type=Id)
    held: bool = False
    agent_id: UUID | None = Field(default=None, sa_type=Id)
    worker_id: UUID | None = Field(default=None, sa_type=Id)
    preferred_agent_id: UUID | None = Field(default=None, sa_type=Id)
    preferred_until: datetime | None = Field(default=None, sa_type=Instant)
    cancel_requested_at: datetime | None = Field(default=None, sa_type=Instant)
    cancel_due_at: datetime | None = Field(default=None, sa_type=Instant)
    timeout_at: datetime | None = Field(default=None, sa_type=Instant)
    retry_count: int = 0
    rework_count: int = 0

    title: str
    description: str | None = None
    type: str
    role: str | None = None
    stage_name: str | None = None
    required_tags: list[str] = Field(sa_type=Json)
    required_tools: list[str] = Field(sa_type=Json)
    depends_on: list[str] = Field(sa_type=Json)
    policy: dict[str, Any] = Field(sa_type=Json)
    input: Any | None = Field(sa_type=Json)
    context: dict[str, Any] = Field(sa_type=Json)
    attributes: dict[str, Any] = Field(sa_type=Json)
    extras: dict[str, Any] = Field(sa_type=Json)
    output: Any | None = Field(default=None, sa_type=Json)
    error: dict[str, Any] | None = Field(default=None, sa_type=Json)
    report: dict[str, Any] | None = Field(default=None, sa_type=Json)

    created_at: datetime = Field(sa_type=Instant)
    updated_at: datetime = Field(sa_type=Instant)
    claimed_at: datetime | None = Field(default=None, sa_type=Instant)
    started_at: datetime | None = Field(default=None, sa_type=Instant)
    finished_at: datetime | None = Field(default=None, sa_type=Instant)


class DependencyRow(SQLModel, table=True):
    __tablename__ = "dependency"
    __table_args__ = (sa.Index("dependency_task", "task_id"),)
    after_id: UUID = Field(primary_key=True, sa_type=Id)
    task_id: UUID = Field(primary_key=True, sa_type=Id)
    done: bool = False
    """Counted off: the dependant waits no longer for this one, whatever happens to it later."""


class AttemptRow(SQLModel, table=True):
    __tablename__ = "attempt"
    __table_args__ = (
        sa.Index("attempt_agent", "agent_id", "task_id"),
        sa.Index("attempt_worker", "worker_id", "task_id", **where("worker_id IS NOT NULL")),
    )
    task_id: UUID = Field(primary_key=True, sa_type=Id)
    n: int = Field(primary_key=True)
    tenant_id: UUID = Field(sa_type=Id)
    agent_id: UUID = Field(sa_type=Id)
    worker_id: UUID | None = Field(default=None, sa_type=Id)
    lease_id: UUID = Field(sa_type=Id, unique=True)
    started_at: datetime = Field(sa_type=Instant)
    ended_at: datetime | None = Field(default=None, sa_type=Instant)
    outcome: str | None = None
    error: dict[str, Any] | None = Field(default=None, sa_type=Json)


class LeaseRow(SQLModel, table=True):
    """The live leases. Apart from the task, and with no index on `until`, so that renewals stay cheap."""

    __tablename__ = "lease"
    __table_args__ = (sa.Index("lease_agent", "agent_id"), {"postgresql_with": {"fillfactor": 50}})
    task_id: UUID = Field(primary_key=True, sa_type=Id)
    lease_id: UUID = Field(sa_type=Id)
    tenant_id: UUID = Field(sa_type=Id)
    agent_id: UUID = Field(sa_type=Id)
    seconds: int
    until: datetime = Field(sa_type=Instant)


class MessageRow(SQLModel, table=True):
    __tablename__ = "message"
    task_id: UUID = Field(primary_key=True, sa_type=Id)
    n: int = Field(primary_key=True)
    """The task's version at which it was said: history and events share one order."""
    tenant_id: UUID = Field(sa_type=Id)
    message_id: str
    role: str
    parts: list[Any] = Field(sa_type=Json)
    attributes: dict[str, Any] = Field(sa_type=Json)
    final: bool = False
    sender_id: UUID = Field(sa_type=Id)
    at: datetime = Field(sa_type=Instant)


class ArtifactRow(SQLModel, table=True):
    __tablename__ = "artifact"
    task_id: UUID = Field(primary_key=True, sa_type=Id)
    artifact_id: str = Field(primary_key=True)
    tenant_id: UUID = Field(sa_type=Id)
    name: str | None = None
    description: str | None = None
    path: str | None = None
    content_type: str | None = None
    size_bytes: int = Field(default=0, sa_type=sa.BigInteger)
    chunks: int = 0
    complete: bool = True
    attributes: dict[str, Any] = Field(sa_type=Json)
    file_id: UUID | None = Field(default=None, sa_type=Id)
    """Where its content is when it came as a file; its parts then only name the address."""
    sha256: bytes | None = None
    created_n: int
    created_at: datetime = Field(sa_type=Instant)
    updated_at: datetime = Field(sa_type=Instant)


class ArtifactChunkRow(SQLModel, table=True):
    __tablename__ = "artifact_chunk"
    task_id: UUID = Field(primary_key=True, sa_type=Id)
    artifact_id: str = Field(primary_key=True)
    n: int = Field(primary_key=True)
    """The task's version at which it came."""
    parts: list[Any] = Field(sa_type=Json)


class InputRequestRow(SQLModel, table=True):
    __tablename__ = "input_request"
    __table_args__ = (
        sa.CheckConstraint(one_of("status", InputStatus), name="input_request_status_valid"),
        sa.Index("input_request_task", "task_id", "id"),
    )
    id: UUID = Field(primary_key=True, sa_type=Id)
    task_id: UUID = Field(sa_type=Id)
    tenant_id: UUID = Field(sa_type=Id)
    attempt: int
    kind: str
    parts: list[Any] = Field(sa_type=Json)
    answer_schema: dict[str, Any] | None = Field(default=None, sa_type=Json)
    status: str
    answer: Any | None = Field(default=None, sa_type=Json)
    answered_by: UUID | None = Field(default=None, sa_type=Id)
    answered_at: datetime | None = Field(default=None, sa_type=Instant)
    created_at: datetime = Field(sa_type=Instant)


class ApprovalRow(SQLModel, table=True):
    __tablename__ = "approval"
    __table_args__ = (
        sa.CheckConstraint(one_of("status", ApprovalStatus), name="approval_status_valid"),
        sa.Index("approval_task", "task_id", "id", **where("task_id IS NOT NULL")),
        sa.Index("approval_pending", "tenant_id", "id", **where("status = 'pending'")),
        sa.Index("approval_due", "expires_at", **where("status = 'pending' AND expires_at IS NOT NULL")),
    )
    id: UUID = Field(primary_key=True, sa_type=Id)
    tenant_id: UUID = Field(sa_type=Id)
    task_id: UUID | None = Field(default=None, sa_type=Id)
    workflow_id: UUID | None = Field(default=None, sa_type=Id)
    attempt: int | None = None
    kind: str
    title: str
    status: str
    subject: Any | None = Field(default=None, sa_type=Json)
    subject_digest: str | None = None
    options: list[Any] = Field(sa_type=Json)
    policy: dict[str, Any] = Field(sa_type=Json)
    """`core/approval_policy.py`; empty when nothing was declared."""
    routed: bool = False
    """Only who is named in `approval_decider` decides."""
    votes: list[Any] = Field(sa_type=Json)
    """What was said where a policy was declared, in order. Written under the row's lock."""
    answer: Any | None = Field(default=None, sa_type=Json)
    requested_by: UUID = Field(sa_type=Id)
    decider_id: UUID | None = Field(default=None, sa_type=Id)
    """Who may decide beside the operators: the submitter, where the policy says so."""
    option_id: str | None = None
    feedback: str | None = None
    remember: bool = False
    decided_by: UUID | None = Field(default=None, sa_type=Id)
    decided_via: str | None = None
    decided_at: datetime | None = Field(default=None, sa_type=Instant)
    used_at: datetime | None = Field(default=None, sa_type=Instant)
    expires_at: datetime | None = Field(default=None, sa_type=Instant)
    created_at: datetime = Field(sa_type=Instant)
    updated_at: datetime = Field(sa_type=Instant)


class ApprovalDeciderRow(SQLModel, table=True):
    """Who may decide an approval, or is barred from it: a principal, a role or a scope."""

    __tablename__ = "approval_decider"
    __table_args__ = (sa.Index("approval_decider_task", "task_id", **where("task_id IS NOT NULL")),)
    approval_id: UUID = Field(primary_key=True, sa_type=Id)
    n: int = Field(primary_key=True)
    task_id: UUID | None = Field(default=None, sa_type=Id)
    principal_id: UUID | None = Field(default=None, sa_type=Id)
    word: str | None = None
    barred: bool = False


class _Happening(SQLModel):
    """What an event says. The log and the sequencer's inbox share it."""

    tenant_id: UUID = Field(sa_type=Id)
    kind: str
    entity_type: str
    entity_id: UUID | None = Field(default=None, sa_type=Id)
    task_id: UUID | None = Field(default=None, sa_type=Id)
    version: int | None = None
    workflow_id: UUID | None = Field(default=None, sa_type=Id)
    context_id: str | None = None
    submitter_id: UUID | None = Field(default=None, sa_type=Id)
    actor_type: str
    actor_id: str | None = None
    at: datetime = Field(sa_type=Instant)
    data: dict[str, Any] = Field(sa_type=Json)


_Serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


class EventRow(_Happening, table=True):
    """The log. `pos` is contiguous in commit order and never used twice."""

    __tablename__ = "event"
    __table_args__ = (
        sa.Index("event_task", "task_id", "version"),
        sa.Index("event_tenant", "tenant_id", "pos"),
        sa.Index("event_workflow", "workflow_id", "pos", **where("workflow_id IS NOT NULL")),
        {"sqlite_autoincrement": True},
    )
    pos: int | None = Field(default=None, primary_key=True, sa_type=cast(Any, _Serial))


class EventOutboxRow(_Happening, table=True):
    """PostgreSQL's inbox of the sequencer; empty on SQLite, where the one writer numbers the log itself."""

    __tablename__ = "event_outbox"
    __table_args__ = (
        {
            "postgresql_with": {
                "autovacuum_vacuum_scale_factor": 0,
                "autovacuum_vacuum_threshold": 2000,
                "autovacuum_vacuum_cost_delay": 0,
            },
            "sqlite_autoincrement": True,
        },
    )
    seq: int | None = Field(default=None, primary_key=True, sa_type=cast(Any, _Serial))


class EventHeadRow(SQLModel, table=True):
    """One row: the last position given out on PostgreSQL. Two sequencers at once serialise on it."""

    __tablename__ = "event_head"
    __table_args__ = ({"postgresql_with": {"fillfactor": 10}},)
    id: int = Field(default=1, primary_key=True)
    pos: int = Field(sa_type=sa.BigInteger)


class IdemRow(SQLModel, table=True):
    """What a replay key has already done."""

    __tablename__ = "idem"
    __table_args__ = (sa.Index("idem_at", "at"),)
    tenant_id: UUID = Field(primary_key=True, sa_type=Id)
    principal_id: UUID = Field(primary_key=True, sa_type=Id)
    command: str = Field(primary_key=True)
    target: str = Field(primary_key=True)
    key: str = Field(primary_key=True)
    body_hash: bytes
    answer: Any | None = Field(default=None, sa_type=Json)
    at: datetime = Field(sa_type=Instant)


class ConsumerRow(SQLModel, table=True):
    """How far a durable reader of the log has come."""

    __tablename__ = "consumer"
    name: str = Field(primary_key=True)
    pos: int = Field(sa_type=sa.BigInteger)


class PushConfigRow(SQLModel, table=True):
    """Where one task's A2A notifications go. `id` is the row's own; its client calls it `config_id`."""

    __tablename__ = "push_config"
    __table_args__ = (
        sa.UniqueConstraint("task_id", "config_id", name="push_config_key"),
        sa.Index("push_config_live", "task_id", **where("live")),
    )
    id: UUID = Field(primary_key=True, sa_type=Id)
    tenant_id: UUID = Field(sa_type=Id)
    task_id: UUID = Field(sa_type=Id)
    config_id: str
    principal_id: UUID = Field(sa_type=Id)
    """Whose view of the task is told."""
    scope: str
    protocol_version: str
    url: str
    endpoint: str
    """The origin of the URL: what the requests in flight are counted by."""
    scheme: str | None = None
    credentials: str | None = None
    """Sealed."""
    token: str | None = None
    """Sealed."""
    after_version: int
    """Events of the task up to this version were over when the configuration came."""
    live: bool = True
    """Whether events are still to be told."""
    disabled: str | None = None
    """Why the hub stopped telling, when the receiver was the reason."""
    created_at: datetime = Field(sa_type=Instant)
    updated_at: datetime = Field(sa_type=Instant)


class DeliveryRow(SQLModel, table=True):
    """One event on its way to one target. What it says is made from the log when it is sent."""

    __tablename__ = "delivery"
    __table_args__ = (
        sa.CheckConstraint(one_of("state", DeliveryState), name="delivery_state_valid"),
        sa.CheckConstraint(
            f"(state IN ({_SETTLED})) = (settled_at IS NOT NULL)", name="delivery_settled_has_end"
        ),
        sa.UniqueConstraint("target_id", "pos", name="delivery_once"),
        sa.Index("delivery_open", "target_id", "entity_id", "pos", **where("settled_at IS NULL")),
        sa.Index("delivery_settled", "settled_at", **where("settled_at IS NOT NULL")),
    )
    id: UUID = Field(primary_key=True, sa_type=Id)
    tenant_id: UUID = Field(sa_type=Id)
    channel: str
    target_id: UUID = Field(sa_type=Id)
    entity_id: UUID = Field(sa_type=Id)
    pos: int = Field(sa_type=sa.BigInteger)
    state: str
    attempt: int = 0
    """How often it was tried."""
    next_at: datetime | None = Field(default=None, sa_type=Instant)
    response_status: int | None = None
    error: str | None = None
    created_at: datetime = Field(sa_type=Instant)
    attempted_at: datetime | None = Field(default=None, sa_type=Instant)
    settled_at: datetime | None = Field(default=None, sa_type=Instant)
    """When it was delivered, or given up."""


class DeliveryQueueRow(SQLModel, table=True):
    """The open deliveries of one thing to one target, which go in order. There while there are any.

    Whoever works on a queue holds its lease; no other row of a queue says when it is its turn.
    """

    __tablename__ = "delivery_queue"
    __table_args__ = (
        sa.Index("delivery_queue_due", "endpoint", "next_at"),
        sa.Index("delivery_queue_leased", "lease_until", **where("lease_until IS NOT NULL")),
        {"postgresql_with": {"fillfactor": 50}},
    )
    target_id: UUID = Field(primary_key=True, sa_type=Id)
    entity_id: UUID = Field(primary_key=True, sa_type=Id)
    tenant_id: UUID = Field(sa_type=Id)
    channel: str
    endpoint: str
    next_at: datetime = Field(sa_type=Instant)
    lease_id: UUID | None = Field(default=None, sa_type=Id)
    lease_until: datetime | None = Field(default=None, sa_type=Instant)


class RemoteAgentRow(SQLModel, table=True):
    """An agent that works elsewhere and is reached over A2A. It has the id of its `agent` row."""

    __tablename__ = "remote_agent"
    __table_args__ = (
        sa.CheckConstraint(
            one_of("verification_status", VerificationStatus), name="remote_agent_verification_valid"
        ),
        sa.CheckConstraint(one_of("health", Health), name="remote_agent_health_valid"),
        sa.UniqueConstraint("tenant_id", "card_url", name="remote_agent_card"),
    )
    id: UUID = Field(primary_key=True, sa_type=Id)
    tenant_id: UUID = Field(sa_type=Id)
    card_url: str
    card: dict[str, Any] = Field(sa_type=Json)
    """The card as it was when it was last verified."""
    card_digest: str
    interface: dict[str, Any] = Field(sa_type=Json)
    """Which of the card's interfaces is called, and how."""
    signature: str
    approved_origins: list[str] = Field(sa_type=Json)
    """Where its endpoints may be beside the card's own origin."""
    trusted_keys: list[Any] = Field(sa_type=Json)
    """Keys that must have signed the card, as JWKs; none: whatever keys its signatures name."""
    auth: dict[str, Any] = Field(sa_type=Json)
    """How the hub proves who it is, without the secret."""
    secret: str | None = None
    """Sealed."""
    verification_status: str
    verification_error: str | None = None
    verified_at: datetime | None = Field(default=None, sa_type=Instant)
    health: str
    health_error: str | None = None
    health_at: datetime = Field(sa_type=Instant)
    is_active: bool = True
    revision: int = 1
    """Grows with every change of what is called, and how."""
    created_at: datetime = Field(sa_type=Instant)
    updated_at: datetime = Field(sa_type=Instant)


class DelegationRow(SQLModel, table=True):
    """A task that was given to a remote agent: what a restart needs to go on where it was."""

    __tablename__ = "delegation"
    __table_args__ = (
        sa.CheckConstraint(one_of("state", DelegationState), name="delegation_state_valid"),
        sa.Index(
            "delegation_open",
            "task_id",
            "remote_agent_id",
            unique=True,
            **where(f"state NOT IN ({_DELEGATION_OVER})"),
        ),
        sa.Index("delegation_task", "task_id", "id"),
        sa.Index("delegation_due", "look_at", **where(f"state NOT IN ({_DELEGATION_OVER})")),
        sa.Index("delegation_remote", "remote_agent_id", "id"),
    )
    id: UUID = Field(primary_key=True, sa_type=Id)
    tenant_id: UUID = Field(sa_type=Id)
    task_id: UUID = Field(sa_type=Id)
    remote_agent_id: UUID = Field(sa_type=Id)
    attempt: int
    """The attempt of the task that works on it now, or did last."""
    state: str
    context_id: str | None = None
    """The conversation's name at the remote agent."""
    remote_task_id: str | None = None
    sent_n: int = 0
    """The history of the task up to here has reached the remote agent."""
    sending_n: int | None = None
    """The history up to here is on its way."""
    asked: list[str] = Field(sa_type=Json)
    """The questions of the remote agent that were passed on, oldest first."""
    error: str | None = None
    look_at: datetime | None = Field(default=None, sa_type=Instant)
    """When to look at it, if nobody works on it by then."""
    created_at: datetime = Field(sa_type=Instant)
    updated_at: datetime = Field(sa_type=Instant)


class McpSessionRow(SQLModel, table=True):
    """A session of an MCP client that shook hands. `id` is the hash of what the client presents."""

    __tablename__ = "mcp_session"
    __table_args__ = (sa.Index("mcp_session_principal", "principal_id", "last_used_at"),)
    id: str = Field(primary_key=True)
    tenant_id: UUID = Field(sa_type=Id)
    principal_id: UUID = Field(sa_type=Id)
    server: str
    """Which of the hub's servers it was opened at."""
    protocol_version: str
    client: dict[str, Any] = Field(sa_type=Json)
    """What the client says about itself."""
    capabilities: dict[str, Any] = Field(sa_type=Json)
    subscriptions: list[str] = Field(sa_type=Json)
    """The resources whose changes it wants to hear of."""
    log_level: str | None = None
    """From which level on it wants to hear log messages."""
    created_at: datetime = Field(sa_type=Instant)
    last_used_at: datetime = Field(sa_type=Instant)


class AcpSessionRow(SQLModel, table=True):
    """A session that an editor opened, or that an executor keeps over REST. Its conversation has its name."""

    __tablename__ = "acp_session"
    __table_args__ = (
        sa.CheckConstraint(one_of("status", SessionStatus), name="acp_session_status_valid"),
        sa.UniqueConstraint("tenant_id", "owner_id", "session_id", name="acp_session_key"),
        sa.Index(
            "acp_session_listed", "tenant_id", "owner_id", "updated_at", "id", **where("deleted_at IS NULL")
        ),
        sa.Index("acp_session_agent", "agent_id", "id", **where("agent_id IS NOT NULL")),
    )
    id: UUID = Field(primary_key=True, sa_type=Id)
    tenant_id: UUID = Field(sa_type=Id)
    owner_id: UUID = Field(sa_type=Id)
    session_id: str
    """What its owner calls it; the context id of its tasks."""
    status: str
    transport: str
    mode: str
    """`session` is kept for further turns, `run` is one execution (legacy facade)."""
    cwd: str | None = None
    additional_directories: list[str] = Field(sa_type=Json)
    title: str | None = None
    autonomy: str
    """How freely its agent may act."""
    config: dict[str, Any] = Field(sa_type=Json)
    """What its owner chose, by option."""
    required_tags: list[str] = Field(sa_type=Json)
    """What an executor of its turns must offer beside what was chosen."""
    mcp_servers: str | None = None
    """Sealed: they carry credentials."""
    executor: dict[str, Any] = Field(sa_type=Json)
    """What the last executor said about its own session: what the next turn goes on with."""
    parent_id: UUID | None = Field(default=None, sa_type=Id)
    forked_at: int | None = Field(default=None, sa_type=sa.BigInteger)
    """The position of the log up to which the parent's history is this one's, too."""
    agent_id: UUID | None = Field(default=None, sa_type=Id)
    worker_id: UUID | None = Field(default=None, sa_type=Id)
    workflow_id: UUID | None = Field(default=None, sa_type=Id)
    attributes: dict[str, Any] = Field(sa_type=Json)
    last_heartbeat_at: datetime | None = Field(default=None, sa_type=Instant)
    archived_at: datetime | None = Field(default=None, sa_type=Instant)
    deleted_at: datetime | None = Field(default=None, sa_type=Instant)
    created_at: datetime = Field(sa_type=Instant)
    updated_at: datetime = Field(sa_type=Instant)


class MetaRow(SQLModel, table=True):
    """Facts about the database itself, such as the id of the secret that sealed it."""

    __tablename__ = "meta"
    key: str = Field(primary_key=True)
    value: str
