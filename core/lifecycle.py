"""The only way to change a task's state: `move`, a compare-and-set made from `core/transitions.py`.

A move writes the state, ends the attempt where the table says so, settles whoever waited for the task, and
writes one `task.state_changed` event, all in the caller's transaction. A refused move changes nothing and
wakes nobody. This module decides no policy: which move to make is the command's business.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.errors import Conflict, Forbidden, InvalidTransition, NotFound
from core.fencing import P_NOW, P_TASK, check_lease, fenced
from core.journal import record
from core.sessions.moves import settle_after
from core.store import tables as t
from core.store.statement import Row, Statement
from core.store.tx import Tx
from core.transitions import ASKING, FINAL, QUEUED, TRANSITIONS, Arc, Fence, Move
from core.workflows.marks import mark
from schemas.vocabulary import AttemptOutcome, Face, TaskState

PLAYBOOK: Final = "playbook"
"""The type of tasks that stand for a workflow (`core/workflows/fronts.py`); no caller may name it."""


class Who(StrEnum):
    """Whose right a move needs."""

    EXECUTOR = "executor"
    """The holder of the lease, or an operator who presents it."""
    SUBMITTER = "submitter"
    """Whoever asked for the task, or an operator."""
    READER = "reader"
    """Whoever may read the task; the route has checked the scope."""
    SYSTEM = "system"
    """The hub itself."""


_RIGHTS = {
    Who.EXECUTOR: access.executing(),
    Who.SUBMITTER: access.submitting(),
    Who.READER: access.readable(),
    Who.SYSTEM: access.within_tenant(t.task),
}


@dataclass(frozen=True)
class Moved:
    """The task's row after a move. `changed` is false for a repeat, which wrote nothing."""

    row: Row
    changed: bool


def _codes(states: frozenset[TaskState]) -> list[sa.ColumnElement[int]]:
    return [sa.literal_column(str(int(s)), sa.SmallInteger) for s in sorted(states)]


def touched(*, announcements: int = 1) -> dict[str, Any]:
    """The columns that every write to a task sets: one version for each event that the write makes."""
    return {"version": t.task.c.version + announcements, "updated_at": P_NOW}


@lru_cache(maxsize=1024)
def compare_and_set(
    move: Move,
    fence: Fence,
    who: Who,
    presented: bool,
    keeps_lease: bool,
    announces: bool,
    unchecked: bool,
    sets: tuple[str, ...],
) -> Statement:
    """The statement of a move; one for each shape in use, compiled once."""
    arc, c = TRANSITIONS[move], t.task.c
    values: dict[str, Any] = {
        **touched(announcements=2 if announces else 1),
        "state": sa.literal_column(str(int(arc.target)), sa.SmallInteger),
        "prev_state": c.state,
        "status_at": P_NOW,
    }
    if arc.target in FINAL:
        values |= {"finished_at": P_NOW, "timeout_at": None, "cancel_due_at": None, "preferred_until": None}
    if arc.reopens and arc.target not in FINAL:
        values |= {"finished_at": None, "error": None, "cancel_requested_at": None}
    if not keeps_lease and (arc.ends or arc.target in FINAL):
        values |= {"lease_id": None, "held": sa.false(), "timeout_at": None}
    if arc.target not in QUEUED:
        values["left_queue"] = sa.true()
    if arc.target in (TaskState.PENDING, TaskState.ESCALATED):
        values |= {"agent_id": None, "worker_id": None}
    values |= _columns(sets)
    return Statement(
        sa.update(t.task)
        .where(
            c.id == P_TASK,
            _RIGHTS[who],
            c.state.in_(_codes(arc.sources)),
            *fenced(fence, presented=presented),
            *([c.checks_output == sa.false()] if unchecked else []),
        )
        .values(values)
        .returning(*c)
    )


def _columns(sets: tuple[str, ...]) -> dict[str, sa.BindParameter[Any]]:
    """Columns that a command sets. Their binds have names of their own: a fence binds `p_lease_id`, too."""
    return {name: sa.bindparam(f"p_set_{name}", type_=t.task.c[name].type) for name in sets}


