"""Reading tasks: one, one with all that belongs to it, many."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.approvals import Approval
from core.errors import Conflict, Invalid, NotFound
from core.fencing import P_TASK
from core.journal import tell
from core.lifecycle import Who, touch
from core.store import tables as t
from core.store.statement import Row, Statement
from core.store.tx import Tx
from core.tasks import policy as policies
from core.tasks.artifacts import artifacts_of
from core.tasks.task import InputRequest, Message, Task, TaskView
from core.transitions import FINAL
from schemas.vocabulary import Priority, TaskState

T = TypeVar("T")

COUNTED = 10_000
"""A list counts no further, so that a long history costs no more than a short one."""


@dataclass(frozen=True)
class Page(Generic[T]):
    """One page of a list, and how many there are in all."""

    items: Sequence[T]
    total: int


@dataclass(frozen=True)
class GetTask:
    """Which task; of its history at most the `messages` newest, of None all."""

    task_id: UUID
    messages: int | None = None


@dataclass(frozen=True)
class ListTasks:
    """Filters are joined by AND; None means any. Newest first; `before` is the last of a page."""

    states: Sequence[TaskState] = ()
    context_id: str | None = None
    face: str | None = None
    workspace_id: UUID | None = None
    workflow_id: UUID | None = None
    work_item_id: UUID | None = None
    assigned_agent_id: UUID | None = None
    parent_id: UUID | None = None
    stage_name: str | None = None
    submitter_id: UUID | None = None
    orchestrator: bool | None = None
    before: UUID | None = None
    page: int = 1
    per_page: int = 20


@dataclass(frozen=True)
class Slice:
    """Some tasks: in one of `states`, and where it is not None, with this `left_queue`, or with (without) a
    pending approval that the caller may decide."""

    states: frozenset[TaskState]
    left_queue: bool | None = None
    decides: bool | None = None


@dataclass(frozen=True)
class ListOwn:
    """The caller's own tasks by status time, newest first; `before` is the last one of the page before.

    `slices` are joined by OR; of none, every task. `messages` as in `GetTask`.
    """

    context_id: str | None = None
    slices: Sequence[Slice] = ()
    status_after: datetime | None = None
    before: tuple[datetime, UUID] | None = None
    page_size: int = 50
    with_artifacts: bool = False
    messages: int | None = None


@dataclass(frozen=True)
class PatchTask:
    """What to change; None leaves a field as it is."""

    task_id: UUID
    title: str | None = None
    description: str | None = None
    priority: Priority | None = None
    timeout_seconds: int | None = None
    metadata: dict[str, Any] | None = None
    parent_id: UUID | None = None


@dataclass(frozen=True)
class Depth:
    """How much ready work there is, in all and by route."""

    total: int
    by_priority: dict[str, int]
    by_tags: Sequence[tuple[Sequence[str], int]]


@dataclass(frozen=True)
class QueueDepth:
    """Ready work of one workflow, or of the whole tenant."""

    workflow_id: UUID | None = None


_GET = Statement(sa.select(*t.task.c).where(t.task.c.id == P_TASK, access.readable()))
_MESSAGES = Statement(sa.select(t.message).where(t.message.c.task_id == P_TASK).order_by(t.message.c.n))
_NEWEST_MESSAGES = Statement(
    sa.select(t.message)
    .where(t.message.c.task_id == P_TASK)
    .order_by(t.message.c.n.desc())
    .limit(sa.bindparam("p_limit", type_=sa.Integer()))
)
_INPUTS = Statement(
    sa.select(t.input_request)
    .where(t.input_request.c.task_id == P_TASK, t.input_request.c.status == "open")
    .order_by(t.input_request.c.id)
)
_APPROVALS = Statement(
    sa.select(t.approval)
    .where(t.approval.c.task_id == P_TASK, t.approval.c.status == sa.literal_column("'pending'"))
    .order_by(t.approval.c.id)
)


async def get_task(tx: Tx, query: GetTask) -> Task:
    """The task.

    Raises:
        NotFound: no such task, or not yours to see.
    """
    return Task.of(await _row(tx, query.task_id))


_VERSION = Statement(sa.select(t.task.c.version).where(t.task.c.id == P_TASK, access.readable()))


async def version_of(tx: Tx, query: GetTask) -> int:
    """The number of the task's newest event: whether anything has changed, for the price of one look.

    Raises:
        NotFound: no such task, or not yours to see.
    """
    row = await tx.one(_VERSION, p_task_id=query.task_id)
    if row is None:
        raise NotFound("no such task")
    return int(row.version)


async def view_task(tx: Tx, query: GetTask) -> TaskView:
    """The task with its history, artifacts, open questions and pending approvals, as of one moment.

    Raises:
        NotFound: no such task, or not yours to see.
    """
    return await view_of(tx, await _row(tx, query.task_id), messages=query.messages)


async def view_of(tx: Tx, row: Row, *, with_artifacts: bool = True, messages: int | None = None) -> TaskView:
    """As `view_task`, for a row that was found readable in this transaction."""
    asking = row.state in (TaskState.INPUT_REQUIRED, TaskState.AUTH_REQUIRED)
    final = TaskState(row.state) in FINAL
    return TaskView(
        Task.of(row),
        await _messages(tx, row.id, messages),
        await artifacts_of(tx, row.id) if with_artifacts and row.attempt else (),
        [InputRequest.of(i) for i in await tx.all(_INPUTS, p_task_id=row.id)] if asking else (),
        () if final else [Approval.of(a) for a in await tx.all(_APPROVALS, p_task_id=row.id)],
    )


async def _messages(tx: Tx, task_id: UUID, newest: int | None) -> list[Message]:
    if newest is None:
        return [Message.of(m) for m in await tx.all(_MESSAGES, p_task_id=task_id)]
    if newest == 0:
        return []
    rows = await tx.all(_NEWEST_MESSAGES, p_task_id=task_id, p_limit=newest)
    return [Message.of(m) for m in reversed(rows)]


async def _row(tx: Tx, task_id: UUID) -> Row:
    row = await tx.one(_GET, p_task_id=task_id)
    if row is None:
        raise NotFound("no such task")
    return row


async def list_tasks(tx: Tx, query: ListTasks) -> Page[Task]:
    """A page of the tasks that the caller may read. The total is counted up to `COUNTED`."""
    c = t.task.c
    wanted: list[sa.ColumnElement[bool]] = [access.readable()]
    equal = {
        "context_id": query.context_id,
        "face": query.face,
        "workspace_id": query.workspace_id,
        "workflow_id": query.workflow_id,
        "work_item_id": query.work_item_id,
        "agent_id": query.assigned_agent_id,
        "parent_id": query.parent_id,
        "stage_name": query.stage_name,
        "submitter_id": query.submitter_id,
    }
    wanted += [c[name] == value for name, value in equal.items() if value is not None]
    if query.states:
        wanted.append(c.state.in_([int(s) for s in query.states]))
    if query.orchestrator is not None:
        modes = sa.select(t.route.c.id).where(t.route.c.key.like('%,"orchestrator"]'))
        wanted.append(c.general_route_id.in_(modes) == sa.literal(query.orchestrator))
    some = sa.select(c.id).where(*wanted).limit(COUNTED).subquery()
    total = await tx.one(sa.select(sa.func.count().label("n")).select_from(some))
    if query.before is not None:
        wanted.append(c.id < query.before)
    rows = await tx.all(
        sa.select(*c)
        .where(*wanted)
        .order_by(c.id.desc())
        .limit(query.per_page)
        .offset((query.page - 1) * query.per_page)
    )
    return Page([Task.of(row) for row in rows], 0 if total is None else total.n)


async def list_own(tx: Tx, query: ListOwn) -> Page[TaskView]:
    """A page of what the caller's own principal submitted, whatever its scope."""
    c = t.task.c
    mine = (c.tenant_id == access.TENANT, c.submitter_id == access.ME, access.addressed(t.task))
    wanted: list[sa.ColumnElement[bool]] = [*mine]
    if query.context_id is not None:
        wanted.append(c.context_id == query.context_id)
    if query.slices:
        wanted.append(sa.or_(*(_within(part) for part in query.slices)))
    if query.status_after is not None:
        wanted.append(c.status_at >= query.status_after)
    total = await tx.one(sa.select(sa.func.count().label("n")).select_from(t.task).where(*wanted))
    if query.before is not None:
        at, task_id = query.before
        wanted.append(sa.or_(c.status_at < at, sa.and_(c.status_at == at, c.id < task_id)))
    rows = await tx.all(
        sa.select(*c).where(*wanted).order_by(c.status_at.desc(), c.id.desc()).limit(query.page_size)
    )
    views = [
        await view_of(tx, row, with_artifacts=query.with_artifacts, messages=query.messages) for row in rows
    ]
    return Page(views, 0 if total is None else total.n)


