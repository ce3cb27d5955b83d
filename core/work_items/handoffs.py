"""What the executor of a task hands on to whoever comes next: once for each revision of the task."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.errors import Conflict, NotFound
from core.fencing import P_TASK
from core.journal import tell
from core.lifecycle import Who, touch
from core.store import tables as t
from core.store.statement import Row, Statement
from core.store.tables import work_items as i
from core.store.tx import Tx
from core.transitions import LEASED, Fence
from core.work_items.records import P_ITEM, WorkItemId, item_row
from schemas.item_words import Resolution


@dataclass(frozen=True)
class SubmitHandoff:
    """What is handed on. `content` is the rest of what is said, by name."""

    task_id: UUID
    summary: str
    completion: str = "full"
    resolution: Resolution | None = None
    content: Mapping[str, Any] | None = None
    lease_id: UUID | None = None


@dataclass(frozen=True)
class HandoffsOf:
    """The handoffs of a work item, so many of the newest."""

    workflow_id: UUID
    work_item_id: UUID
    limit: int = 100


@dataclass(frozen=True)
class TaskId:
    """Which task."""

    task_id: UUID


@dataclass(frozen=True)
class Handoff:
    """What was handed on."""

    id: UUID
    task_id: UUID
    rework_count: int
    workflow_id: UUID | None
    work_item_id: UUID | None
    role: str | None
    attempt: int
    completion: str
    resolution: Resolution | None
    summary: str
    content: Mapping[str, Any]
    author_id: UUID
    created_at: datetime

    @classmethod
    def of(cls, row: Row) -> "Handoff":
        """The value of a `handoff` row."""
        fields = {name: getattr(row, name) for name in cls.__dataclass_fields__}
        fields["resolution"] = None if row.resolution is None else Resolution(row.resolution)
        return cls(**fields)


_c = i.handoff.c
_READ = Statement(
    sa.select(*t.task.c).where(t.task.c.id == P_TASK, access.readable()).with_for_update(of=t.task)
)
_GET = Statement(sa.select(*t.task.c).where(t.task.c.id == P_TASK, access.readable()))
_INSERT = Statement(sa.insert(i.handoff))
_OF_REVISION = Statement(
    sa.select(*_c).where(
        _c.task_id == P_TASK, _c.rework_count == sa.bindparam("p_rework_count", type_=sa.Integer())
    )
)
_OF_ITEM = Statement(
    sa.select(*_c)
    .where(_c.work_item_id == P_ITEM)
    .order_by(_c.id.desc())
    .limit(sa.bindparam("p_limit", type_=sa.Integer()))
)
_BEFORE = Statement(
    sa.select(*_c)
    .where(_c.work_item_id == P_ITEM, _c.task_id != P_TASK)
    .order_by(_c.id.desc())
    .limit(sa.literal_column("1"))
)
_OF_DEPENDENCIES = Statement(
    sa.select(*_c)
    .join(t.dependency, t.dependency.c.after_id == _c.task_id)
    .where(t.dependency.c.task_id == P_TASK)
    .order_by(_c.id.desc())
    .limit(sa.literal_column("1"))
)


async def submit_handoff(tx: Tx, command: SubmitHandoff) -> Handoff:
    """Hand on, as the executor of a task. The same again for the same revision changes nothing.

    Raises:
        NotFound, Forbidden, Conflict, InvalidTransition: as `lifecycle.touch`; Conflict also when something
            else was handed on for this revision.
    """
    row = await tx.one(_READ, p_task_id=command.task_id)
    if row is None:
        raise NotFound("no such task")
    content = dict(command.content or {})
    before = await tx.one(_OF_REVISION, p_task_id=row.id, p_rework_count=row.rework_count)
    if before is not None and before.author_id == tx.caller.principal_id:
        said = (before.summary, before.completion, before.resolution, before.content)
        if said == (command.summary, command.completion, command.resolution, content):
            return Handoff.of(before)
    made = {
        "id": tx.new_id(),
        "tenant_id": row.tenant_id,
        "task_id": row.id,
        "rework_count": row.rework_count,
        "workflow_id": row.workflow_id,
        "work_item_id": row.work_item_id,
        "role": row.role,
        "attempt": row.attempt,
        "completion": command.completion,
        "resolution": command.resolution and command.resolution.value,
        "summary": command.summary,
        "content": content,
        "author_id": tx.caller.principal_id,
        "created_at": tx.now,
    }
    brief = {
        "id": str(made["id"]),
        "rework_count": row.rework_count,
        "summary": command.summary,
        "completion": command.completion,
        "resolution": made["resolution"],
        "outcome_action_applied": content.get("outcome_action_applied"),
    }
    touched = await touch(
        tx,
        row.id,
        who=Who.EXECUTOR,
        states=LEASED,
        lease_id=command.lease_id,
        fence=Fence.OWN,
        doing="hand on",
        sets={"extras": {**row.extras, "latest_handoff": brief}},
    )
    if before is not None:
        raise Conflict(
            "something else was handed on for this revision of the task",
            details={"reason_code": "handoff_exists", "handoff_id": str(before.id)},
        )
    await tx.run(_INSERT, **made)
    tell(
        tx,
        touched,
        "task.handoff_submitted",
        {"task_id": str(row.id), "handoff_id": brief["id"], "role": row.role, **brief},
    )
    found = await tx.one(_OF_REVISION, p_task_id=row.id, p_rework_count=row.rework_count)
    assert found is not None
    return Handoff.of(found)


async def handoffs_of(tx: Tx, query: HandoffsOf) -> Sequence[Handoff]:
    """The newest handoffs of a work item, newest first.

    Raises:
        NotFound: no such workflow, or no such item of it.
    """
    row = await item_row(tx, query.workflow_id, query.work_item_id)
    rows = await tx.all(_OF_ITEM, p_work_item_id=row.id, p_limit=query.limit)
    return [Handoff.of(found) for found in rows]


async def latest_handoff(tx: Tx, query: WorkItemId) -> Handoff | None:
    """The newest handoff of a work item, if there is one.

    Raises:
        NotFound: no such workflow, or no such item of it.
    """
    found = await handoffs_of(tx, HandoffsOf(query.workflow_id, query.work_item_id, 1))
    return found[0] if found else None


async def predecessor_handoff(tx: Tx, query: TaskId) -> Handoff | None:
    """What was handed on to a task: by what it depends on, else by whoever was at its work item before.

    Raises:
        NotFound: no such task, or not yours to see.
    """
    row = await tx.one(_GET, p_task_id=query.task_id)
    if row is None:
        raise NotFound("no such task")
    found = await tx.one(_OF_DEPENDENCIES, p_task_id=row.id)
    if found is None and row.work_item_id is not None:
        found = await tx.one(_BEFORE, p_work_item_id=row.work_item_id, p_task_id=row.id)
    return None if found is None else Handoff.of(found)
