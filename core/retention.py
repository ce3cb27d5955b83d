"""Clears away what is over, by each tenant's policy: little by little, and once for all replicas.

Every step is a command of its own over a few rows, so that nobody waits for it. What is held stays, with all
that belongs to it. Events stay as long as their task or workflow does; where older ones went, the floor
of the tenant tells a reader that its cursor is too old (`core/events.py`).
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.caller import SYSTEM
from core.deliveries import CHANNELS
from core.errors import Conflict, NotFound
from core.governance import Policy, get_policy, held
from core.jobs.fanout import CURSOR
from core.platform import Platform
from core.store import tables as t
from core.store.statement import Statement, insert
from core.store.tables import records, work_items, workers, workflows
from core.store.tables.operations import stored_file
from core.store.tx import Tx
from core.store.types import Id, Instant
from core.transitions import FINAL
from core.workflows.records import WorkflowId
from core.workflows.removing import remove_workflow
from schemas.vocabulary import WorkflowState

EVERY: Final = timedelta(hours=1)
"""Between the end of one round and the next."""
TURN: Final = timedelta(minutes=2)
"""How long a replica that clears away may be silent before another goes on."""
SOME: Final = 100
"""Rows of one step, where rows have much that belongs to them."""
MANY: Final = 500
METERED_DAYS: Final = 400
"""Measurements outlive their tasks, so that a year's costs can be summed up."""

_NAME: Final = "retention"
_FIRST: Final = UUID(int=0)
_OVER: Final = tuple(sorted(int(state) for state in FINAL))
_ENDED: Final = (
    WorkflowState.COMPLETED.value, WorkflowState.FAILED.value, WorkflowState.CANCELLED.value
)  # fmt: skip
_t, _e, _l, _w = t.task.c, t.event.c, records.execution_log.c, workflows.workflow.c
_P_AFTER = sa.bindparam("p_after", type_=Id())
_P_BEFORE = sa.bindparam("p_before", type_=Instant())
_P_STATE = sa.bindparam("p_state", type_=sa.SmallInteger())
_P_IDS = sa.bindparam("p_ids", expanding=True, type_=Id())
_SOME: sa.ColumnElement[int] = sa.literal_column(str(SOME))
_MANY: sa.ColumnElement[int] = sa.literal_column(str(MANY))