def _within(part: Slice) -> sa.ColumnElement[bool]:
    c = t.task.c
    wanted: list[sa.ColumnElement[bool]] = [c.state.in_([int(s) for s in sorted(part.states)])]
    if part.left_queue is not None:
        wanted.append(c.left_queue == (sa.true() if part.left_queue else sa.false()))
    if part.decides is not None:
        decides = access.decides(t.task)
        wanted.append(decides if part.decides else sa.not_(decides))
    return sa.and_(*wanted)


_DEPTH = Statement(
    sa.select(t.task.c.route_id, t.task.c.priority, t.route.c.key, sa.func.count().label("n"))
    .join(t.route, t.route.c.id == t.task.c.route_id)
    .where(
        t.task.c.tenant_id == access.TENANT,
        t.task.c.state == sa.literal_column(str(int(TaskState.READY))),
        sa.or_(
            sa.bindparam("p_any_workflow", type_=sa.Boolean()) == sa.true(),
            t.task.c.workflow_id == sa.bindparam("p_workflow_id", type_=t.task.c.workflow_id.type),
        ),
    )
    .group_by(t.task.c.route_id, t.task.c.priority, t.route.c.key)
)


async def queue_depth(tx: Tx, query: QueueDepth) -> Depth:
    """How much may be claimed now, standalone tasks included."""
    rows = await tx.all(_DEPTH, p_any_workflow=query.workflow_id is None, p_workflow_id=query.workflow_id)
    by_priority = {p.value: 0 for p in Priority}
    by_route: dict[str, int] = {}
    for row in rows:
        by_priority[row.priority] += row.n
        by_route[row.key] = by_route.get(row.key, 0) + row.n
    tags = [(sorted(_tags(key)), n) for key, n in sorted(by_route.items())]
    return Depth(sum(by_priority.values()), by_priority, tags)


