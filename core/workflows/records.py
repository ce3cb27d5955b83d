"""Workflows and their stages as their readers see them, and the statements that find their rows."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.errors import NotFound
from core.store.statement import Row, Statement
from core.store.tables import workflows as w
from core.store.tx import Tx
from core.store.types import Id
from schemas.playbook import Definition, Stage
from schemas.playbook_reading import read_definition
from schemas.vocabulary import (
    GateStatus,
    Lifecycle,
    OnTaskFailure,
    PauseMode,
    StageStatus,
    WorkflowState,
)


@dataclass(frozen=True)
class WorkflowId:
    """Which workflow."""

    workflow_id: UUID


@dataclass(frozen=True)
class Workflow:
    """A workflow."""

    id: UUID
    tenant_id: UUID
    workspace_id: UUID
    playbook_id: UUID
    playbook_version: int
    name: str
    state: WorkflowState
    lifecycle: Lifecycle
    current_stage: str | None
    failure_policy: OnTaskFailure
    parameters: Mapping[str, Any]
    inputs: Mapping[str, Any]
    context: Mapping[str, Any]
    metadata: Mapping[str, Any]
    operator_note: str | None
    output: Any
    failure: Mapping[str, Any] | None
    budget: Mapping[str, Any]
    """`token_budget`, `cost_cap_usd`, `max_duration_minutes`, where given."""
    live_visibility_mode: str
    settings_revision: int
    paused_at: datetime | None
    pause_mode: PauseMode | None
    created_by: UUID
    attempt_group_id: UUID
    attempt_number: int
    attempt_kind: str
    root_workflow_id: UUID
    previous_attempt_workflow_id: UUID | None
    redrive_reason: str | None
    parent_workflow_id: UUID | None
    front_task_id: UUID | None
    """The task that stands for it before whoever asked for it."""
    started_at: datetime | None
    completed_at: datetime | None
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, row: Row) -> "Workflow":
        """The value of a `workflow` row."""
        fields = {name: getattr(row, name) for name in cls.__dataclass_fields__ if name != "metadata"}
        fields |= {
            "metadata": row.attributes,
            "state": WorkflowState(row.state),
            "lifecycle": Lifecycle(row.lifecycle),
            "failure_policy": OnTaskFailure(row.failure_policy),
            "pause_mode": None if row.pause_mode is None else PauseMode(row.pause_mode),
        }
        return cls(**fields)


@dataclass(frozen=True)
class StageRecord:
    """A stage of a workflow."""

    id: UUID
    workflow_id: UUID
    position: int
    name: str
    goal: str
    guidance: str | None
    involves: Sequence[str]
    status: StageStatus
    gate_status: GateStatus
    gate_id: UUID | None
    iteration_count: int
    summary: str | None
    started_at: datetime | None
    completed_at: datetime | None

    @property
    def is_active(self) -> bool:
        """Whether it is the one, or one of those, that something goes on in."""
        return self.status in (StageStatus.ACTIVE, StageStatus.AWAITING_GATE, StageStatus.BLOCKED)

    @classmethod
    def of(cls, row: Row, declared: Stage) -> "StageRecord":
        """The value of a `workflow_stage` row and what the playbook says of it."""
        return cls(
            row.id,
            row.workflow_id,
            row.position,
            row.name,
            declared.goal,
            declared.guidance,
            declared.involves,
            StageStatus(row.status),
            GateStatus(row.gate_status),
            row.gate_id,
            row.iteration_count,
            row.summary,
            row.started_at,
            row.completed_at,
        )


class Definitions:
    """The definitions of workflows that were read lately. A workflow's never changes."""

    MOST: Final = 256

    def __init__(self) -> None:
        self._known: OrderedDict[UUID, Definition] = OrderedDict()

    def find(self, workflow_id: UUID) -> Definition | None:
        """The definition, if it is known."""
        return self._known.get(workflow_id)

    def keep(self, workflow_id: UUID, definition: Definition) -> None:
        """Remember one."""
        self._known[workflow_id] = definition
        if len(self._known) > self.MOST:
            self._known.popitem(last=False)


c = w.workflow.c
P_WORKFLOW = sa.bindparam("p_workflow_id", type_=Id())
COLUMNS = tuple(column for column in c if column.name != "definition")
"""All but the definition, which is large and never changes."""
_ONE = Statement(sa.select(*COLUMNS).where(c.id == P_WORKFLOW, access.within_tenant(w.workflow)))
LOCKED = Statement(
    sa.select(*COLUMNS).where(c.id == P_WORKFLOW, access.within_tenant(w.workflow)).with_for_update()
)
_DEFINITION = Statement(sa.select(c.definition).where(c.id == P_WORKFLOW))
_STAGES = Statement(
    sa.select(*w.workflow_stage.c)
    .where(w.workflow_stage.c.workflow_id == P_WORKFLOW)
    .order_by(w.workflow_stage.c.position)
)


async def workflow_row(tx: Tx, workflow_id: UUID, *, locked: bool = False) -> Row:
    """The row of a workflow of the tenant, without its definition.

    Whoever locks it is alone with the workflow until the commit: stages, steps and gates change only so.

    Raises:
        NotFound: no such workflow.
    """
    row = await tx.one(LOCKED if locked else _ONE, p_workflow_id=workflow_id)
    if row is None:
        raise NotFound("no such workflow")
    return row


async def definition_of(tx: Tx, workflow_id: UUID) -> Definition:
    """The definition of a workflow that exists."""
    known = tx.memory(Definitions)
    found = known.find(workflow_id)
    if found is None:
        row = await tx.one(_DEFINITION, p_workflow_id=workflow_id)
        if row is None:
            raise NotFound("no such workflow")
        found = read_definition(row.definition)
        known.keep(workflow_id, found)
    return found


async def stage_rows(tx: Tx, workflow_id: UUID) -> list[Row]:
    """The rows of its stages, in order."""
    return await tx.all(_STAGES, p_workflow_id=workflow_id)


async def change(tx: Tx, workflow_id: UUID, **sets: Any) -> None:
    """Write columns of a workflow whose row is locked."""
    await tx.run(sa.update(w.workflow).where(c.id == workflow_id).values(**sets, updated_at=tx.now))


async def change_stage(tx: Tx, workflow_id: UUID, position: int, **sets: Any) -> None:
    """Write columns of a stage whose workflow's row is locked."""
    s = w.workflow_stage.c
    await tx.run(
        sa.update(w.workflow_stage).where(s.workflow_id == workflow_id, s.position == position).values(**sets)
    )


def tell(tx: Tx, kind: str, workflow: Row, data: Mapping[str, Any], *, stage: str | None = None) -> None:
    """Write an event of a workflow."""
    said = {"workflow_id": str(workflow.id), "workspace_id": str(workflow.workspace_id), **data}
    if stage is not None:
        said["stage_name"] = stage
    tx.event(
        kind,
        entity_type="workflow",
        entity_id=workflow.id,
        workflow_id=workflow.id,
        submitter_id=workflow.created_by,
        data=said,
    )