_TENANTS = Statement(sa.select(t.tenant.c.id))
_BEGIN = Statement(insert(records.retention_turn).on_conflict_do_nothing(index_elements=["name"]))
_n = records.retention_turn.c
_TAKE = Statement(
    sa.update(records.retention_turn)
    .where(
        _n.name == _NAME,
        sa.or_(
            _n.until <= sa.bindparam("p_now", type_=Instant()), _n.holder == sa.bindparam("p_me", type_=Id())
        ),
    )
    .values(holder=sa.bindparam("p_me", type_=Id()), until=sa.bindparam("p_until", type_=Instant()))
)
_LEAVE = Statement(
    sa.update(records.retention_turn)
    .where(_n.name == _NAME, _n.holder == sa.bindparam("p_me", type_=Id()))
    .values(holder=None, until=sa.bindparam("p_until", type_=Instant()))
)
_HELD = held(_t.id, _t.workflow_id, _t.workspace_id).label("held")
_later = t.task.alias("later")
_WANTED = sa.exists().where(
    t.dependency.c.after_id == _t.id,
    _later.c.id == t.dependency.c.task_id,
    _later.c.state.not_in([sa.literal_column(str(state)) for state in _OVER]),
)
_TASKS = Statement(
    sa.select(_t.id, _t.workflow_id, _t.created_at, _t.finished_at, _HELD, _WANTED.label("wanted"))
    .where(access.within_tenant(t.task), _t.state == _P_STATE, _t.id > _P_AFTER, _t.created_at < _P_BEFORE)
    .order_by(_t.id)
    .limit(_SOME)
)
_FILES_OF = sa.select(t.artifact.c.file_id).where(
    t.artifact.c.task_id.in_(_P_IDS), t.artifact.c.file_id.is_not(None)
)
_DISMISS = Statement(
    sa.update(stored_file)
    .where(stored_file.c.id.in_(_FILES_OF), stored_file.c.remove_at.is_(None))
    .values(remove_at=sa.bindparam("p_now", type_=Instant()))
)
_FILED = sa.exists().where(
    t.artifact.c.task_id == t.artifact_chunk.c.task_id,
    t.artifact.c.artifact_id == t.artifact_chunk.c.artifact_id,
    t.artifact.c.file_id.is_not(None),
)
_NO_FILE_CHUNKS = Statement(sa.delete(t.artifact_chunk).where(t.artifact_chunk.c.task_id.in_(_P_IDS), _FILED))
_NO_FILES = Statement(
    sa.delete(t.artifact).where(t.artifact.c.task_id.in_(_P_IDS), t.artifact.c.file_id.is_not(None))
)
_LOCK = Statement(
    sa.select(_t.id)
    .where(_t.id.in_(_P_IDS), _t.state.in_([sa.literal_column(str(state)) for state in _OVER]), ~held(_t.id))
    .order_by(_t.id)
    .with_for_update(skip_locked=True)
)
_OF_TASK = tuple(
    Statement(sa.delete(table).where(table.c.task_id.in_(_P_IDS)))
    for table in (
        t.attempt, t.message, t.artifact_chunk, t.artifact, t.input_request, t.approval_decider, t.approval,
        t.dependency, t.push_config, t.delegation, work_items.handoff, records.git_activity,
        workers.checkpoint,
    )
)  # fmt: skip
_NO_MEMORY = Statement(
    sa.delete(work_items.memory_entry).where(work_items.memory_entry.c.subject_id.in_(_P_IDS))
)
"""Of tasks that belong to no work item; that of an item stays with it."""
_NO_TASKS = Statement(sa.delete(t.task).where(_t.id.in_(_P_IDS)))
_held_within = sa.exists().where(_t.workflow_id == _w.id, held(_t.id))
_WORKFLOWS = Statement(
    sa.select(_w.id)
    .where(
        access.within_tenant(workflows.workflow),
        _w.state.in_([sa.literal_column(f"'{state}'") for state in _ENDED]),
        _w.id > _P_AFTER,
        _w.completed_at < _P_BEFORE,
        ~held(_w.id, _w.workspace_id),
        ~_held_within,
    )
    .order_by(_w.id)
    .limit(_SOME)
)
_TASKS_WITHIN = Statement(
    sa.select(_t.id).where(_t.workflow_id == sa.bindparam("p_workflow_id", type_=Id())).limit(_SOME)
)
_OLD_LOGS = Statement(
    sa.delete(records.execution_log).where(
        _l.id.in_(
            sa.select(_l.id)
            .where(
                access.within_tenant(records.execution_log),
                _l.created_at < _P_BEFORE,
                ~held(_l.task_id, _l.workflow_id, _l.workspace_id),
            )
            .order_by(_l.created_at)
            .limit(_MANY)
        )
    )
)
_m = records.metering_event.c
_OLD_METERING = Statement(
    sa.delete(records.metering_event).where(
        _m.id.in_(
            sa.select(_m.id)
            .where(
                access.within_tenant(records.metering_event),
                _m.created_at < _P_BEFORE,
                ~held(_m.task_id, _m.workflow_id),
            )
            .order_by(_m.id)
            .limit(_MANY)
        )
    )
)
_P_POS = sa.bindparam("p_pos", type_=sa.BigInteger())
_alive = sa.or_(
    sa.exists().where(_t.id == _e.task_id),
    sa.exists().where(_w.id == _e.workflow_id),
    held(_e.entity_id),
)
_EVENTS = Statement(
    sa.select(_e.pos, _alive.label("kept"))
    .where(access.within_tenant(t.event), _e.pos > _P_POS, _e.at < _P_BEFORE)
    .order_by(_e.pos)
    .limit(_MANY)
)
_FANNED_OUT = Statement(sa.select(t.consumer.c.pos).where(t.consumer.c.name == CURSOR))
_P_POSITIONS = sa.bindparam("p_positions", expanding=True, type_=sa.BigInteger())
_NO_EVENTS = Statement(sa.delete(t.event).where(access.within_tenant(t.event), _e.pos.in_(_P_POSITIONS)))
_floor = insert(records.event_floor)
_RAISE = Statement(
    _floor.on_conflict_do_update(
        index_elements=["tenant_id"],
        set_={"pos": _floor.excluded.pos},
        where=records.event_floor.c.pos < _floor.excluded.pos,
    )
)
_OLD_GIT = Statement(sa.delete(records.git_delivery).where(records.git_delivery.c.at < _P_BEFORE))