_GIVES_PLACE = FINAL | {TaskState.PENDING, TaskState.AWAITING_APPROVAL, TaskState.ESCALATED}
"""In these a task of a workflow takes no place that another could have, and somebody may look for one."""
_KINDS = frozenset({"task_kind", "escalates_task_id"})
"""A task that says one of these is about another task."""
_READ = Statement(sa.select(*t.task.c).where(t.task.c.id == P_TASK, access.readable()))
_READ_ANY = Statement(sa.select(*t.task.c).where(t.task.c.id == P_TASK, access.within_tenant(t.task)))
_OUTCOME = sa.bindparam("p_outcome", type_=sa.String())
_END_ATTEMPT = Statement(
    sa.update(t.attempt)
    .where(t.attempt.c.task_id == P_TASK, t.attempt.c.ended_at.is_(None))
    .values(ended_at=P_NOW, outcome=_OUTCOME, error=sa.bindparam("p_error", type_=t.attempt.c.error.type))
)
_DROP_LEASE = Statement(sa.delete(t.lease).where(t.lease.c.task_id == P_TASK))
_CLOSE_INPUTS = Statement(
    sa.update(t.input_request)
    .where(t.input_request.c.task_id == P_TASK, t.input_request.c.status == "open")
    .values(status=sa.bindparam("p_status", type_=sa.String()))
)
_CLOSE_APPROVALS = Statement(
    sa.update(t.approval)
    .where(t.approval.c.task_id == P_TASK, t.approval.c.status == sa.literal_column("'pending'"))
    .values(status=sa.bindparam("p_status", type_=sa.String()), updated_at=P_NOW)
)
_CLOSE_ASKED = Statement(
    sa.update(t.approval)
    .where(
        t.approval.c.task_id == P_TASK,
        t.approval.c.status == sa.literal_column("'pending'"),
        t.approval.c.kind.in_([sa.literal_column("'permission'"), sa.literal_column("'tool_call'")]),
    )
    .values(status=sa.bindparam("p_status", type_=sa.String()), updated_at=P_NOW)
)


async def try_move(
    tx: Tx,
    m: Move,
    task_id: UUID,
    *,
    who: Who,
    lease_id: UUID | None = None,
    fence: Fence | None = None,
    outcome: AttemptOutcome | None = None,
    error: Mapping[str, Any] | None = None,
    keeps_lease: bool = False,
    announces: str | None = None,
    said: Mapping[str, Any] | None = None,
    sets: Mapping[str, Any] | None = None,
    unchecked: bool = False,
    settles: bool = True,
) -> Row | None:
    """As `move`, but None where the compare-and-set finds no row, and no word why.

    `unchecked` moves only a task whose output needs no look. Without `settles` the caller settles the
    dependants of a task that becomes final.

    Raises:
        InvalidTransition: it would reopen a task that was born where final is final.
    """
    arc = TRANSITIONS[m]
    fence = fence or arc.fence
    columns = dict(sets or {})
    statement = compare_and_set(
        m,
        fence,
        who,
        lease_id is not None,
        keeps_lease,
        announces is not None,
        unchecked,
        tuple(sorted(columns)),
    )
    params = {f"p_set_{name}": value for name, value in columns.items()}
    if lease_id is not None and fence in (Fence.OWN, Fence.SEEN):
        params["p_lease_id"] = lease_id
    row = await tx.one(statement, p_task_id=task_id, p_now=tx.now, **params)
    if row is None:
        return None
    if arc.reopens and row.face in (Face.A2A, Face.ACP, Face.MCP):
        raise InvalidTransition("a task of this origin is final once it is final", details=_states(row, arc))
    ends = outcome or arc.ends
    if ends and not keeps_lease:
        end_attempt(tx, row, ends, error)
        if fence is not Fence.OWN:
            tx.wake(f"task:{row.id}")  # the executor waits with its lease, and has not heard yet
    record(tx, row, m, said=said, announces=announces)
    if row.workflow_id is not None and (arc.reopens or arc.target in _GIVES_PLACE):
        mark(tx, row)
    if arc.target in FINAL:
        await _close(tx, row, settles)
    elif ends is AttemptOutcome.SUPERSEDED:
        _drop_questions(tx, row, "superseded")
    if row.work_item_id is not None or _KINDS & row.extras.keys():
        # Imported here: what follows from a task's move are moves of other tasks.
        from core.work_items.consequences import draw

        await draw(tx, row)
    return row


async def move(
    tx: Tx,
    m: Move,
    task_id: UUID,
    *,
    who: Who,
    lease_id: UUID | None = None,
    fence: Fence | None = None,
    outcome: AttemptOutcome | None = None,
    error: Mapping[str, Any] | None = None,
    keeps_lease: bool = False,
    announces: str | None = None,
    said: Mapping[str, Any] | None = None,
    sets: Mapping[str, Any] | None = None,
) -> Moved:
    """Make one move of `TRANSITIONS`.

    `fence` and `outcome` replace those of the table where `lifecycle` leaves the choice to the command (a
    reported failure presents its lease, a lost one compares the lease that was read). `sets` are further
    columns, `said` further members of the event's data, `announces` a second event beside the change.

    A repeat that the table allows returns the row unchanged and writes nothing.

    Raises:
        NotFound: no such task, or not the caller's to see.
        Forbidden: the caller may see the task but not make this move.
        Conflict: the lease is gone; `details.reason_code` says how.
        InvalidTransition: the state does not allow the move.
    """
    row = await try_move(
        tx,
        m,
        task_id,
        who=who,
        lease_id=lease_id,
        fence=fence,
        outcome=outcome,
        error=error,
        keeps_lease=keeps_lease,
        announces=announces,
        said=said,
        sets=sets,
    )
    if row is not None:
        return Moved(row, True)
    arc = TRANSITIONS[m]
    return await _explain(tx, m, arc, fence or arc.fence, who, task_id, lease_id)


