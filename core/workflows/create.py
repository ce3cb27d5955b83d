"""A workflow is made: from a playbook, as another attempt of one that is over, or as the child of one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from core.errors import Conflict, Invalid
from core.playbooks import Playbook, PlaybookId, definition_of, get_playbook
from core.store import tables as t
from core.store.statement import Row, Statement
from core.store.tables import workflows as w
from core.store.tx import Tx
from core.store.types import Id
from core.workflows.activations import enqueue
from core.workflows.advance import carry_on
from core.workflows.records import COLUMNS, P_WORKFLOW, Workflow, stage_rows, tell, workflow_row
from core.workflows.standing import OVER
from core.workspaces import workspace_row
from schemas.playbook import Definition
from schemas.playbook_reading import read_definition
from schemas.vocabulary import GateStatus, OnTaskFailure, StageStatus, TaskState, WorkflowState


@dataclass(frozen=True)
class CreateWorkflow:
    """A workflow from a playbook and parameters."""

    playbook_id: UUID
    workspace_id: UUID
    name: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    context: Mapping[str, Any] = field(default_factory=dict)
    operator_note: str | None = None
    budget: Mapping[str, Any] = field(default_factory=dict)
    live_visibility_mode: str = "standard"
    failure_policy: OnTaskFailure | None = None
    created_by: UUID | None = None
    """In whose name; by default the caller's."""
    front_task_id: UUID | None = None
    """The task that stands for it before whoever asked."""


@dataclass(frozen=True)
class Redrive:
    """Another attempt of a workflow that is over. What is None is taken over.

    With `inherit` what was completed is not done again.
    """

    workflow_id: UUID
    name: str | None = None
    reason: str | None = None
    inherit: bool = True
    parameters: Mapping[str, str] | None = None
    inputs: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Chain:
    """A child of a workflow, in the same workspace."""

    workflow_id: UUID
    playbook_id: UUID
    name: str | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)


_INSERT = Statement(sa.insert(w.workflow))
_INSERT_STAGE = Statement(sa.insert(w.workflow_stage))
_s, _k = w.workflow_step.c, w.workflow_task.c
_LAST = Statement(
    sa.select(sa.func.max(w.workflow.c.attempt_number).label("n")).where(
        w.workflow.c.attempt_group_id == sa.bindparam("p_group", type_=w.workflow.c.id.type)
    )
)


async def create_workflow(tx: Tx, command: CreateWorkflow) -> Workflow:
    """Make a workflow and begin it: when this returns, its first tasks may be claimed.

    Raises:
        NotFound: no such playbook or workspace.
        Conflict: the playbook or the workspace is not in use.
        Invalid: a parameter is unknown or missing.
    """
    playbook = await _usable(tx, command.playbook_id)
    workspace = await workspace_row(tx, command.workspace_id)
    if not workspace.is_active:
        raise Conflict("the workspace is not active", details={"reason_code": "workspace_inactive"})
    definition = definition_of(playbook)
    workflow_id = tx.new_id()
    columns = _columns(tx, workflow_id, playbook, definition, command)
    columns["parameters"] = checked_parameters(definition, command.parameters)
    return await _begin(tx, columns, definition)


async def redrive(tx: Tx, command: Redrive) -> Workflow:
    """Make another attempt of a workflow that is over, from the same version of its playbook.

    Raises:
        NotFound: no such workflow.
        Conflict: it is not over.
        Invalid: as `create_workflow`.
    """
    old = await workflow_row(tx, command.workflow_id, locked=True)
    if WorkflowState(old.state) not in OVER:
        raise Conflict(
            f"the workflow is {old.state}", details={"reason_code": "workflow_not_over", "state": old.state}
        )
    given = await tx.one(_DEFINITION, p_workflow_id=old.id)
    assert given is not None
    definition = read_definition(given.definition)
    last = await tx.one(_LAST, p_group=old.attempt_group_id)
    columns = {column.name: getattr(old, column.name) for column in COLUMNS}
    columns |= {
        "id": tx.new_id(),
        "definition": given.definition,
        "name": command.name or old.name,
        "parameters": checked_parameters(definition, {**old.parameters, **(command.parameters or {})}),
        "inputs": {**old.inputs, **(command.inputs or {})},
        "output": None,
        "failure": None,
        "state": WorkflowState.PENDING.value,
        "current_stage": None,
        "settings_revision": 1,
        "created_by": tx.caller.principal_id,
        "front_task_id": None,
        "attempt_number": (last.n if last is not None else old.attempt_number) + 1,
        "attempt_kind": "redrive",
        "previous_attempt_workflow_id": old.id,
        "redrive_reason": command.reason,
        "started_at": None,
        "completed_at": None,
        "created_at": tx.now,
        "updated_at": tx.now,
    }
    made = await _begin(tx, columns, definition, old.id if command.inherit else None)
    tell(tx, "workflow.redriven", old, {"new_workflow_id": str(made.id), "reason": command.reason})
    return made


