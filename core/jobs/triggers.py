"""From the log to what triggers start: a durable cursor, and each event once for each trigger.

The occasions of some events and the cursor's move over them commit together, so none is lost and none comes
twice, also when two replicas look at once. Then each occasion is started in a transaction of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from core.errors import NotFound
from core.fencing import P_TASK
from core.jobs.schedules import Refused, error_of
from core.starting import start
from core.store import tables as t
from core.store.statement import Row, Statement, insert
from core.store.tables import workflows as w
from core.store.tables.triggers import trigger, trigger_start
from core.store.tx import Tx
from core.store.types import Id
from core.trigger_records import CALLED, ENQUEUE, occasion_columns, tell, trigger_row
from core.webhook_targets import wants
from schemas.occasions import RunStatus

CURSOR: Final = "triggers"
"""The consumer's name."""
PAGE: Final = 1_000
"""Events of one look."""
LAG: Final = 10_000
"""How far the cursor may stay behind while there is nothing to start."""
BATCH: Final = 200
DEEPEST: Final = 5
"""How many triggers may lead to one another."""
KEPT: Final = timedelta(days=30)


@dataclass(frozen=True)
class Stretch:
    """Some events that were not looked at for good, of all tenants."""

    tenant_id: UUID
    after: int
    upto: int


@dataclass(frozen=True)
class Waiting:
    """An occasion that is to be started."""

    tenant_id: UUID
    occasion_id: UUID
    trigger_id: UUID


_g, _o, _e = trigger.c, trigger_start.c, t.event.c
_P_NAME = sa.bindparam("p_name", type_=sa.String())
_P_OCCASION = sa.bindparam("p_occasion_id", type_=Id())
_HORIZON = Statement(
    sa.select(
        sa.select(t.consumer.c.pos).where(t.consumer.c.name == _P_NAME).scalar_subquery().label("cursor"),
        sa.select(sa.func.coalesce(sa.func.max(_e.pos), 0)).scalar_subquery().label("head"),
        sa.exists(sa.select(_g.id).where(_g.is_active, _g.kind == sa.literal_column("'event'"))).label(
            "live"
        ),
    )
)
_BEGIN = Statement(insert(t.consumer).on_conflict_do_nothing(index_elements=["name"]))
_ADVANCE = Statement(
    sa.update(t.consumer)
    .where(t.consumer.c.name == _P_NAME, t.consumer.c.pos == sa.bindparam("p_after", type_=sa.BigInteger()))
    .values(pos=sa.bindparam("p_upto", type_=sa.BigInteger()))
)
_MATCHES = Statement(
    sa.select(
        _g.id,
        _g.tenant_id,
        _g.event_types,
        _g.filters,
        *(
            _e[name]
            for name in (
                "pos", "kind", "entity_type", "entity_id", "task_id", "workflow_id", "data", "at",
                "actor_type", "actor_id",
            )
        ),
    )
    .select_from(sa.join(t.event, trigger, _g.tenant_id == _e.tenant_id))
    .where(
        _e.pos > sa.bindparam("p_after", type_=sa.BigInteger()),
        _e.pos <= sa.bindparam("p_upto", type_=sa.BigInteger()),
        _e.at > _g.since,
        _e.entity_type != sa.literal_column("'trigger'"),
        _g.is_active,
        _g.kind == sa.literal_column("'event'"),
    )
    .order_by(_e.pos, _g.id)
)  # fmt: skip
_WAITING = Statement(
    sa.select(_o.tenant_id, _o.id, _o.trigger_id)
    .where(_o.status == sa.literal_column("'queued'"))
    .order_by(_o.id)
    .limit(sa.literal_column(str(BATCH)))
)
_ONE = Statement(sa.select(*_o).where(_o.id == _P_OCCASION).with_for_update(skip_locked=True))
_DEPTH = Statement(
    sa.select(sa.func.max(_o.depth).label("depth")).where(
        sa.or_(
            _o.task_id == sa.bindparam("p_task_id", type_=Id()),
            _o.workflow_id == sa.bindparam("p_workflow_id", type_=Id()),
        )
    )
)
_TASK = Statement(sa.select(t.task.c.parent_id, t.task.c.workflow_id).where(t.task.c.id == P_TASK))
_WORKFLOW = Statement(
    sa.select(w.workflow.c.root_workflow_id, w.workflow.c.parent_workflow_id).where(
        w.workflow.c.id == sa.bindparam("p_workflow_id", type_=Id())
    )
)
_FORGET = Statement(
    sa.delete(trigger_start).where(
        _o.created_at < sa.bindparam("p_before", type_=_o.created_at.type),
        _o.status != sa.literal_column("'queued'"),
    )
)


async def unread(tx: Tx, _: None) -> Sequence[Stretch]:
    """The next events that triggers may be about. While none is active it costs one look."""
    row = await tx.one(_HORIZON, p_name=CURSOR)
    assert row is not None, "it selects plain values"
    cursor = row.cursor or 0
    if row.head <= cursor or (not row.live and row.cursor is not None and row.head - cursor < LAG):
        return []
    upto = min(row.head, cursor + PAGE) if row.live else row.head
    return [Stretch(tx.caller.tenant_id, cursor, upto)]


