"""Calls that wait for leave: found once it is decided, started once, given up where their end is lost.

The hub executes them, whoever asked and whether or not it still listens. Two replicas never start the same
call: the start is a compare-and-set on the call and on its approval.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.caller import Caller
from core.fencing import P_NOW
from core.gateway.calls import GRACE, topic
from core.gateway.records import P_CALL, CallRecord, opened_request, record_of, tell_call
from core.principals import OwnerType
from core.sealing import Secret, Unsealable
from core.store import tables as t
from core.store.statement import Row, Statement
from core.store.tables import mcp_calls
from core.store.tx import Tx
from core.store.types import Id, Instant, Json
from schemas.vocabulary import ApprovalStatus, CallState, Scope

BATCH: Final = 100
"""How much one look takes up; what is left comes with the next."""


@dataclass(frozen=True)
class Decided:
    """A call whose approval is not pending any more."""

    tenant_id: UUID
    call_id: UUID
    server_id: UUID
    tool: str
    definition_hash: str


@dataclass(frozen=True)
class Take:
    """Start a call that has its leave. `current`: the definition that its tool has now, if it is offered."""

    call_id: UUID
    current: str | None


@dataclass(frozen=True)
class Lost:
    """A started call that should have ended."""

    tenant_id: UUID
    call_id: UUID


@dataclass(frozen=True)
class Taken:
    """A call to be sent, now and never again."""

    call: CallRecord
    arguments: Secret = field(repr=False)

    @property
    def caller(self) -> Caller:
        """For whom it is sent."""
        call = self.call
        kind = OwnerType.USER if call.task_id is None else OwnerType.AGENT
        return Caller(
            call.principal_id,
            call.tenant_id,
            Scope.AGENT,
            kind.value,
            str(call.principal_id),
            face="mcp",
            task_id=call.task_id,
            lease_id=call.lease_id,
        )


_c, _a = mcp_calls.call.c, t.approval.c
_LIMIT: sa.ColumnElement[int] = sa.literal_column(str(BATCH))
_DECIDED = Statement(
    sa.select(_c.tenant_id, _c.id, _c.server_id, _c.tool, _c.definition_hash)
    .join(t.approval, _a.id == _c.approval_id)
    .where(_c.state == sa.literal_column("'awaiting_approval'"), _a.status != sa.literal_column("'pending'"))
    .order_by(_c.id)
    .limit(_LIMIT)
)
_LOCK = Statement(
    sa.select(mcp_calls.call)
    .where(
        _c.id == P_CALL,
        access.within_tenant(mcp_calls.call),
        _c.state == sa.literal_column("'awaiting_approval'"),
    )
    .with_for_update()
)
_USE = Statement(
    sa.update(t.approval)
    .where(
        _a.id == sa.bindparam("p_approval_id", type_=Id()),
        _a.status == sa.literal_column("'approved'"),
        _a.used_at.is_(None),
        sa.or_(
            _a.expires_at.is_(None),
            _a.expires_at > P_NOW,
            _a.decided_via == sa.literal_column("'deadline'"),  # decided by its being over
        ),
    )
    .values(used_at=P_NOW, updated_at=P_NOW)
)
_STATUS = Statement(sa.select(_a.status).where(_a.id == sa.bindparam("p_approval_id", type_=Id())))
_LIVE = Statement(
    sa.select(t.lease.c.until).where(
        t.lease.c.task_id == sa.bindparam("p_task_id", type_=Id()),
        t.lease.c.lease_id == sa.bindparam("p_lease_id", type_=Id()),
        t.lease.c.until > P_NOW,
    )
)
_START = Statement(
    sa.update(mcp_calls.call)
    .where(_c.id == P_CALL)
    .values(
        state=CallState.STARTED.value,
        started_at=P_NOW,
        due_at=sa.bindparam("p_due", type_=Instant()),
    )
)
_CLOSE = Statement(
    sa.update(mcp_calls.call)
    .where(_c.id == P_CALL)
    .values(
        state=sa.bindparam("p_state", type_=sa.String()),
        error=sa.bindparam("p_error", type_=Json()),
        finished_at=P_NOW,
        sealed_request=None,
        due_at=None,
    )
)
_RUNNING = Statement(
    sa.select(_c.tenant_id, _c.id)
    .where(_c.state == sa.literal_column("'started'"), _c.due_at <= sa.bindparam("p_before", type_=Instant()))
    .limit(_LIMIT)
)
_LOCK_STARTED = Statement(
    sa.select(mcp_calls.call)
    .where(
        _c.id == P_CALL,
        access.within_tenant(mcp_calls.call),
        _c.state == sa.literal_column("'started'"),
    )
    .with_for_update()
)
_WHY = {
    ApprovalStatus.REJECTED: ("rejected", "the call was not allowed"),
    ApprovalStatus.EXPIRED: ("approval_expired", "nobody decided about the call in time"),
    ApprovalStatus.CANCELLED: ("task_ended", "the task or its attempt ended before the call was allowed"),
    ApprovalStatus.SUPERSEDED: ("superseded", "a newer attempt asks again"),
}


async def decided(tx: Tx, _: None) -> Sequence[Decided]:
    """Calls of every tenant whose approval was decided, or ended."""
    rows = await tx.all(_DECIDED)
    return [Decided(r.tenant_id, r.id, r.server_id, r.tool, r.definition_hash) for r in rows]


async def take(tx: Tx, command: Take) -> Taken | None:
    """Use the approval of a call up and note its start; None when it is not to be sent, or not by this hub.

    It is refused where leave was not given, has run out, was given for another definition, or where its
    task's lease has ended.
    """
    row = await tx.one(_LOCK, p_call_id=command.call_id)
    if row is None:
        return None
    if command.current != row.definition_hash:
        why = "definition_changed", "its tool is not the one that was approved any more"
        await _refuse(tx, row, why)
        return None
    if row.task_id is not None:
        key = {"p_task_id": row.task_id, "p_lease_id": row.lease_id}
        if await tx.one(_LIVE, **key, p_now=tx.now) is None:
            await _refuse(tx, row, ("lease_expired", "the lease of its task has ended"))
            return None
    try:
        arguments = opened_request(tx, row.id, row.sealed_request)
    except Unsealable:
        await _refuse(tx, row, ("secret_lost", "its arguments cannot be read any more"))
        return None
    if not await tx.run(_USE, p_approval_id=row.approval_id, p_now=tx.now):
        asked = await tx.one(_STATUS, p_approval_id=row.approval_id)
        if asked is None or asked.status == ApprovalStatus.PENDING:
            return None
        why = _WHY.get(ApprovalStatus(asked.status), ("approval_expired", "leave for the call has run out"))
        await _refuse(tx, row, why)
        return None
    due = tx.now + timedelta(seconds=row.timeout_seconds) + GRACE
    await tx.run(_START, p_call_id=row.id, p_now=tx.now, p_due=due)
    call = replace(record_of(row), state=CallState.STARTED, started_at=tx.now)
    await tell_call(tx, call)
    return Taken(call, arguments)


async def lost(tx: Tx, _: None) -> Sequence[Lost]:
    """Started calls of every tenant whose time is over."""
    return [Lost(row.tenant_id, row.id) for row in await tx.all(_RUNNING, p_before=tx.now)]


async def left_behind(tx: Tx, _: None) -> Sequence[Lost]:
    """Every started call: for a hub that starts alone on its database, nobody else can be sending them."""
    forever = tx.now + timedelta(days=3650)
    return [Lost(row.tenant_id, row.id) for row in await tx.all(_RUNNING, p_before=forever)]


async def give_up(tx: Tx, command: Lost) -> None:
    """Say of a started call that nobody knows what became of it. One that has ended is left alone."""
    row = await tx.one(_LOCK_STARTED, p_call_id=command.call_id)
    if row is not None:
        why = "unknown", "the hub stopped before it knew what became of the call; it may have happened"
        await _closed(tx, row, CallState.UNKNOWN, why)


async def _refuse(tx: Tx, row: Row, why: tuple[str, str]) -> None:
    await _closed(tx, row, CallState.REFUSED, why)


async def _closed(tx: Tx, row: Row, state: CallState, why: tuple[str, str]) -> None:
    error = {"reason_code": why[0], "message": why[1]}
    await tx.run(_CLOSE, p_call_id=row.id, p_state=state.value, p_error=error, p_now=tx.now)
    call = replace(record_of(row), state=state, error=error, finished_at=tx.now)
    await tell_call(tx, call)
    tx.wake(topic(call.id))
