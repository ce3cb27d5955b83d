"""A task is born. Every face submits through here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import sqlalchemy as sa

from core import access, routing, trace
from core.errors import Conflict, Forbidden, Invalid, NotFound
from core.fencing import P_NOW, P_TASK
from core.journal import tell
from core.lifecycle import PLAYBOOK
from core.routing import Route, route_id
from core.store import tables as t
from core.store.engine import in_step
from core.store.statement import Row, Statement, insert
from core.store.tx import Tx
from core.store.types import Id
from core.tasks import policy as policies
from core.tasks.dependencies import count_dependencies
from core.tasks.messages import keep
from core.tasks.task import Message, Part, Policy, Task, TaskView
from core.work_items.joining import begun, join
from core.work_items.subjects import check_subject
from core.workflows.admission import admit
from core.workflows.marks import mark
from schemas.vocabulary import ApprovalKind, Face, Priority, TaskState

if TYPE_CHECKING:
    from core.workflows.fronts import Play

DEEPEST = 3
"""How deep sub-tasks may nest."""
MOST_CHILDREN = 20
"""How many sub-tasks one task may have."""


@dataclass(frozen=True)
class SubmitTask:
    """What is to be done, and how the hub should treat it.

    `parts` is the first message of the task's history; without `input` they become its input as
    `{"text", "parts"}`. `required_tags` of None means: what the role asks for.
    """

    title: str
    input: Any = None
    parts: Sequence[Part] | None = None
    message_id: str | None = None
    message_metadata: Mapping[str, Any] = field(default_factory=dict)
    description: str | None = None
    type: str = "custom"
    priority: Priority = Priority.NORMAL
    role: str | None = None
    stage_name: str | None = None
    context_id: str | None = None
    context: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    extras: Mapping[str, Any] = field(default_factory=dict)
    depends_on: Sequence[UUID] = ()
    required_tags: Sequence[str] | None = None
    required_tools: Sequence[str] = ()
    preferred_agent_id: UUID | None = None
    preferred_seconds: int = 60
    policy: Policy = field(default_factory=Policy)
    parent_id: UUID | None = None
    workflow_id: UUID | None = None
    work_item_id: UUID | None = None
    workspace_id: UUID | None = None
    external_id: str | None = None
    previous_task_id: UUID | None = None
    ready_at: datetime | None = None
    orchestrator: bool = False
    play: "Play | None" = None
    """It stands for a workflow, which the hub runs for it."""


_INSERT_TASK = Statement(sa.insert(t.task))
_INSERT_DEPENDENCY = Statement(sa.insert(t.dependency))
_INSERT_CONVERSATION = Statement(
    insert(t.conversation)
    .values(
        tenant_id=access.TENANT,
        owner_id=sa.bindparam("p_owner", type_=Id()),
        context_id=sa.bindparam("p_context", type_=sa.String()),
        title=sa.bindparam("p_title", type_=sa.String()),
        created_at=P_NOW,
    )
    .on_conflict_do_nothing(index_elements=["tenant_id", "owner_id", "context_id"])
)
_PARENT = Statement(
    sa.select(t.task.c.depth, t.task.c.agent_id, t.task.c.worker_id, t.task.c.state).where(
        t.task.c.id == P_TASK, access.readable()
    )
)
_CHILDREN = Statement(
    sa.select(sa.func.count().label("n")).select_from(t.task).where(t.task.c.parent_id == P_TASK)
)
_AGENT_EXISTS = Statement(
    sa.select(t.agent.c.id).where(
        t.agent.c.id == sa.bindparam("p_agent_id", type_=Id()), access.within_tenant(t.agent)
    )
)
BORN_OUTSIDE = frozenset({"rest", "a2a", "acp", "mcp", "workflow"})


@in_step
async def submit(tx: Tx, command: SubmitTask) -> Task:
    """Make a task: ready, or pending when it must wait, or awaiting approval when its policy says so.

    With a replay key, submitting it again returns the first task. Dependencies that are done already do not
    hold it back. While a task of the same work item and role is not final, that one is returned instead.

    Raises:
        Invalid: a dependency, the preferred agent or the parent does not exist (for this caller).
        Forbidden: an agent may make sub-tasks only of a task that it holds.
        Conflict: the parent has too many sub-tasks, or nests too deep; the workflow or work item is over.
    """
    return Task.of((await _birth(tx, command))[0])


async def submit_escalation(tx: Tx, command: SubmitTask) -> Task:
    """As `submit`, for a task that answers another one's escalation, whatever its role does elsewhere."""
    return Task.of((await _birth(tx, command))[0])


async def submit_for(tx: Tx, command: SubmitTask, before: Row) -> Task:
    """As `submit`, in the name of whoever asked for the task `before` that this one follows, and as there."""
    followed = {"submitter_id": before.submitter_id, "face": before.face, "exposure_id": before.exposure_id}
    return Task.of((await _birth(tx, command, followed))[0])


