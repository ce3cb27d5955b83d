"""Activations: what an orchestrator is to look at. They stay queued through a pause; none is lost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from core.errors import Conflict, NotFound
from core.store.statement import Row, Statement
from core.store.tables import workflows as w
from core.store.tx import Tx
from core.store.types import Id
from core.workflows.records import P_WORKFLOW, WorkflowId, tell, workflow_row
from core.workflows.standing import OVER
from schemas.vocabulary import ActivationState, WorkflowState


@dataclass(frozen=True)
class Enqueue:
    """Wake the orchestrator of a workflow."""

    workflow_id: UUID
    reason: str
    event_type: str
    payload: Mapping[str, Any]
    request_id: str | None = None


@dataclass(frozen=True)
class ActivationId:
    """Which activation of which workflow."""

    workflow_id: UUID
    activation_id: UUID


@dataclass(frozen=True)
class Activation:
    """One wake-up. `activation_id` is the batch that it is, or was, handled in."""

    id: UUID
    workflow_id: UUID
    activation_id: UUID | None
    request_id: str | None
    reason: str
    event_type: str
    activation_reason: str
    payload: Mapping[str, Any]
    state: ActivationState
    dispatch_attempt: int
    dispatch_token: UUID | None
    task_id: UUID | None
    summary: str | None
    error: Mapping[str, Any] | None
    recovery: Mapping[str, Any] | None
    queued_at: datetime
    started_at: datetime | None
    consumed_at: datetime | None
    completed_at: datetime | None

    @classmethod
    def of(cls, row: Row) -> "Activation":
        """The value of an `activation` row."""
        fields = {name: getattr(row, name) for name in cls.__dataclass_fields__}
        return cls(**{**fields, "state": ActivationState(row.state)})


_c = w.activation.c
MOST = 1000
"""How many activations a list has at most."""
_INSERT = Statement(sa.insert(w.activation))
_OF_WORKFLOW = Statement(
    sa.select(*_c)
    .where(_c.workflow_id == P_WORKFLOW)
    .order_by(_c.id.desc())
    .limit(sa.bindparam("p_limit", type_=sa.Integer()))
)
_ONE = Statement(
    sa.select(*_c).where(_c.workflow_id == P_WORKFLOW, _c.id == sa.bindparam("p_activation_id", type_=Id()))
)


async def enqueue(
    tx: Tx,
    workflow: Row,
    event_type: str,
    reason: str,
    payload: Mapping[str, Any],
    request_id: str | None = None,
) -> Activation:
    """Queue an activation of a workflow that goes on."""
    columns: dict[str, Any] = {
        "id": tx.new_id(),
        "tenant_id": workflow.tenant_id,
        "workflow_id": workflow.id,
        "activation_id": None,
        "request_id": request_id,
        "reason": reason,
        "event_type": event_type,
        "activation_reason": "queued_events",
        "payload": dict(payload),
        "state": ActivationState.QUEUED.value,
        "dispatch_attempt": 0,
        "dispatch_token": None,
        "task_id": None,
        "summary": None,
        "error": None,
        "recovery": None,
        "not_before": None,
        "queued_at": tx.now,
        "started_at": None,
        "consumed_at": None,
        "completed_at": None,
    }
    await tx.run(_INSERT, **columns)
    said = {"activation_id": str(columns["id"]), "event_type": event_type, "reason": reason}
    tell(tx, "workflow.activation_queued", workflow, said)
    row = await tx.one(_ONE, p_workflow_id=workflow.id, p_activation_id=columns["id"])
    assert row is not None
    return Activation.of(row)


async def wake(tx: Tx, command: Enqueue) -> Activation:
    """Queue an activation. While the workflow is paused it waits.

    Raises:
        NotFound: no such workflow.
        Conflict: the workflow is over.
    """
    workflow = await workflow_row(tx, command.workflow_id, locked=True)
    if WorkflowState(workflow.state) in OVER:
        raise Conflict(
            f"the workflow is {workflow.state}",
            details={"reason_code": "workflow_over", "state": workflow.state},
        )
    return await enqueue(
        tx, workflow, command.event_type, command.reason, command.payload, command.request_id
    )


async def list_activations(tx: Tx, query: WorkflowId) -> Sequence[Activation]:
    """The workflow's activations, newest first.

    Raises:
        NotFound: no such workflow.
    """
    await workflow_row(tx, query.workflow_id)
    return await activations_of(tx, query.workflow_id)


async def activations_of(tx: Tx, workflow_id: UUID, most: int = MOST) -> Sequence[Activation]:
    """As `list_activations`, for a workflow that was found."""
    rows = await tx.all(_OF_WORKFLOW, p_workflow_id=workflow_id, p_limit=most)
    return [Activation.of(row) for row in rows]


async def get_activation(tx: Tx, query: ActivationId) -> Activation:
    """One activation.

    Raises:
        NotFound: no such workflow, or no such activation of it.
    """
    await workflow_row(tx, query.workflow_id)
    row = await tx.one(_ONE, p_workflow_id=query.workflow_id, p_activation_id=query.activation_id)
    if row is None:
        raise NotFound("no such activation")
    return Activation.of(row)