async def chain(tx: Tx, command: Chain) -> Workflow:
    """Make a child of a workflow that goes on. Its end is an activation of the parent.

    Raises:
        NotFound: no such workflow or playbook.
        Conflict: the parent is over, or the playbook is not in use.
        Invalid: as `create_workflow`.
    """
    parent = await workflow_row(tx, command.workflow_id, locked=True)
    if WorkflowState(parent.state) in OVER:
        raise Conflict(f"the workflow is {parent.state}", details={"reason_code": "workflow_over"})
    playbook = await _usable(tx, command.playbook_id)
    definition = definition_of(playbook)
    wanted = CreateWorkflow(
        playbook.id, parent.workspace_id, command.name or f"{parent.name}: {playbook.name}"
    )
    columns = _columns(tx, tx.new_id(), playbook, definition, wanted)
    columns["parameters"] = checked_parameters(definition, command.parameters)
    columns |= {"parent_workflow_id": parent.id, "root_workflow_id": parent.root_workflow_id}
    return await _begin(tx, columns, definition)


async def _usable(tx: Tx, playbook_id: UUID) -> Playbook:
    playbook = await get_playbook(tx, PlaybookId(playbook_id))
    if not playbook.is_active:
        raise Conflict(
            "this version of the playbook is not in use",
            details={"reason_code": "playbook_inactive", "version": playbook.version},
            hint="GET /api/v1/playbooks lists the versions in use",
        )
    return playbook


_COMPLETED = (
    sa.select(sa.func.count())
    .select_from(w.workflow_task)
    .join(t.task, t.task.c.id == _k.task_id)
    .where(
        _k.workflow_id == _s.workflow_id,
        _k.step == _s.name,
        _k.iteration == _s.iteration,
        t.task.c.state == sa.literal_column(str(int(TaskState.COMPLETED))),
    )
    .correlate(w.workflow_step)
    .scalar_subquery()
)
_DONE = Statement(
    sa.select(*_s).where(
        _s.workflow_id == P_WORKFLOW,
        _s.begun,
        _s.problem.is_(None),
        sa.or_(_s.skipped, _s.total == _COMPLETED),
    )
)
_INSERT_STEP = Statement(sa.insert(w.workflow_step))
_DEFINITION = Statement(sa.select(w.workflow.c.definition).where(w.workflow.c.id == P_WORKFLOW))


def checked_parameters(definition: Definition, given: Mapping[str, str]) -> dict[str, Any]:
    """The parameters of a workflow, with what the playbook says of those that were not given.

    Raises:
        Invalid: one is unknown, or missing.
    """
    known = {parameter.slug: parameter for parameter in definition.parameters}
    wrong = {name: "there is no such parameter" for name in given if name not in known}
    wrong |= {
        slug: "is required"
        for slug, parameter in known.items()
        if parameter.required and slug not in given and parameter.default is None
    }
    if wrong:
        name, said = next(iter(wrong.items()))
        raise Invalid(
            f"parameters.{name}: {said}",
            details={
                "reason_code": "invalid_parameters",
                "issues": {
                    "fieldErrors": {f"parameters.{n}": [m] for n, m in wrong.items()},
                    "formErrors": [],
                },
            },
            hint=f"the playbook's parameters: {', '.join(known) or 'none'}",
        )
    defaults = {slug: p.default for slug, p in known.items() if p.default is not None}
    return {**defaults, **given}