async def submit_within(tx: Tx, command: SubmitTask, submitter_id: UUID) -> Task:
    """As `submit`, for a workflow that makes the task by itself, in the name of whoever made the workflow."""
    return Task.of((await _birth(tx, command, {"submitter_id": submitter_id, "face": "workflow"}))[0])


@in_step
async def submit_view(tx: Tx, command: SubmitTask) -> TaskView:
    """As `submit`, with the first message as the task's history."""
    row, first = await _birth(tx, command)
    return TaskView(Task.of(row), () if first is None else (first,), (), ())


async def _birth(
    tx: Tx, command: SubmitTask, followed: Mapping[str, Any] | None = None
) -> tuple[Row, Message | None]:
    depth = await _depth_below(tx, command) if command.parent_id else 0
    if command.policy.output_schema is not None:
        policies.checked(command.policy.output_schema, "output_schema")
    held, own = False, followed is not None and followed["face"] == Face.WORKFLOW
    escalates = "escalates_task_id" in command.extras
    if command.work_item_id is not None:
        joined = await join(
            tx, command.workflow_id, command.work_item_id, None if escalates else command.role
        )
        if joined.existing is not None:
            return joined.existing, None
        command = replace(
            command,
            workflow_id=joined.workflow_id,
            workspace_id=command.workspace_id or joined.workspace_id,
            stage_name=command.stage_name or joined.stage_name,
        )
    if command.workflow_id is not None:
        held = await admit(
            tx,
            command.workflow_id,
            command.work_item_id,
            command.stage_name,
            None if escalates else command.role,
            own=own,
            steers=command.orchestrator,
        )
    if followed is None:
        await check_subject(tx, command.extras, command.workflow_id)
    waiting, cancelled = await count_dependencies(
        tx, command.depends_on, command.policy.on_dependency_failure
    )
    if command.play is not None:
        from core.workflows.fronts import plan_of  # it makes tasks in turn

        plan = await plan_of(tx, command.play, command.parts)
        command = replace(
            command, type=PLAYBOOK, required_tags=[PLAYBOOK], extras={**command.extras, PLAYBOOK: plan}
        )
    columns = await _columns(tx, command, depth, waiting, cancelled, held)
    if followed is not None:
        columns |= followed
    row = _Newborn(columns)
    tx.add(_INSERT_TASK, **row.columns)
    tx.add(
        _INSERT_CONVERSATION,
        p_owner=row.submitter_id,
        p_context=row.context_id,
        p_title=command.title[:200],
        p_now=tx.now,
    )
    for after in dict.fromkeys(command.depends_on):
        tx.add(_INSERT_DEPENDENCY, after_id=after, task_id=row.id, done=after not in waiting)
    first = None
    if command.parts is not None:
        first = keep(
            tx,
            row,
            role="user",
            parts=command.parts,
            message_id=command.message_id,
            metadata=command.message_metadata,
            sender_id=row.submitter_id,
        )
    tell(
        tx,
        row,
        "task.created",
        {
            "task_id": str(row.id),
            "to_state": TaskState(row.state).wire,
            "title": row.title,
            "face": row.face,
            "parent_id": row.parent_id and str(row.parent_id),
            "previous_task_id": row.previous_task_id and str(row.previous_task_id),
        },
    )
    if row.workflow_id is not None and not own:
        mark(tx, row)
    if row.work_item_id is not None:
        await begun(tx, row)
    if row.state == TaskState.READY and row.type == PLAYBOOK:
        from core.workflows.fronts import begin

        return await begin(tx, row), first
    if row.state == TaskState.READY:
        tx.wake(routing.topic(row.route_id))
    elif row.state == TaskState.AWAITING_APPROVAL:
        from core.approvals import open_approval  # a decision releases tasks in turn

        await open_approval(tx, row, ApprovalKind.START, f"start: {row.title}")
    return row, first


class _Newborn(Row):
    """The row that is being inserted, readable before the database has it."""

    def __init__(self, columns: dict[str, Any]) -> None:
        self.__dict__.update(columns)

    def pick(self, names: tuple[str, ...]) -> dict[str, Any]:
        """Some columns by name."""
        return {name: self.__dict__[name] for name in names}

    @property
    def columns(self) -> dict[str, Any]:
        """All columns by name."""
        return self.__dict__


