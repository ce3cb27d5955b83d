"""Execution logs: what executors say of their work, taken in and found again.

A log is readable by whoever wrote it, by whoever may read its task, and by the operators of its tenant; one
of a workflow and no task, as the workflow's events, by everybody in the tenant. Secrets are covered before
they come here. Retention is in `core/retention.py`.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.caller import Caller
from core.errors import NotFound
from core.fencing import P_NOW, P_TASK
from core.platform import Platform
from core.store import tables as t
from core.store.statement import Row, Statement
from core.store.tables import records, workflows
from core.store.tx import Tx
from core.store.types import Id, Instant

LOGS: Final = "logs"
"""The topic that is woken when a log has come."""
OVERLAP: Final = timedelta(seconds=10)
"""How long a write may take: a reader that follows looks back so far, since times are given out before it."""
WINDOW: Final = timedelta(days=1)
"""What a list reaches back to when no `since` says otherwise."""
PAGE: Final = 500

LINKS: Final = ("workspace_id", "workflow_id", "work_item_id", "task_id", "activation_id")
GROUPS: Final = frozenset(
    {
        "category", "operation", "level", "task_id", "work_item_id", "stage_name", "activation_id",
        "is_orchestrator_task", "source", "execution_backend", "tool_owner",
    }
)  # fmt: skip
MOST_GROUPS: Final = 100


@dataclass(frozen=True)
class LogLine:
    """One line: the columns of `execution_log` that its writer says."""

    fields: Mapping[str, Any]


@dataclass(frozen=True)
class Ingest:
    """Lines of one caller, in their order."""

    lines: Sequence[LogLine]


@dataclass(frozen=True)
class Ingested:
    """How many were kept, and which were not: their places among the lines, and why."""

    accepted: int
    rejected: Sequence[tuple[int, str]]


@dataclass(frozen=True)
class LogFilter:
    """What a reader wants. Conditions are joined by AND, the values of one by OR."""

    any_of: tuple[tuple[str, tuple[Any, ...]], ...] = ()
    """Columns, each with the values that will do."""
    search: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def clauses(self) -> list[sa.ColumnElement[bool]]:
        """The same as SQL."""
        found: list[sa.ColumnElement[bool]] = [_l[name].in_(values) for name, values in self.any_of]
        if self.since is not None:
            found.append(_l.created_at >= sa.literal(self.since, Instant()))
        if self.until is not None:
            found.append(_l.created_at <= sa.literal(self.until, Instant()))
        if self.search is not None:
            texts = (_l.operation, sa.cast(_l.payload, sa.Text()), sa.cast(_l.error, sa.Text()))
            found.append(sa.or_(*(text.icontains(self.search, autoescape=True) for text in texts)))
        return found


@dataclass(frozen=True)
class Mark:
    """A place in the order of the logs."""

    created_at: datetime
    id: UUID


@dataclass(frozen=True)
class ListLogs:
    """A page of logs after `mark` in the direction of reading."""

    filter: LogFilter = field(default_factory=LogFilter)
    mark: Mark | None = None
    newest_first: bool = True
    limit: int = 100


@dataclass(frozen=True)
class Log:
    """One line as it is read."""

    mark: Mark
    """Its place."""
    fields: Mapping[str, Any]
    """The columns of its row."""

    @classmethod
    def of(cls, row: Row) -> "Log":
        """The value of a row."""
        return cls(Mark(row.created_at, row.id), row.as_dict())


@dataclass(frozen=True)
class LogPage:
    """A page of logs, and whether there are more."""

    items: Sequence[Log]
    has_more: bool


@dataclass(frozen=True)
class LogStats:
    """Count and time of the logs of each value of one column."""

    filter: LogFilter
    group_by: str


@dataclass(frozen=True)
class LogGroup:
    """What the logs of one value come to."""

    group: str | None
    count: int
    error_count: int
    total_duration_ms: float


_l = records.execution_log.c
_READABLE = Statement(
    sa.select(
        t.task.c.id, t.task.c.workflow_id, t.task.c.work_item_id, t.task.c.workspace_id, t.task.c.stage_name
    ).where(t.task.c.id == P_TASK, access.readable())
)
_WORKFLOW = Statement(
    sa.select(workflows.workflow.c.id, workflows.workflow.c.workspace_id).where(
        workflows.workflow.c.id == sa.bindparam("p_workflow_id", type_=Id()),
        access.within_tenant(workflows.workflow),
    )
)
_INSERT = Statement(sa.insert(records.execution_log))
_held = sa.exists().where(
    t.task.c.id == t.lease.c.task_id, sa.or_(t.task.c.agent_id == access.ME, t.task.c.worker_id == access.ME)
)
_LEASE = Statement(
    sa.select(t.lease.c.seconds).where(t.lease.c.task_id == P_TASK, t.lease.c.until > P_NOW, _held)
)
_P_UNTIL = sa.bindparam("p_until", type_=Instant())
_RENEW = Statement(
    sa.update(t.lease)
    .where(t.lease.c.task_id == P_TASK, t.lease.c.until > P_NOW, t.lease.c.until < _P_UNTIL, _held)
    .values(until=_P_UNTIL)
)


def _visible() -> sa.ColumnElement[bool]:
    return sa.and_(
        access.within_tenant(records.execution_log),
        sa.or_(
            sa.and_(access.yes(access.OPERATOR), access.yes(access.WIDE)),
            _l.writer_id == access.ME,
            sa.and_(_l.task_id.is_not(None), access.of_readable_task(records.execution_log)),
            sa.and_(_l.task_id.is_(None), _l.workflow_id.is_not(None), access.yes(access.WIDE)),
        ),
    )


async def ingest(tx: Tx, command: Ingest) -> Ingested:
    """Keep lines. One that names a task or workflow that the caller may not see is left out, and said so.

    Whoever holds a task's lease and writes about the task keeps the lease alive by it, as by a heartbeat.
    """
    rejected: list[tuple[int, str]] = []
    told: set[UUID] = set()
    for number, line in enumerate(command.lines):
        links = await _links(tx, line.fields)
        if isinstance(links, str):
            rejected.append((number, links))
            continue
        values: dict[str, Any] = {
            **{column.name: None for column in _l},
            "is_orchestrator_task": False,
            "payload": {},
        }
        values |= {**line.fields, **links}
        identity = {"id": tx.new_id(), "tenant_id": tx.caller.tenant_id, "writer_id": tx.caller.principal_id}
        tx.add(_INSERT, **(values | identity | {"created_at": tx.now}))
        if values["task_id"] is not None:
            told.add(values["task_id"])
    for task_id in sorted(told):
        await _keep_alive(tx, task_id)
    accepted = len(command.lines) - len(rejected)
    if accepted:
        tx.wake(LOGS)
    return Ingested(accepted, rejected)


async def _links(tx: Tx, said: Mapping[str, Any]) -> Mapping[str, Any] | str:
    """What a line belongs to, completed from its task or workflow; or why it cannot be kept."""
    if said.get("task_id") is not None:
        task = await tx.one(_READABLE, p_task_id=said["task_id"])
        if task is None:
            return "no such task"
        named = ("workflow_id", "work_item_id", "workspace_id", "stage_name")
        return {name: getattr(task, name) for name in named if getattr(task, name) is not None}
    if said.get("workflow_id") is not None:
        workflow = await tx.one(_WORKFLOW, p_workflow_id=said["workflow_id"])
        return "no such workflow" if workflow is None else {"workspace_id": workflow.workspace_id}
    return {}


async def _keep_alive(tx: Tx, task_id: UUID) -> None:
    lease = await tx.one(_LEASE, p_task_id=task_id, p_now=tx.now)
    if lease is not None:
        until = tx.now + timedelta(seconds=lease.seconds)
        await tx.run(_RENEW, p_task_id=task_id, p_now=tx.now, p_until=until)


async def list_logs(tx: Tx, query: ListLogs) -> LogPage:
    """A page of what the caller may see."""
    wanted = [_visible(), *query.filter.clauses()]
    if query.filter.since is None:
        upto = query.filter.until or tx.now
        wanted.append(_l.created_at >= sa.literal(upto - WINDOW, Instant()))
    if query.mark is not None:
        wanted.append(_past(query.mark, backward=query.newest_first))
    order = (_l.created_at, _l.id)
    rows = await tx.all(
        sa.select(*_l)
        .where(*wanted)
        .order_by(*(column.desc() if query.newest_first else column.asc() for column in order))
        .limit(query.limit + 1)
    )
    return LogPage([Log.of(row) for row in rows[: query.limit]], len(rows) > query.limit)


def _past(mark: Mark, *, backward: bool) -> sa.ColumnElement[bool]:
    at, row_id = sa.literal(mark.created_at, Instant()), sa.literal(mark.id, Id())
    if backward:
        return sa.or_(_l.created_at < at, sa.and_(_l.created_at == at, _l.id < row_id))
    return sa.or_(_l.created_at > at, sa.and_(_l.created_at == at, _l.id > row_id))


async def get_log(tx: Tx, log_id: UUID) -> Log:
    """One line.

    Raises:
        NotFound: no such line, or not yours to see.
    """
    row = await tx.one(sa.select(*_l).where(_l.id == log_id, _visible()))
    if row is None:
        raise NotFound("no such log")
    return Log.of(row)


async def log_stats(tx: Tx, query: LogStats) -> Sequence[LogGroup]:
    """What the logs come to by the values of one column, the largest groups first, `MOST_GROUPS` of them."""
    wanted = [_visible(), *query.filter.clauses()]
    if query.filter.since is None:
        upto = query.filter.until or tx.now
        wanted.append(_l.created_at >= sa.literal(upto - WINDOW, Instant()))
    column, count = _l[query.group_by], sa.func.count()
    failed = sa.func.sum(sa.case((_l.level == sa.literal("error"), 1), else_=0))
    rows = await tx.all(
        sa.select(
            column.label("value"),
            count.label("n"),
            failed.label("failed"),
            sa.func.coalesce(sa.func.sum(_l.duration_ms), 0).label("spent"),
        )
        .where(*wanted)
        .group_by(column)
        .order_by(count.desc())
        .limit(MOST_GROUPS)
    )
    return [LogGroup(_name(row.value), int(row.n), int(row.failed), float(row.spent)) for row in rows]


def _name(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return None if value is None else str(value)


async def all_logs(platform: Platform, caller: Caller, wanted: LogFilter) -> AsyncIterator[Sequence[Log]]:
    """Everything that the filter wants, oldest first, page by page: no more than one is held."""
    mark: Mark | None = None
    while True:
        query = ListLogs(wanted, mark, newest_first=False, limit=PAGE)
        page = await platform.read(caller, list_logs, query)
        if page.items:
            yield page.items
            mark = page.items[-1].mark
        if not page.has_more:
            return


async def follow_logs(
    platform: Platform, caller: Caller, wanted: LogFilter, *, idle_seconds: float = 15.0
) -> AsyncIterator[Sequence[Log]]:
    """What comes from now on, each line once; nothing, when nothing came for `idle_seconds`.

    A write that was under way at the last look is not missed: each look goes back over `OVERLAP`, and lines
    that were seen are known by their ids.
    """
    begun = platform.now()
    seen: dict[UUID, datetime] = {}
    quiet_since = platform.monotonic()
    yield []
    while True:
        with platform.hints.listen([LOGS]) as woken:
            floor = max(begun, max(seen.values(), default=begun) - OVERLAP)
            mark: Mark | None = None
            fresh: list[Log] = []
            more = True
            while more and len(fresh) < PAGE:
                narrowed = LogFilter(wanted.any_of, wanted.search, floor, wanted.until)
                query = ListLogs(narrowed, mark, newest_first=False, limit=PAGE)
                page = await platform.read(caller, list_logs, query)
                fresh += [item for item in page.items if item.mark.id not in seen]
                mark, more = (page.items[-1].mark if page.items else mark), page.has_more
            if fresh:
                seen |= {item.mark.id: item.mark.created_at for item in fresh}
                newest = max(seen.values())
                seen = {row_id: at for row_id, at in seen.items() if at >= newest - OVERLAP * 2}
                quiet_since = platform.monotonic()
                yield fresh
                continue
            if platform.monotonic() - quiet_since >= idle_seconds:
                quiet_since = platform.monotonic()
                yield []
            await woken.wait(1.0)