async def take_turn(tx: Tx, me: UUID) -> bool:
    """Be the one who clears away, or stay it; False while another is, or when it is not time yet."""
    await tx.run(_BEGIN, name=_NAME, holder=None, until=tx.now)
    return bool(await tx.run(_TAKE, p_me=me, p_now=tx.now, p_until=tx.now + TURN))


async def leave_turn(tx: Tx, me: UUID) -> None:
    """The round is over; the next one begins after `EVERY`, wherever."""
    await tx.run(_LEAVE, p_me=me, p_until=tx.now + EVERY)


async def tenants(tx: Tx, _: None) -> Sequence[UUID]:
    """Everybody's tenants."""
    return [row.id for row in await tx.all(_TENANTS)]


@dataclass(frozen=True)
class Scan:
    """A few rows after one, and what became of them: where to go on, None at the end."""

    policy: Policy
    state: int
    after: UUID


@dataclass(frozen=True)
class Scanned:
    """How many went, and where to go on."""

    removed: int
    after: UUID | None


async def prune_tasks(tx: Tx, command: Scan) -> Scanned:
    """Some tasks of no workflow that ended long ago, with all that belongs to them; of others, old files.

    One that a task which goes on depends on stays until that ends.
    """
    tasks_before = tx.now - timedelta(days=command.policy.task_prune_after_days)
    files_before = tx.now - timedelta(days=command.policy.artifact_retention_days)
    found = await tx.all(
        _TASKS, p_state=command.state, p_after=command.after, p_before=max(tasks_before, files_before)
    )
    free = [row for row in found if not row.held and row.finished_at is not None]
    whole = [
        row.id
        for row in free
        if row.workflow_id is None and row.finished_at < tasks_before and not row.wanted
    ]
    without = [row.id for row in free if row.finished_at < files_before and row.id not in whole]
    removed = await _remove_tasks(tx, whole)
    if without:
        await tx.run(_DISMISS, p_ids=without, p_now=tx.now)
        await tx.run(_NO_FILE_CHUNKS, p_ids=without)
        await tx.run(_NO_FILES, p_ids=without)
    return Scanned(removed, found[-1].id if len(found) == SOME else None)


async def _remove_tasks(tx: Tx, wanted: Sequence[UUID]) -> int:
    ids = [row.id for row in await tx.all(_LOCK, p_ids=list(wanted))] if wanted else []
    if ids:
        await tx.run(_DISMISS, p_ids=ids, p_now=tx.now)
        for statement in (*_OF_TASK, _NO_MEMORY, _NO_TASKS):
            await tx.run(statement, p_ids=ids)
    return len(ids)


@dataclass(frozen=True)
class Aged:
    """What is older than a moment; of workflows those after one, of events those after a position."""

    before: datetime
    after: UUID = _FIRST
    pos: int = 0


async def old_workflows(tx: Tx, query: Aged) -> Sequence[UUID]:
    """Some workflows that ended before, and that nothing holds."""
    return [row.id for row in await tx.all(_WORKFLOWS, p_after=query.after, p_before=query.before)]


async def shrink_workflow(tx: Tx, command: WorkflowId) -> int:
    """Take away some tasks of a workflow that is about to go, so that its last step is a small one."""
    rows = await tx.all(_TASKS_WITHIN, p_workflow_id=command.workflow_id)
    return await _remove_tasks(tx, [row.id for row in rows]) if len(rows) == SOME else 0


