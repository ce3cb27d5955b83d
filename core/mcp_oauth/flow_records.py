"""What is kept about the ways to tokens, and how it is read. `flows.py` moves them."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from pydantic_core import from_json, to_json

from core import access
from core.errors import NotFound
from core.mcp_oauth.connection_records import P_SERVER, ServerId
from core.push import Seals
from core.sealing import Place
from core.store.statement import Row, Statement
from core.store.tables.mcp_registry import mcp_oauth_flow as flow
from core.store.tx import Tx
from core.store.types import Id, Instant
from schemas.oauth import FlowKind, FlowState, GrantType

LASTS: Final = timedelta(minutes=10)
"""How long a person has, where the authorization server does not say."""
LEASE: Final = timedelta(seconds=60)
CHANGED: Final = "mcp-oauth-flows"
"""The topic that is woken when a flow has something to be done."""
KINDS: Final[Mapping[GrantType, FlowKind]] = {
    GrantType.AUTHORIZATION_CODE: FlowKind.BROWSER,
    GrantType.DEVICE_AUTHORIZATION: FlowKind.DEVICE,
    GrantType.CLIENT_CREDENTIALS: FlowKind.DIRECT,
    GrantType.ENTERPRISE_MANAGED_AUTHORIZATION: FlowKind.DIRECT,
}


@dataclass(frozen=True)
class Flow:
    """A flow as whoever began it sees it."""

    id: UUID
    tenant_id: UUID
    server_id: UUID
    principal_id: UUID
    kind: FlowKind
    state: FlowState
    error: str | None
    context: Mapping[str, Any]
    tries: int
    due_at: datetime
    expires_at: datetime
    created_at: datetime
    shown: Mapping[str, Any] | None = field(default=None, repr=False, metadata={"secret": True})
    """What the person needs: where to go, and the code to enter there."""


@dataclass(frozen=True)
class FlowId:
    """Which flow."""

    flow_id: UUID


_f = flow.c
FLOW_ID = sa.bindparam("p_id", type_=Id())
NOW = sa.bindparam("p_now", type_=Instant())
_OPEN = [state.value for state in FlowState if not state.final]
IS_OPEN = _f.state.in_(_OPEN)
_ONE = Statement(sa.select(flow).where(_f.id == FLOW_ID, access.within_tenant(flow)))
_LATEST = Statement(
    sa.select(flow)
    .where(_f.server_id == P_SERVER, access.within_tenant(flow))
    .order_by(_f.id.desc())
    .limit(1)
)
_DUE = Statement(
    sa.select(_f.tenant_id, _f.id)
    .where(IS_OPEN, _f.due_at <= NOW)
    .order_by(_f.due_at)
    .limit(sa.bindparam("p_limit", type_=sa.Integer()))
)
_NEXT = Statement(sa.select(sa.func.min(_f.due_at).label("at")).where(IS_OPEN))


async def get_flow(tx: Tx, query: FlowId) -> Flow:
    """One flow of the tenant.

    Raises:
        NotFound: no such flow.
    """
    return read_flow(tx, await flow_row(tx, query.flow_id))


async def latest_flow(tx: Tx, query: ServerId) -> Flow | None:
    """The newest flow of a server."""
    row = await tx.one(_LATEST, p_server_id=query.server_id)
    return None if row is None else read_flow(tx, row)


@dataclass(frozen=True)
class DueFlows:
    """What is to be looked at though nobody asks, and when the next one will be."""

    flows: Sequence[tuple[UUID, UUID]]
    next_at: datetime | None


async def due_flows(tx: Tx, limit: int) -> DueFlows:
    """The open flows of every tenant that are due."""
    rows = await tx.all(_DUE, p_now=tx.now, p_limit=limit)
    soonest = await tx.one(_NEXT)
    return DueFlows([(row.tenant_id, row.id) for row in rows], soonest.at if soonest else None)


def hashed(state: str) -> str:
    """What is kept of a `state`."""
    return hashlib.sha256(state.encode()).hexdigest()


def read_flow(tx: Tx, row: Row) -> Flow:
    state = FlowState(row.state)
    return Flow(
        id=row.id,
        tenant_id=row.tenant_id,
        server_id=row.server_id,
        principal_id=row.principal_id,
        kind=FlowKind(row.kind),
        state=state,
        error=row.error,
        context=row.context,
        tries=row.tries,
        due_at=row.due_at,
        expires_at=row.expires_at,
        created_at=row.created_at,
        shown=open_flow_secrets(tx, row).get("shown") if state is FlowState.WAITING else None,
    )


async def flow_row(tx: Tx, flow_id: UUID) -> Row:
    row = await tx.one(_ONE, p_id=flow_id)
    if row is None:
        raise NotFound("no such authorization")
    return row


def _place(tenant_id: UUID, flow_id: UUID) -> Place:
    return Place(tenant_id, flow.name, flow_id, "secrets")


def open_flow_secrets(tx: Tx, row: Row) -> dict[str, Any]:
    if row.secrets is None:
        return {}
    text = tx.memory(Seals).sealer.open(row.secrets, _place(row.tenant_id, row.id)).reveal()
    opened: dict[str, Any] = from_json(text)
    return opened


def seal_flow_secrets(tx: Tx, tenant_id: UUID, flow_id: UUID, secrets: Mapping[str, Any]) -> str:
    return tx.memory(Seals).sealer.seal(to_json(dict(secrets)).decode(), _place(tenant_id, flow_id))