def _columns(
    tx: Tx, workflow_id: UUID, playbook: Playbook, definition: Definition, command: CreateWorkflow
) -> dict[str, Any]:
    policy = command.failure_policy or definition.on_task_failure
    return {
        "id": workflow_id,
        "tenant_id": tx.caller.tenant_id,
        "workspace_id": command.workspace_id,
        "playbook_id": playbook.id,
        "playbook_version": playbook.version,
        "definition": dict(playbook.definition),
        "name": command.name[:255],
        "state": WorkflowState.PENDING.value,
        "lifecycle": playbook.lifecycle.value,
        "current_stage": None,
        "failure_policy": policy.value,
        "parameters": {},
        "inputs": dict(command.inputs),
        "context": dict(command.context),
        "attributes": dict(command.metadata),
        "operator_note": command.operator_note,
        "output": None,
        "failure": None,
        "budget": dict(command.budget),
        "live_visibility_mode": command.live_visibility_mode,
        "settings_revision": 1,
        "paused_at": None,
        "pause_mode": None,
        "created_by": command.created_by or tx.caller.principal_id,
        "front_task_id": command.front_task_id,
        "attempt_group_id": workflow_id,
        "attempt_number": 1,
        "attempt_kind": "initial",
        "root_workflow_id": workflow_id,
        "previous_attempt_workflow_id": None,
        "redrive_reason": None,
        "parent_workflow_id": None,
        "started_at": None,
        "completed_at": None,
        "created_at": tx.now,
        "updated_at": tx.now,
    }


async def _begin(
    tx: Tx, columns: Mapping[str, Any], definition: Definition, inherits_from: UUID | None = None
) -> Workflow:
    await tx.run(_INSERT, **columns)
    workflow_id: UUID = columns["id"]
    before: dict[int, Row] = {}
    if inherits_from is not None:
        await _take_over(tx, inherits_from, workflow_id)
        rows = await stage_rows(tx, inherits_from)
        before = {row.position: row for row in rows if row.status == StageStatus.COMPLETED}
    for position, stage in enumerate(definition.stages):
        old = before.get(position)
        await tx.run(
            _INSERT_STAGE,
            workflow_id=workflow_id,
            position=position,
            id=tx.new_id(),
            tenant_id=columns["tenant_id"],
            name=stage.name,
            status=StageStatus.PENDING.value if old is None else old.status,
            gate_status=GateStatus.NOT_REQUESTED.value if old is None else old.gate_status,
            gate_id=None,
            iteration_count=0 if old is None else old.iteration_count,
            summary=None if old is None else old.summary,
            started_at=None if old is None else old.started_at,
            completed_at=None if old is None else old.completed_at,
        )
    row = await workflow_row(tx, workflow_id, locked=True)
    said = {
        "name": row.name,
        "playbook_id": str(row.playbook_id),
        "playbook_version": row.playbook_version,
        "attempt_number": row.attempt_number,
        "parent_workflow_id": row.parent_workflow_id and str(row.parent_workflow_id),
    }
    tell(tx, "workflow.created", row, said)
    if definition.orchestrated:
        await enqueue(tx, row, "workflow.created", "the workflow was made", {"name": row.name})
    await carry_on(tx, row)
    return Workflow.of(await workflow_row(tx, workflow_id))


async def _take_over(tx: Tx, old_id: UUID, new_id: UUID) -> None:
    """Let the new attempt stand on what the old one completed: its steps, with the tasks that did them."""
    for row in await tx.all(_DONE, p_workflow_id=old_id):
        step = {column.name: getattr(row, column.name) for column in _s}
        await tx.run(_INSERT_STEP, **{**step, "workflow_id": new_id})
        await tx.run(
            sa.insert(w.workflow_task).from_select(
                [column.name for column in _k],
                sa.select(sa.literal(new_id, Id()), _k.step, _k.iteration, _k.item, _k.task_id).where(
                    _k.workflow_id == old_id, _k.step == row.name, _k.iteration == row.iteration
                ),
            )
        )