def _tags(key: str) -> frozenset[str]:
    from core.routing import Route

    return Route.of_key(key).tags


async def patch_task(tx: Tx, command: PatchTask) -> Task:
    """Change what describes a task that is not final; never its state.

    Raises:
        NotFound: no such task.
        InvalidTransition: it is final.
        Invalid: the new parent does not exist.
        Conflict: the new parent is the task itself or below it.
    """
    row = await _row(tx, command.task_id)
    sets: dict[str, Any] = {}
    for name in ("title", "description"):
        if getattr(command, name) is not None:
            sets[name] = getattr(command, name)
    if command.metadata is not None:
        sets["attributes"] = {**row.attributes, **command.metadata}
    if command.priority is not None:
        sets |= {"priority": command.priority.value, "rank": policies.rank(row.ready_at, command.priority)}
    if command.timeout_seconds is not None:
        sets |= {
            "policy": {**row.policy, "timeout_seconds": command.timeout_seconds},
            "timeout_seconds": command.timeout_seconds,
        }
    if command.parent_id is not None:
        await _check_parent(tx, row.id, command.parent_id)
        sets["parent_id"] = command.parent_id
    changed = await touch(
        tx, row.id, who=Who.READER, states=frozenset(TaskState) - FINAL, doing="change it", sets=sets
    )
    tell(tx, changed, "task.updated", {"task_id": str(row.id), "fields": sorted(sets)})
    return Task.of(changed)


async def _check_parent(tx: Tx, task_id: UUID, parent_id: UUID) -> None:
    above: UUID | None = parent_id
    for _ in range(16):
        if above == task_id:
            raise Conflict("a task cannot be its own ancestor")
        row = await tx.one(_GET, p_task_id=above)
        if row is None:
            raise Invalid("parent_id names a task that does not exist", details={"field": "parent_id"})
        above = row.parent_id
        if above is None:
            return
    raise Conflict("sub-tasks nest too deep")