@lru_cache(maxsize=128)
def _touch_statement(
    fence: Fence,
    who: Who,
    presented: bool,
    states: frozenset[TaskState],
    sets: tuple[str, ...],
    versions: int,
) -> Statement:
    c = t.task.c
    return Statement(
        sa.update(t.task)
        .where(c.id == P_TASK, _RIGHTS[who], c.state.in_(_codes(states)), *fenced(fence, presented=presented))
        .values({**touched(announcements=versions), **_columns(sets)})
        .returning(*c)
    )


async def touch(
    tx: Tx,
    task_id: UUID,
    *,
    who: Who,
    states: frozenset[TaskState],
    lease_id: UUID | None = None,
    fence: Fence = Fence.NONE,
    doing: str,
    sets: Mapping[str, Any] | None = None,
    versions: int = 1,
) -> Row:
    """Take the task's next version for a write that changes no state. The caller writes the event with it.

    With `versions` it takes as many, and the row has the last of them.

    Raises:
        NotFound, Forbidden, Conflict, InvalidTransition: as `move`.
    """
    columns = dict(sets or {})
    statement = _touch_statement(fence, who, lease_id is not None, states, tuple(sorted(columns)), versions)
    params = {f"p_set_{name}": value for name, value in columns.items()}
    if lease_id is not None and fence in (Fence.OWN, Fence.SEEN):
        params["p_lease_id"] = lease_id
    row = await tx.one(statement, p_task_id=task_id, p_now=tx.now, **params)
    if row is not None:
        return row
    row = await _read(tx, who, task_id)
    if fence is Fence.OWN:
        await check_lease(tx, row, lease_id)
    if who is Who.SUBMITTER and not (row.submitter_id == tx.caller.principal_id or tx.caller.operator):
        raise Forbidden("only the submitter or an operator may do this")
    state = TaskState(row.state)
    raise InvalidTransition(
        f"the task is {state.wire}, which does not allow to {doing}",
        details={"task_id": str(row.id), "current_state": state.wire, "requested_state": state.wire},
    )


async def _read(tx: Tx, who: Who, task_id: UUID) -> Row:
    row = await tx.one(_READ_ANY if who is Who.SYSTEM else _READ, p_task_id=task_id)
    if row is None:
        raise NotFound("no such task")
    return row


def end_attempt(tx: Tx, row: Row, outcome: AttemptOutcome, error: Mapping[str, Any] | None = None) -> None:
    """End the live attempt of a task, if there is one, and free its agent's place."""
    tx.add(_END_ATTEMPT, p_task_id=row.id, p_now=tx.now, p_outcome=outcome.value, p_error=error)
    tx.add(_DROP_LEASE, p_task_id=row.id)
    if row.has_approvals:
        # An answer for a dead attempt would go nowhere: its questions about permission end with it.
        tx.add(_CLOSE_ASKED, p_task_id=row.id, p_now=tx.now, p_status="cancelled")


def _drop_questions(tx: Tx, row: Row, status: str) -> None:
    """What was asked in the state that a task has left needs no answer any more."""
    if row.prev_state in {int(s) for s in ASKING}:
        tx.add(_CLOSE_INPUTS, p_task_id=row.id, p_status=status)
    if row.has_approvals:
        tx.add(_CLOSE_APPROVALS, p_task_id=row.id, p_now=tx.now, p_status=status)


async def _close(tx: Tx, row: Row, settles: bool) -> None:
    """What a final state takes with it: open questions end, and dependants are settled."""
    _drop_questions(tx, row, "cancelled")
    if row.face == Face.ACP:
        settle_after(tx, row)
    if row.type == PLAYBOOK:
        # Imported here: ending a workflow is itself a move.
        from core.workflows.fronts import abandon

        await abandon(tx, row)
    if row.dependants and settles:
        # Imported here: releasing a dependant is itself a move.
        from core.tasks.release import settle_dependants

        await settle_dependants(tx, row)


def _states(row: Row, arc: Arc) -> dict[str, Any]:
    return {
        "task_id": str(row.id),
        "current_state": TaskState(row.state).wire,
        "requested_state": arc.target.wire,
    }


async def _explain(
    tx: Tx, m: Move, arc: Arc, fence: Fence, who: Who, task_id: UUID, lease_id: UUID | None
) -> Moved:
    """Why a move found no row: missing, repeated, stale, forbidden or illegal."""
    row = await _read(tx, who, task_id)
    if fence is Fence.OWN:
        await check_lease(tx, row, lease_id, repeats=arc if arc.repeatable else None)
        if arc.repeatable and row.state == arc.target:
            return Moved(row, False)
    elif arc.repeatable and row.state == arc.target:
        return Moved(row, False)
    if who is Who.SUBMITTER and not (row.submitter_id == tx.caller.principal_id or tx.caller.operator):
        raise Forbidden("only the submitter or an operator may do this")
    if fence is Fence.SEEN and row.lease_id != lease_id and row.state in {int(s) for s in arc.sources}:
        raise Conflict("the lease changed meanwhile", details={"reason_code": "task_ownership_moved"})
    state = TaskState(row.state)
    raise InvalidTransition(
        f"the task is {state.wire}, which does not allow {m.value}", details=_states(row, arc)
    )