async def enqueue(tx: Tx, stretch: Stretch) -> None:
    """Make the occasions of some events, and move the cursor; nothing when another replica has moved it."""
    if stretch.after == 0:
        await tx.run(_BEGIN, name=CURSOR, pos=0)
    if not await tx.run(_ADVANCE, p_name=CURSOR, p_after=stretch.after, p_upto=stretch.upto):
        return
    for row in await tx.all(_MATCHES, p_after=stretch.after, p_upto=stretch.upto):
        event = _event(row)
        if wants(row.event_types, row.kind) and _fits(row.filters, event):
            tx.add(ENQUEUE, **occasion_columns(tx, row, str(row.pos), {"event": event}))
    tx.wake(CALLED)


async def waiting(tx: Tx, _: None) -> Sequence[Waiting]:
    """Occasions of every tenant that are to be started, oldest first."""
    return [Waiting(r.tenant_id, r.id, r.trigger_id) for r in await tx.all(_WAITING)]


async def start_occasion(tx: Tx, item: Waiting) -> None:
    """Start what the trigger declares. An occasion that was started or removed meanwhile is left alone.

    Raises:
        HubError: it cannot be started; `note_failed` then ends it.
    """
    found = await _open(tx, item)
    if found is None:
        return
    rule, occasion = found
    depth = await _depth(tx, (occasion.given or {}).get("event"))
    if depth > DEEPEST:
        said = {"occasion_id": str(occasion.id), "depth": depth}
        await _end(tx, occasion, status=RunStatus.SKIPPED, reason="depth", depth=depth)
        tell(tx, "trigger.skipped", rule, {**said, "reason": "depth"})
        return
    values = {"trigger": {"id": str(rule.id), "name": rule.name}, **(occasion.given or {})}
    made = await start(tx, rule.action, values, rule.created_by)
    await _end(
        tx,
        occasion,
        status=RunStatus.STARTED,
        depth=depth,
        task_id=made.task_id,
        workflow_id=made.workflow_id,
        started_at=tx.now,
    )
    ids = {"task_id": made.task_id, "workflow_id": made.workflow_id}
    said = {name: str(value) for name, value in ids.items() if value is not None}
    tell(tx, "trigger.started", rule, {"occasion_id": str(occasion.id), **said})


async def note_failed(tx: Tx, refused: Refused) -> None:
    """End an occasion that cannot be started, and say why."""
    found = await _open(tx, refused.item)
    if found is not None:
        rule, occasion = found
        error = error_of(refused.error)
        await _end(tx, occasion, status=RunStatus.FAILED, error=error)
        tell(tx, "trigger.failed", rule, {"occasion_id": str(occasion.id), "error": error})


async def forget_occasions(tx: Tx, _: None) -> None:
    """Drop the record of what was started after 30 days."""
    tx.add(_FORGET, p_before=tx.now - KEPT)


async def _open(tx: Tx, item: Waiting) -> tuple[Row, Row] | None:
    try:
        rule = await trigger_row(tx, item.trigger_id)
    except NotFound:
        return None
    occasion = await tx.one(_ONE, p_occasion_id=item.occasion_id)
    if occasion is None or occasion.status != RunStatus.QUEUED:
        return None
    return rule, occasion


async def _end(tx: Tx, occasion: Row, *, status: RunStatus, **values: Any) -> None:
    changed = {"status": status.value, "given": None, **values}
    await tx.run(sa.update(trigger_start).where(_o.id == occasion.id).values(**changed))


async def _depth(tx: Tx, event: Mapping[str, Any] | None) -> int:
    """How many triggers led to what would be started for an event: one more than led to what it is about."""
    if event is None:
        return 1
    task_id = event["task_id"] and UUID(event["task_id"])
    workflow_id = event["workflow_id"] and UUID(event["workflow_id"])
    depth = 0
    while task_id is not None:
        depth = max(depth, await _known(tx, task_id, None))
        row = await tx.one(_TASK, p_task_id=task_id)
        workflow_id = workflow_id or (None if row is None else row.workflow_id)
        task_id = None if row is None else row.parent_id
    for _ in range(DEEPEST + 1):
        if workflow_id is None:
            break
        depth = max(depth, await _known(tx, None, workflow_id))
        row = await tx.one(_WORKFLOW, p_workflow_id=workflow_id)
        workflow_id = None if row is None else row.parent_workflow_id
    return depth + 1


async def _known(tx: Tx, task_id: UUID | None, workflow_id: UUID | None) -> int:
    row = await tx.one(_DEPTH, p_task_id=task_id, p_workflow_id=workflow_id)
    return 0 if row is None or row.depth is None else int(row.depth)


def _event(row: Row) -> dict[str, Any]:
    def text(value: UUID | None) -> str | None:
        return None if value is None else str(value)

    return {
        "id": row.pos,
        "type": row.kind,
        "entity_type": row.entity_type,
        "entity_id": text(row.entity_id),
        "task_id": text(row.task_id),
        "workflow_id": text(row.workflow_id),
        "actor_type": row.actor_type,
        "actor_id": row.actor_id,
        "at": row.at.isoformat(),
        "data": row.data,
    }


def _fits(filters: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
    for name in ("task_id", "workflow_id"):
        if filters.get(name) is not None and event[name] != filters[name]:
            return False
    if filters.get("workspace_id") not in (None, (event["data"] or {}).get("workspace_id")):
        return False
    return all(_at(event, path) == value for path, value in filters.get("match", {}).items())


def _at(value: Any, path: str) -> Any:
    for step in path.split("."):
        if not isinstance(value, Mapping) or step not in value:
            return _NOTHING
        value = value[step]
    return value


_NOTHING = object()
