"""Calls of granted tools: the decision, the record, and what becomes of one that needs leave.

A call that may change something is on record before it is sent. One that needs leave waits as a row, is found
again by the same call of the same caller, and is executed by the hub, once: the transaction that notes its
start uses its approval up. A start whose end nobody wrote down is `unknown`, and is not repeated.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from core import approvals
from core.caller import Caller
from core.errors import Conflict, TooMany
from core.fencing import P_LEASE, P_NOW, P_TASK
from core.gateway import policy
from core.gateway.grants import rules_of
from core.gateway.policy import Rule
from core.gateway.records import P_CALL, CallRecord, insert, record_of, sealed_request, tell_call
from core.lifecycle import Who, touch
from core.store import tables as t
from core.store.statement import Row, Statement
from core.store.tables import mcp_calls
from core.store.tx import Tx
from core.store.types import Id, Instant, Json
from core.transitions import Fence
from schemas.vocabulary import ApprovalKind, CallState, GrantEffect, TaskState

GRACE: Final = timedelta(seconds=30)
"""So long after its time a started call is given up, should nobody have written down its end."""
LEAVE_HOLDS: Final = timedelta(hours=24)
"""How long a call waits for leave, and leave for its call."""


@dataclass(frozen=True)
class Wanted:
    """A call of a tool. `arguments` are redacted; `whole` are all of them, as JSON text."""

    id: UUID
    server_id: UUID
    server: str
    tool: str
    definition_hash: str
    arguments: Any
    arguments_digest: str
    whole: str = field(repr=False)
    timeout_seconds: int = policy.CALL_SECONDS
    max_result_bytes: int = policy.RESULT_BYTES


@dataclass(frozen=True)
class Ended:
    """What became of a started call."""

    id: UUID
    state: CallState
    duration_ms: int
    is_error: bool | None = None
    error: Mapping[str, Any] | None = None
    result: Mapping[str, Any] | None = field(default=None, repr=False)
    """Kept for whoever asks again; only a call that waited for leave has it."""


@dataclass(frozen=True)
class Noted:
    """A whole call that has happened: of a tool that changes nothing, so that one record is enough."""

    wanted: Wanted
    ended: Ended


_c = mcp_calls.call.c
_P_STATE = sa.bindparam("p_state", type_=sa.String())
_DUE = sa.bindparam("p_due", type_=Instant())
_AGAIN = Statement(
    sa.select(mcp_calls.call)
    .where(
        _c.gate_digest == sa.bindparam("p_gate", type_=sa.String()),
        _c.collected == sa.false(),
        _c.state != sa.literal_column("'refused'"),
        # Leave is asked for anew in each attempt; what an earlier one has started is not started again.
        sa.or_(
            _c.state != sa.literal_column("'awaiting_approval'"),
            _c.lease_id.is_not_distinct_from(sa.bindparam("p_lease_id", type_=Id())),
        ),
    )
    .order_by(_c.id.desc())
    .limit(sa.literal_column("1"))
)
_RATE = Statement(
    sa.select(sa.func.count().label("n")).where(
        _c.grant_id == sa.bindparam("p_grant", type_=Id()),
        _c.principal_id == sa.bindparam("caller_principal", type_=Id()),
        _c.requested_at > sa.bindparam("p_since", type_=Instant()),
    )
)
_END = Statement(
    sa.update(mcp_calls.call)
    .where(_c.id == P_CALL, _c.state.in_([sa.literal_column("'started'"), sa.literal_column("'unknown'")]))
    .values(
        state=_P_STATE,
        is_error=sa.bindparam("p_is_error", type_=sa.Boolean()),
        error=sa.bindparam("p_error", type_=Json()),
        result=sa.bindparam("p_result", type_=Json()),
        duration_ms=sa.bindparam("p_duration", type_=sa.Integer()),
        sealed_request=None,
        finished_at=P_NOW,
        due_at=None,
    )
    .returning(*_c)
)
_COLLECT = Statement(sa.update(mcp_calls.call).where(_c.id == P_CALL).values(collected=sa.true()))
_ROLE = Statement(
    sa.select(t.task.c.role, t.task.c.attempt).where(
        t.task.c.id == P_TASK,
        t.task.c.lease_id == P_LEASE,
        sa.exists().where(
            t.lease.c.task_id == t.task.c.id, t.lease.c.lease_id == P_LEASE, t.lease.c.until > P_NOW
        ),
    )
)


async def standing(tx: Tx) -> Row | None:
    """The task whose token the caller presents; None for one that presents none.

    Raises:
        Conflict: the lease of the token has ended.
    """
    caller = tx.caller
    if caller.task_id is None:
        return None
    row = await tx.one(_ROLE, p_task_id=caller.task_id, p_lease_id=caller.lease_id, p_now=tx.now)
    if row is None:
        raise Conflict("the lease of this token has ended", details={"reason_code": "lease_expired"})
    return row


async def rules(tx: Tx, server_id: UUID | None = None) -> Sequence[Rule]:
    """The grants that concern the caller, of one server or of all.

    Raises:
        Conflict: as `standing`.
    """
    task = await standing(tx)
    return await rules_of(tx, policy.subjects_of(tx.caller, None if task is None else task.role), server_id)


async def begin(tx: Tx, wanted: Wanted) -> CallRecord | None:
    """Decide about a call and put it on record; None when no such tool is the caller's.

    The record is `started` and the call may be sent, or `refused`, or `awaiting_approval`; for a call that
    was asked before and whose end has not been collected, it is that call's.

    Raises:
        TooMany: the grant allows no more calls in this minute.
        Conflict: the lease of the task's token has ended.
    """
    task = await standing(tx)
    subjects = policy.subjects_of(tx.caller, None if task is None else task.role)
    found = await rules_of(tx, subjects, wanted.server_id)
    rule = policy.choose(found, wanted.server_id, wanted.tool)
    if rule is None:
        return None
    attempt = None if task is None else task.attempt
    if rule.effect is GrantEffect.DENY:
        return await _refused(tx, wanted, attempt)
    gate = gate_digest(tx.caller, wanted) if rule.effect is GrantEffect.APPROVE else None
    if gate is not None:
        again = await tx.one(_AGAIN, p_gate=gate, p_lease_id=tx.caller.lease_id)
        if again is not None:
            return record_of(again)
    await _check_rate(tx, rule)
    timeout, most = limits(rule, wanted)
    if gate is not None:
        return await _ask(tx, wanted, rule, attempt, gate, timeout, most)
    return insert(
        tx,
        wanted,
        CallState.STARTED,
        attempt=attempt,
        grant_id=_counted(rule),
        timeout_seconds=timeout,
        max_result_bytes=most,
        started_at=tx.now,
        due_at=tx.now + timedelta(seconds=timeout) + GRACE,
    )


async def permit(tx: Tx, wanted: Wanted) -> Rule | None:
    """The grant that lets the caller make this call with one record after it; None: ask `begin`.

    Raises:
        Conflict: as `begin`.
    """
    rule = policy.choose(await rules(tx, wanted.server_id), wanted.server_id, wanted.tool)
    if rule is None or rule.effect is not GrantEffect.ALLOW or rule.calls_per_minute is not None:
        return None
    return rule


async def note(tx: Tx, noted: Noted) -> None:
    """Put a call on record that has happened."""
    wanted, ended = noted.wanted, noted.ended
    row = insert(
        tx,
        wanted,
        ended.state,
        timeout_seconds=wanted.timeout_seconds,
        max_result_bytes=wanted.max_result_bytes,
        started_at=tx.now - timedelta(milliseconds=ended.duration_ms),
        finished_at=tx.now,
        duration_ms=ended.duration_ms,
        is_error=ended.is_error,
        error=ended.error,
    )
    await tell_call(tx, row)


async def end(tx: Tx, ended: Ended) -> CallRecord | None:
    """Write down what became of a started call; None when that was known. What was given up as unknown and
    comes back after all is known again."""
    row = await tx.one(
        _END,
        p_call_id=ended.id,
        p_state=ended.state.value,
        p_is_error=ended.is_error,
        p_error=ended.error,
        p_result=ended.result,
        p_duration=ended.duration_ms,
        p_now=tx.now,
    )
    if row is None:
        return None
    record = record_of(row)
    await tell_call(tx, record)
    tx.wake(topic(record.id))
    return record


async def collect(tx: Tx, call_id: UUID) -> None:
    """Note that the end of a call was told to its caller: the same call again is a new one."""
    tx.add(_COLLECT, p_call_id=call_id)


def topic(call_id: UUID) -> str:
    """What is woken when a call that had to wait has ended."""
    return f"mcp_call:{call_id}"


def gate_digest(caller: Caller, wanted: Wanted) -> str:
    """What leave is asked for, and by what the same call is known again."""
    return policy.digest(
        {
            "tenant": str(caller.tenant_id),
            "caller": str(caller.principal_id),
            "task": caller.task_id and str(caller.task_id),
            "server": str(wanted.server_id),
            "tool": wanted.tool,
            "arguments": wanted.arguments_digest,
            "definition": wanted.definition_hash,
        }
    )


def limits(rule: Rule, wanted: Wanted) -> tuple[int, int]:
    """Seconds and bytes that a call may take: a grant may only narrow what its server is given."""
    seconds = min(wanted.timeout_seconds, rule.timeout_seconds or wanted.timeout_seconds)
    return seconds, min(wanted.max_result_bytes, rule.max_result_bytes or wanted.max_result_bytes)


async def _refused(tx: Tx, wanted: Wanted, attempt: int | None) -> CallRecord:
    record = insert(
        tx,
        wanted,
        CallState.REFUSED,
        attempt=attempt,
        timeout_seconds=wanted.timeout_seconds,
        max_result_bytes=wanted.max_result_bytes,
        finished_at=tx.now,
        error={"reason_code": "denied", "message": "a grant denies it"},
    )
    await tell_call(tx, record)
    return record


async def _ask(
    tx: Tx, wanted: Wanted, rule: Rule, attempt: int | None, gate: str, timeout: int, most: int
) -> CallRecord:
    title = f"Call {wanted.tool} on {wanted.server}?"
    subject = {
        "call_id": str(wanted.id),
        "server": wanted.server,
        "server_id": str(wanted.server_id),
        "tool": wanted.tool,
        "arguments": wanted.arguments,
        "arguments_digest": wanted.arguments_digest,
        "definition_hash": wanted.definition_hash,
    }
    until = tx.now + LEAVE_HOLDS
    if tx.caller.task_id is None:
        asked = approvals.open_apart(tx, ApprovalKind.TOOL_CALL, title, subject=subject, expires_at=until)
    else:
        row = await touch(
            tx,
            tx.caller.task_id,
            who=Who.EXECUTOR,
            states=frozenset({TaskState.CLAIMED, TaskState.IN_PROGRESS}),
            lease_id=tx.caller.lease_id,
            fence=Fence.OWN,
            doing="ask for a tool call",
            sets={"has_approvals": True},
        )
        decider = row.submitter_id if row.policy.get("submitter_decides", True) else None
        asked = await approvals.open_approval(
            tx,
            row,
            ApprovalKind.TOOL_CALL,
            title,
            subject=subject,
            expires_at=until,
            decider_id=decider,
            taken=True,
        )
    return insert(
        tx,
        wanted,
        CallState.AWAITING_APPROVAL,
        attempt=attempt,
        grant_id=_counted(rule),
        approval_id=asked.id,
        gate_digest=gate,
        sealed_request=sealed_request(tx, wanted.id, wanted.whole),
        timeout_seconds=timeout,
        max_result_bytes=most,
    )


async def _check_rate(tx: Tx, rule: Rule) -> None:
    if rule.calls_per_minute is None:
        return
    counted = await tx.one(_RATE, p_grant=rule.id, p_since=tx.now - timedelta(minutes=1))
    if counted is not None and counted.n >= rule.calls_per_minute:
        raise TooMany(
            f"this tool may be called {rule.calls_per_minute} times a minute",
            retry_after=60,
            details={"reason_code": "rate_limited"},
        )


def _counted(rule: Rule) -> UUID | None:
    return rule.id if rule.calls_per_minute is not None else None
