"""One renewal at a time, across all replicas.

Whoever takes the lease renews; everybody else waits for the new revision. A refresh token that rotates is
thereby never sent twice while its holder lives. The lease is longer than the call may take.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.mcp_oauth.connection_records import P_SERVER, Connection, Granted, connection_row, read, told
from core.mcp_oauth.connections import connect
from core.mcp_oauth.opened import OpenConnection, opened
from core.store.statement import Statement
from core.store.tables.mcp_registry import mcp_oauth_connection as connection
from core.store.tx import Tx
from core.store.types import Id, Instant
from schemas.oauth import ConnectionState

LEASE: Final = timedelta(seconds=30)


@dataclass(frozen=True)
class TakeRenewal:
    """Ask to renew the credential of that revision."""

    server_id: UUID
    revision: int


@dataclass(frozen=True)
class Renewal:
    """The right to renew, for as long as the lease lasts."""

    lease_id: UUID
    opened: OpenConnection


@dataclass(frozen=True)
class Renewed:
    """What came of it."""

    server_id: UUID
    lease_id: UUID
    granted: Granted = field(repr=False)
    scope: str | None = None
    """What was asked for, in case that the server does not say what it granted."""


@dataclass(frozen=True)
class GiveBack:
    """Nothing came of it, and somebody else may try."""

    server_id: UUID
    lease_id: UUID


_c = connection.c
_NOW = sa.bindparam("p_now", type_=Instant())
_LEASE = sa.bindparam("p_lease", type_=Id())
_MINE = sa.and_(_c.server_id == P_SERVER, access.within_tenant(connection))
_TAKE = Statement(
    sa.update(connection)
    .where(
        _MINE,
        _c.revision == sa.bindparam("p_revision", type_=sa.Integer()),
        _c.state == ConnectionState.CONNECTED.value,
        sa.or_(_c.lease_until.is_(None), _c.lease_until <= _NOW),
    )
    .values(lease_id=_LEASE, lease_until=sa.bindparam("p_until", type_=Instant()))
)
_HELD = Statement(sa.select(_c.server_id).where(_MINE, _c.lease_id == _LEASE))
_GIVE_BACK = Statement(
    sa.update(connection)
    .where(_MINE, _c.lease_id == _LEASE)
    .values(lease_id=sa.null(), lease_until=sa.null())
)


async def take_renewal(tx: Tx, command: TakeRenewal) -> Renewal | None:
    """The right to renew, or None: somebody else has it, or has done it, or there is nothing to renew."""
    lease_id = tx.new_id()
    taken = await tx.run(
        _TAKE,
        p_server_id=command.server_id,
        p_revision=command.revision,
        p_lease=lease_id,
        p_until=tx.now + LEASE,
        p_now=tx.now,
    )
    if not taken:
        return None
    return Renewal(lease_id, await opened(tx, await connection_row(tx, command.server_id)))


async def renewed(tx: Tx, command: Renewed) -> Connection:
    """Take the new credential over; where the lease was lost, nothing changes.

    Raises:
        NotFound: the connection is gone.
    """
    if await tx.one(_HELD, p_server_id=command.server_id, p_lease=command.lease_id) is not None:
        row = await connection_row(tx, command.server_id)
        scope = command.scope or row.scope
        await connect(tx, command.server_id, command.granted, keeps=row.refresh_token, scope=scope)
        told(tx, command.server_id, "renewed")
    return read(tx, await connection_row(tx, command.server_id))


async def give_back(tx: Tx, command: GiveBack) -> None:
    """Let somebody else try at once."""
    if await tx.run(_GIVE_BACK, p_server_id=command.server_id, p_lease=command.lease_id):
        tx.wake(f"mcp-oauth:{command.server_id}")