async def prune_logs(tx: Tx, command: Aged) -> int:
    """Some lines of execution logs."""
    return await tx.run(_OLD_LOGS, p_before=command.before)


async def prune_metering(tx: Tx, command: Aged) -> int:
    """Some measurements."""
    return await tx.run(_OLD_METERING, p_before=command.before)


async def prune_git(tx: Tx, command: Aged) -> int:
    """What git servers sent more than a day ago can be forgotten."""
    return await tx.run(_OLD_GIT, p_before=command.before)


async def prune_events(tx: Tx, command: Aged) -> int | None:
    """Some events whose task and workflow are gone; the position to go on from, None at the end.

    The floor rises with them, in the same transaction. What receivers still have to hear of stays.
    """
    rows = await tx.all(_EVENTS, p_pos=command.pos, p_before=command.before)
    going = [row.pos for row in rows if not row.kept]
    live = [channel for channel in CHANNELS.values() if await channel.any_live(tx)]
    if live:
        cursor = await tx.one(_FANNED_OUT)
        upto = 0 if cursor is None else cursor.pos
        going = [pos for pos in going if pos <= upto]
    if going:
        await tx.run(_NO_EVENTS, p_positions=going)
        await tx.run(_RAISE, tenant_id=tx.caller.tenant_id, pos=max(going))
    return rows[-1].pos if len(rows) == MANY else None


class Retention:
    """This replica's candidate for clearing away."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._me = platform.new_id()
        self._log = logging.getLogger("crossdock.retention")

    async def round(self) -> bool:
        """One round over all tenants, if it is this replica's turn; tells whether it was.

        A crash in the middle costs nothing: another replica begins a round when the turn has run out.
        """
        if not await self._mine():
            return False
        for tenant_id in await self._platform.read(SYSTEM(UUID(int=0)), tenants, None):
            if not await self._tenant(tenant_id):
                return True
        await self._platform.write(SYSTEM(UUID(int=0)), leave_turn, self._me)
        return True

    async def _mine(self) -> bool:
        return await self._platform.write(SYSTEM(UUID(int=0)), take_turn, self._me)

    async def _tenant(self, tenant_id: UUID) -> bool:
        """Clear away one tenant's; False once the turn is another's."""
        platform, system = self._platform, SYSTEM(tenant_id)
        policy = await platform.read(system, get_policy, None)
        now = platform.now()
        await self._workflows(tenant_id, now - timedelta(days=policy.workflow_delete_after_days))
        for state in _OVER:
            after: UUID | None = UUID(int=0)
            while after is not None:
                after = (await platform.write(system, prune_tasks, Scan(policy, state, after))).after
                if not await self._mine():
                    return False
        for step, days in (
            (prune_logs, policy.execution_log_retention_days),
            (prune_metering, METERED_DAYS),
            (prune_git, 1),
        ):
            while await platform.write(system, step, Aged(now - timedelta(days=days))) >= MANY:
                if not await self._mine():
                    return False
        pos: int | None = 0
        before = now - timedelta(days=policy.event_retention_days)
        while pos is not None:
            pos = await platform.write(system, prune_events, Aged(before, pos=pos))
            if not await self._mine():
                return False
        return True

    async def _workflows(self, tenant_id: UUID, before: datetime) -> None:
        platform, system = self._platform, SYSTEM(tenant_id)
        after = UUID(int=0)
        while True:
            found = await platform.read(system, old_workflows, Aged(before, after))
            for workflow_id in found:
                try:
                    while await platform.write(system, shrink_workflow, WorkflowId(workflow_id)):
                        await self._mine()
                    await platform.write(system, remove_workflow, WorkflowId(workflow_id))
                except (Conflict, NotFound) as refusal:
                    self._log.info("workflow %s stays: %s", workflow_id, refusal.message)
            if len(found) < SOME:
                return
            after = found[-1]