async def _columns(
    tx: Tx, command: SubmitTask, depth: int, waiting: set[UUID], cancelled: bool, held: bool
) -> dict[str, Any]:
    caller, task_id = tx.caller, tx.new_id()
    tags = _required_tags(command)
    mode = routing.ORCHESTRATOR_MODE if command.orchestrator else routing.TASK_MODE
    wanted = Route(frozenset(tags), frozenset(command.required_tools), mode)
    general = chosen = await route_id(tx, wanted)
    until = None
    if command.preferred_agent_id is not None:
        if await tx.one(_AGENT_EXISTS, p_agent_id=command.preferred_agent_id) is None:
            raise Invalid("preferred_agent_id names no agent", details={"field": "preferred_agent_id"})
        chosen = await route_id(tx, wanted.for_agent(command.preferred_agent_id))
        until = tx.now + timedelta(seconds=command.preferred_seconds)
    ready_at = max(command.ready_at or tx.now, tx.now)
    state = TaskState.PENDING if held else _first_state(tx, command, ready_at, waiting)
    if cancelled:
        raise Invalid(
            "a dependency failed already, and on_dependency_failure is cancel",
            details={"field": "depends_on"},
        )
    face = caller.face if caller.face in BORN_OUTSIDE else Face.REST.value
    return {
        "id": task_id,
        "tenant_id": caller.tenant_id,
        "submitter_id": caller.principal_id,
        "face": face,
        "exposure_id": caller.exposure_id,
        "external_id": command.external_id,
        "context_id": command.context_id or str(tx.new_id()),
        "previous_task_id": command.previous_task_id,
        "parent_id": command.parent_id,
        "depth": depth,
        "workflow_id": command.workflow_id,
        "work_item_id": command.work_item_id,
        "workspace_id": command.workspace_id,
        "state": int(state),
        "prev_state": int(state),
        "version": 1,
        "status_at": tx.now,
        "status_message": None,
        "left_queue": False,
        "rank": policies.rank(ready_at, command.priority),
        "priority": command.priority.value,
        "route_id": chosen,
        "general_route_id": general,
        "waiting": len(waiting),
        "dependants": 0,
        "on_hold": held,
        "ready_at": ready_at,
        "approval_open": command.policy.requires_approval,
        "has_approvals": state is TaskState.AWAITING_APPROVAL,
        "checks_output": command.policy.output_schema is not None,
        "timeout_seconds": command.policy.timeout_seconds,
        "attempt": 0,
        "lease_id": None,
        "held": False,
        "agent_id": None,
        "worker_id": None,
        "preferred_agent_id": command.preferred_agent_id,
        "preferred_until": until,
        "cancel_requested_at": None,
        "cancel_due_at": None,
        "timeout_at": None,
        "retry_count": 0,
        "rework_count": 0,
        "title": command.title,
        "description": command.description,
        "type": command.type,
        "role": command.role,
        "stage_name": command.stage_name,
        "required_tags": tags,
        "required_tools": list(command.required_tools),
        "depends_on": [str(d) for d in dict.fromkeys(command.depends_on)],
        "policy": policies.stored(command.policy),
        "input": _input(command),
        "context": dict(command.context),
        "attributes": dict(command.metadata),
        "extras": {
            **trace.carried(caller.trace),
            **command.extras,
            **({"orchestrator": True} if command.orchestrator else {}),
        },
        "output": None,
        "error": None,
        "report": None,
        "created_at": tx.now,
        "updated_at": tx.now,
        "claimed_at": None,
        "started_at": None,
        "finished_at": None,
    }


def _required_tags(command: SubmitTask) -> list[str]:
    if command.required_tags is not None:
        return sorted(set(command.required_tags))
    return [routing.role_tag(command.role)] if command.role else []


def _input(command: SubmitTask) -> Any:
    if command.input is not None or command.parts is None:
        return {} if command.input is None else command.input
    text = "\n".join(p["text"] for p in command.parts if isinstance(p.get("text"), str))
    return {"text": text, "parts": list(command.parts)}


def _first_state(tx: Tx, command: SubmitTask, ready_at: datetime, waiting: set[UUID]) -> TaskState:
    if waiting or ready_at > tx.now:
        return TaskState.PENDING
    return TaskState.AWAITING_APPROVAL if command.policy.requires_approval else TaskState.READY


async def _depth_below(tx: Tx, command: SubmitTask) -> int:
    parent = await tx.one(_PARENT, p_task_id=command.parent_id)
    if parent is None:
        raise NotFound("no such parent task")
    if not tx.caller.operator and tx.caller.principal_id not in (parent.agent_id, parent.worker_id):
        raise Forbidden("sub-tasks are made by the parent's executor or an operator")
    if parent.depth + 1 > DEEPEST:
        raise Conflict(f"sub-tasks nest at most {DEEPEST} deep")
    children = await tx.one(_CHILDREN, p_task_id=command.parent_id)
    if children is not None and children.n >= MOST_CHILDREN:
        raise Conflict(f"a task has at most {MOST_CHILDREN} sub-tasks")
    return int(parent.depth) + 1
