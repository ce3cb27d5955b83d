"""The way to a token, step by step: each step is a row's move, so that any replica goes on with it.

Whoever works on a flow holds its lease; what it found is committed with the move. The `state` that goes
through the browser is known by its hash alone, is used once, and names the one flow that it is of.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.errors import Conflict, NotFound
from core.mcp_oauth.connection_records import P_SERVER, Granted, ServerId, connection_row, told
from core.mcp_oauth.connections import authorize, connect
from core.mcp_oauth.flow_records import (
    CHANGED,
    FLOW_ID,
    IS_OPEN,
    KINDS,
    LASTS,
    LEASE,
    NOW,
    Flow,
    FlowId,
    flow_row,
    get_flow,
    hashed,
    open_flow_secrets,
    read_flow,
    seal_flow_secrets,
)
from core.mcp_oauth.opened import OpenConnection, opened
from core.mcp_oauth.states import FLOW, FlowMove
from core.store.statement import Statement
from core.store.tables.mcp_registry import mcp_oauth_flow as flow
from core.store.tx import Tx
from core.store.types import Id, Instant, Json
from schemas.oauth import FlowKind, FlowState, GrantType

_f = flow.c

MOST_TRIES: Final = 5
ITS_RECEIVER: Final = timedelta(seconds=5)
"""For so long a code is left to whoever received it, who tells the person what came of it."""


@dataclass(frozen=True)
class TakenFlow:
    """A flow under a lease, with what is needed for its next step."""

    flow: Flow
    lease_id: UUID
    secrets: Mapping[str, Any] = field(repr=False)
    opened: OpenConnection


@dataclass(frozen=True)
class Begin:
    """Begin a way to a token for a server."""

    server_id: UUID


@dataclass(frozen=True)
class Wait:
    """Everything is prepared; a person has to act."""

    flow_id: UUID
    lease_id: UUID
    context: Mapping[str, Any]
    secrets: Mapping[str, Any] = field(repr=False)
    state: str | None = field(default=None, repr=False)
    expires_in: float | None = None
    interval: float | None = None
    """Seconds until a device flow is asked about first."""


@dataclass(frozen=True)
class Received:
    """What came back through the browser."""

    state: str = field(repr=False)
    code: str | None = field(default=None, repr=False)
    error: str | None = None
    iss: str | None = None
    tenant_id: UUID | None = None
    """Whose it must be, where somebody hands it over who is known."""


@dataclass(frozen=True)
class Complete:
    """The token is here."""

    flow_id: UUID
    lease_id: UUID
    granted: Granted = field(repr=False)
    discovered: Mapping[str, Any]
    scope: str | None


@dataclass(frozen=True)
class Fail:
    """It comes to nothing. The reason may be shown."""

    flow_id: UUID
    lease_id: UUID
    reason: str


@dataclass(frozen=True)
class Later:
    """Nothing yet: look again in so many seconds. `context` replaces what was kept."""

    flow_id: UUID
    lease_id: UUID
    seconds: float
    counts: bool = True
    context: Mapping[str, Any] | None = None


_LEASE = sa.bindparam("p_lease", type_=Id())
_INSERT = Statement(sa.insert(flow))
_BY_STATE = Statement(sa.select(flow).where(_f.state_hash == sa.bindparam("p_hash", type_=sa.String())))
_TAKE = Statement(
    sa.update(flow)
    .where(
        _f.id == FLOW_ID,
        access.within_tenant(flow),
        IS_OPEN,
        sa.or_(_f.lease_until.is_(None), _f.lease_until <= NOW),
        # A browser is waited for; a device is asked about when its interval is over.
        sa.or_(
            _f.state != FlowState.WAITING.value, sa.and_(_f.kind == FlowKind.DEVICE.value, _f.due_at <= NOW)
        ),
        _f.expires_at > NOW,
    )
    .values(
        lease_id=_LEASE,
        lease_until=sa.bindparam("p_until", type_=Instant()),
        due_at=sa.bindparam("p_until", type_=Instant()),
        updated_at=NOW,
    )
)
_HELD = sa.and_(_f.id == FLOW_ID, _f.lease_id == _LEASE, access.within_tenant(flow))
_LATER = Statement(
    sa.update(flow)
    .where(_HELD, IS_OPEN)
    .values(
        lease_id=sa.null(),
        lease_until=sa.null(),
        due_at=sa.bindparam("p_due", type_=Instant()),
        tries=_f.tries + sa.bindparam("p_counts", type_=sa.Integer()),
        context=sa.bindparam("p_context", type_=Json()),
        updated_at=NOW,
    )
)
_CANCEL = Statement(
    sa.update(flow)
    .where(_f.server_id == P_SERVER, access.within_tenant(flow), IS_OPEN)
    .values(state=FLOW[FlowMove.CANCEL].target.value, secrets=sa.null(), lease_id=sa.null(), updated_at=NOW)
)


def _arc(move: FlowMove, *where: sa.ColumnElement[bool], **values: Any) -> Statement:
    arc = FLOW[move]
    sources = [state.value for state in FlowState if state in arc.sources]
    ended = {"secrets": sa.null()} if arc.target.final else {}
    return Statement(
        sa.update(flow)
        .where(*where, _f.state.in_(sources))
        .values(
            state=arc.target.value,
            lease_id=sa.null(),
            lease_until=sa.null(),
            updated_at=NOW,
            **ended,
            **values,
        )
    )


_WAIT = _arc(
    FlowMove.WAIT,
    _HELD,
    context=sa.bindparam("p_context", type_=Json()),
    secrets=sa.bindparam("p_secrets", type_=sa.String()),
    state_hash=sa.bindparam("p_hash", type_=sa.String()),
    due_at=sa.bindparam("p_due", type_=Instant()),
    expires_at=sa.bindparam("p_expires", type_=Instant()),
)
_RECEIVE = _arc(
    FlowMove.RECEIVE,
    _f.id == FLOW_ID,
    _f.expires_at > NOW,
    secrets=sa.bindparam("p_secrets", type_=sa.String()),
    due_at=sa.bindparam("p_due", type_=Instant()),
    expires_at=sa.bindparam("p_expires", type_=Instant()),
    tries=sa.literal(0),
)
_COMPLETE = _arc(FlowMove.COMPLETE, _HELD)
_FAIL = _arc(FlowMove.FAIL, _HELD, error=sa.bindparam("p_error", type_=sa.String()))
_FAIL_RECEIVED = _arc(FlowMove.FAIL, _f.id == FLOW_ID, error=sa.bindparam("p_error", type_=sa.String()))
_EXPIRE = _arc(
    FlowMove.EXPIRE, _f.id == FLOW_ID, _f.expires_at <= NOW, error=sa.literal("nobody answered in time")
)


async def begin(tx: Tx, command: Begin) -> Flow:
    """Begin a way to a token. One that was open for the same server is cancelled.

    Raises:
        NotFound: the server has no OAuth connection.
    """
    row = await connection_row(tx, command.server_id)
    await tx.run(_CANCEL, p_server_id=command.server_id, p_now=tx.now)
    new = tx.new_id()
    await tx.run(
        _INSERT,
        id=new,
        tenant_id=tx.caller.tenant_id,
        server_id=command.server_id,
        principal_id=tx.caller.principal_id,
        kind=KINDS[GrantType(row.definition["grant_type"])].value,
        state=FlowState.PREPARING.value,
        error=None,
        context={},
        secrets=None,
        state_hash=None,
        tries=0,
        lease_id=None,
        lease_until=None,
        due_at=tx.now + LEASE,
        expires_at=tx.now + LASTS,
        created_at=tx.now,
        updated_at=tx.now,
    )
    told(tx, command.server_id, "started", flow_id=str(new))
    return await get_flow(tx, FlowId(new))


async def take_flow(tx: Tx, command: FlowId) -> TakenFlow | None:
    """The right to make the next step, or None: somebody else has it, or there is nothing to do now."""
    lease_id = tx.new_id()
    taken = await tx.run(_TAKE, p_id=command.flow_id, p_lease=lease_id, p_until=tx.now + LEASE, p_now=tx.now)
    if not taken:
        await tx.run(_EXPIRE, p_id=command.flow_id, p_now=tx.now)
        return None
    row = await flow_row(tx, command.flow_id)
    connection = await opened(tx, await connection_row(tx, row.server_id))
    return TakenFlow(read_flow(tx, row), lease_id, open_flow_secrets(tx, row), connection)


async def wait(tx: Tx, command: Wait) -> Flow:
    """Hand over to a person. Where the lease was lost, nothing changes."""
    lasts = LASTS if command.expires_in is None else timedelta(seconds=min(command.expires_in, 3600))
    expires = tx.now + lasts
    await tx.run(
        _WAIT,
        p_id=command.flow_id,
        p_lease=command.lease_id,
        p_context=dict(command.context),
        p_secrets=_sealed(tx, command.flow_id, command.secrets),
        p_hash=None if command.state is None else hashed(command.state),
        p_due=expires if command.interval is None else tx.now + timedelta(seconds=command.interval),
        p_expires=expires,
        p_now=tx.now,
    )
    tx.wake(CHANGED)
    return await get_flow(tx, FlowId(command.flow_id))


async def received(tx: Tx, command: Received) -> Flow:
    """Take what came back through the browser: once, in time, and from the issuer that was asked (RFC 9207).

    Raises:
        NotFound: no flow waits for this.
    """
    row = await tx.one(_BY_STATE, p_hash=hashed(command.state))
    if row is None or row.state != FlowState.WAITING.value or row.expires_at <= tx.now:
        raise NotFound("nothing waits for this answer: it came too late, or twice")
    if command.tenant_id not in (None, row.tenant_id):
        raise NotFound("nothing waits for this answer: it came too late, or twice")
    flow_id, context = row.id, row.context
    wrong = _wrong_issuer(context, command.iss)
    if wrong is None and command.code is None:
        wrong = "consent was refused" if command.error == "access_denied" else "the server sent no code"
    if wrong is not None:
        changed = await tx.run(_FAIL_RECEIVED, p_id=flow_id, p_error=wrong, p_now=tx.now)
    else:
        secrets = {**open_flow_secrets(tx, row), "code": command.code}
        sealed = seal_flow_secrets(tx, row.tenant_id, flow_id, secrets)
        changed = await tx.run(
            _RECEIVE,
            p_id=flow_id,
            p_secrets=sealed,
            p_due=tx.now + ITS_RECEIVER,
            p_expires=tx.now + LASTS,
            p_now=tx.now,
        )
    if not changed:
        raise NotFound("nothing waits for this answer: it came too late, or twice")
    tx.wake(CHANGED)
    again = await tx.one(_BY_STATE, p_hash=hashed(command.state))
    assert again is not None, "it was just written"
    return read_flow(tx, again)


async def complete(tx: Tx, command: Complete) -> Flow:
    """Take the token over into the connection.

    Raises:
        Conflict: the lease was lost, or the flow was cancelled meanwhile; nothing of it remains.
    """
    row = await flow_row(tx, command.flow_id)
    if not await tx.run(_COMPLETE, p_id=command.flow_id, p_lease=command.lease_id, p_now=tx.now):
        raise Conflict("the flow is over", details={"reason_code": "flow_over"})
    await connect(tx, row.server_id, command.granted, scope=command.scope)
    await authorize(tx, row.server_id, dict(command.discovered), row.principal_id)
    return await get_flow(tx, FlowId(command.flow_id))


async def fail(tx: Tx, command: Fail) -> Flow:
    """End a flow. Where the lease was lost, nothing changes."""
    row = await flow_row(tx, command.flow_id)
    if await tx.run(
        _FAIL, p_id=command.flow_id, p_lease=command.lease_id, p_error=command.reason, p_now=tx.now
    ):
        told(tx, row.server_id, "failed", flow_id=str(row.id), reason=command.reason)
    return await get_flow(tx, FlowId(command.flow_id))


async def later(tx: Tx, command: Later) -> Flow:
    """Give the lease back until then; one that was tried too often fails."""
    row = await flow_row(tx, command.flow_id)
    if command.counts and row.tries + 1 >= MOST_TRIES:
        return await fail(tx, Fail(command.flow_id, command.lease_id, "the servers could not be reached"))
    await tx.run(
        _LATER,
        p_id=command.flow_id,
        p_lease=command.lease_id,
        p_due=tx.now + timedelta(seconds=command.seconds),
        p_counts=int(command.counts),
        p_context=dict(row.context if command.context is None else command.context),
        p_now=tx.now,
    )
    tx.wake(CHANGED)
    return await get_flow(tx, FlowId(command.flow_id))


async def cancel_flows(tx: Tx, command: ServerId) -> None:
    """End whatever is open for a server."""
    await tx.run(_CANCEL, p_server_id=command.server_id, p_now=tx.now)


def _wrong_issuer(context: Mapping[str, Any], iss: str | None) -> str | None:
    if iss is None:
        return "the server did not say who it is" if context.get("iss_supported") else None
    return None if iss == context.get("issuer") else "the answer is from another authorization server"


def _sealed(tx: Tx, flow_id: UUID, secrets: Mapping[str, Any]) -> str:
    return seal_flow_secrets(tx, tx.caller.tenant_id, flow_id, secrets)
