"""The credential that the hub has for one MCP server, and how to get another.

A connection is for one address: with another address, client or definition it is disconnected. Tokens are
sealed for their row and column, and opened only for requests (`opened.py`); they are in no event, error or
answer.
"""

import dataclasses
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.mcp_oauth.connection_records import (
    LONGEST,
    MINE,
    ONE,
    P_SERVER,
    Client,
    Connection,
    Granted,
    ServerId,
    connection_row,
    get_connection,
    seal_column,
    secrets_place,
    told,
)
from core.mcp_oauth.definition import NO_SECRETS, Definition, Secrets, open_secrets, seal_secrets
from core.mcp_oauth.states import CONNECTION, ConnectionMove
from core.sealing import Place
from core.store.statement import Row, Statement
from core.store.tables.mcp_registry import mcp_oauth_connection as connection
from core.store.tables.mcp_registry import mcp_oauth_flow as flow
from core.store.tx import Tx
from core.store.types import Id, Instant, Json
from schemas.oauth import ConnectionState

EARLY: Final = 300.0
"""Seconds before its end in which a token is renewed; a fifth of its life, if that is shorter."""
_c = connection.c


@dataclass(frozen=True)
class Configure:
    """How the hub is to come to a token for a server. Secrets that are not given stay."""

    server_id: UUID
    endpoint_url: str
    definition: Definition
    secrets: Secrets = NO_SECRETS
    profile_id: UUID | None = None


@dataclass(frozen=True)
class Refuse:
    """The credential of that revision is not accepted any more, and cannot be renewed."""

    server_id: UUID
    revision: int
    reason: str
    wanted_scope: str | None = None


@dataclass(frozen=True)
class DisconnectAll:
    """Every server that uses a profile."""

    profile_id: UUID
    reason: str


_NOW = sa.bindparam("p_now", type_=Instant())
_TEXT = sa.String()
_INSERT = Statement(sa.insert(connection))
_NOTHING: Final = {
    name: sa.null()
    for name in (
        "access_token",
        "refresh_token",
        "expires_at",
        "renew_at",
        "scope",
        "lease_id",
        "lease_until",
    )
}
_CONFIGURE = Statement(
    sa.update(connection)
    .where(MINE)
    .values(
        endpoint_url=sa.bindparam("p_endpoint", type_=_TEXT),
        definition=sa.bindparam("p_definition", type_=Json()),
        profile_id=sa.bindparam("p_profile_id", type_=Id()),
        secrets=sa.bindparam("p_secrets", type_=_TEXT),
        updated_at=_NOW,
    )
)
_FORGET: Final = {
    **_NOTHING,
    "state": CONNECTION[ConnectionMove.DISCONNECT].target.value,
    "error": sa.bindparam("p_error", type_=_TEXT),
    "discovered": sa.null(),
    "client": sa.null(),
    "client_secret": sa.null(),
    "wanted_scope": sa.null(),
    "authorized_at": sa.null(),
    "authorized_by": sa.null(),
    "revision": _c.revision + 1,
    "updated_at": _NOW,
}
_DISCONNECT = Statement(sa.update(connection).where(MINE).values(**_FORGET))
_REFUSE = Statement(
    sa.update(connection)
    .where(
        MINE,
        _c.revision == sa.bindparam("p_revision", type_=sa.Integer()),
        _c.state.in_([state.value for state in sorted(CONNECTION[ConnectionMove.REFUSE].sources)]),
    )
    .values(
        state=CONNECTION[ConnectionMove.REFUSE].target.value,
        error=sa.bindparam("p_error", type_=_TEXT),
        wanted_scope=sa.bindparam("p_wanted", type_=_TEXT),
        lease_id=sa.null(),
        lease_until=sa.null(),
        revision=_c.revision + 1,
        updated_at=_NOW,
    )
)
_CONNECT = Statement(
    sa.update(connection)
    .where(MINE)
    .values(
        state=CONNECTION[ConnectionMove.CONNECT].target.value,
        error=sa.null(),
        access_token=sa.bindparam("p_access", type_=_TEXT),
        refresh_token=sa.bindparam("p_refresh", type_=_TEXT),
        expires_at=sa.bindparam("p_expires", type_=Instant()),
        renew_at=sa.bindparam("p_renew", type_=Instant()),
        scope=sa.bindparam("p_scope", type_=_TEXT),
        wanted_scope=sa.null(),
        lease_id=sa.null(),
        lease_until=sa.null(),
        revision=_c.revision + 1,
        updated_at=_NOW,
    )
)
_AUTHORIZE = Statement(
    sa.update(connection)
    .where(MINE)
    .values(
        discovered=sa.bindparam("p_discovered", type_=Json()),
        authorized_at=_NOW,
        authorized_by=sa.bindparam("p_by", type_=Id()),
    )
)
_KEEP_CLIENT = Statement(
    sa.update(connection)
    .where(MINE)
    .values(
        client=sa.bindparam("p_client", type_=Json()),
        client_secret=sa.bindparam("p_client_secret", type_=_TEXT),
        updated_at=_NOW,
    )
)
_REMOVE = Statement(sa.delete(connection).where(MINE))
_REMOVE_FLOWS = Statement(sa.delete(flow).where(flow.c.server_id == P_SERVER, access.within_tenant(flow)))
_OF_PROFILE = sa.and_(
    _c.profile_id == sa.bindparam("p_profile_id", type_=Id()), access.within_tenant(connection)
)
_USERS = Statement(sa.select(_c.server_id, _c.state).where(_OF_PROFILE))
_COUNT = Statement(sa.select(sa.func.count().label("n")).select_from(connection).where(_OF_PROFILE))


async def configure(tx: Tx, command: Configure) -> Connection:
    """Say how a server's token is had. Another address, client or way ends the credential that there is.

    Repeating it changes nothing. Whether the server exists is for the calling command to know.
    """
    tenant = tx.caller.tenant_id
    place = secrets_place(tenant, command.server_id)
    row = await tx.one(ONE, p_server_id=command.server_id)
    if row is None:
        await _insert(tx, command, place)
        return await get_connection(tx, ServerId(command.server_id))
    known = Definition.of(row.definition)
    moved = row.endpoint_url != command.endpoint_url
    kept = (
        NO_SECRETS if moved else open_secrets(tx, row.secrets, place)
    )  # it never follows to another address
    await tx.run(
        _CONFIGURE,
        p_server_id=command.server_id,
        p_endpoint=command.endpoint_url,
        p_definition=command.definition.kept(),
        p_profile_id=command.profile_id,
        p_secrets=seal_secrets(tx, command.secrets.over(kept), place),
        p_now=tx.now,
    )
    if moved or known != command.definition or command.secrets or row.profile_id != command.profile_id:
        await _forget(tx, row, None)
    return await get_connection(tx, ServerId(command.server_id))


async def disconnect(tx: Tx, command: ServerId) -> Connection:
    """Forget the credential and the client. Doing it again changes nothing.

    Raises:
        NotFound: no such connection.
    """
    row = await connection_row(tx, command.server_id)
    await _forget(tx, row, None)
    return await get_connection(tx, command)


async def remove_connection(tx: Tx, command: ServerId) -> None:
    """Forget everything about a server that goes away. One that has nothing is no error."""
    await tx.run(_REMOVE_FLOWS, p_server_id=command.server_id)
    await tx.run(_REMOVE, p_server_id=command.server_id)


async def refuse(tx: Tx, command: Refuse) -> Connection:
    """The credential is not accepted any more. Where another one is there by now, nothing changes.

    Raises:
        NotFound: no such connection.
    """
    refused = await tx.run(
        _REFUSE,
        p_server_id=command.server_id,
        p_revision=command.revision,
        p_error=command.reason,
        p_wanted=command.wanted_scope,
        p_now=tx.now,
    )
    if refused:
        told(tx, command.server_id, "needs_reauth", reason=command.reason)
    return await get_connection(tx, ServerId(command.server_id))


async def disconnect_all(tx: Tx, command: DisconnectAll) -> None:
    """Forget the credentials of every server that uses a profile."""
    for row in await tx.all(_USERS, p_profile_id=command.profile_id):
        await _forget(tx, row, command.reason)


async def server_count(tx: Tx, profile_id: UUID) -> int:
    """How many servers use a profile."""
    found = await tx.one(_COUNT, p_profile_id=profile_id)
    return 0 if found is None else int(found.n)


async def connect(
    tx: Tx, server_id: UUID, granted: Granted, *, keeps: str | None = None, scope: str | None = None
) -> None:
    """Take a new credential over. `keeps`: the sealed refresh token that stays when none came."""
    seconds = None if granted.expires_in is None else min(granted.expires_in, LONGEST)
    await tx.run(
        _CONNECT,
        p_server_id=server_id,
        p_access=seal_column(tx, server_id, "access_token", granted.access_token),
        p_refresh=keeps
        if granted.refresh_token is None
        else seal_column(tx, server_id, "refresh_token", granted.refresh_token),
        p_expires=None if seconds is None else tx.now + timedelta(seconds=seconds),
        p_renew=None if seconds is None else tx.now + timedelta(seconds=max(seconds - EARLY, seconds * 0.8)),
        p_scope=granted.scope or scope,
        p_now=tx.now,
    )


async def authorize(tx: Tx, server_id: UUID, discovered: dict[str, Any], principal_id: UUID) -> None:
    """Note who consented, and what the credential is for."""
    await tx.run(_AUTHORIZE, p_server_id=server_id, p_discovered=discovered, p_by=principal_id, p_now=tx.now)
    told(tx, server_id, "connected", issuer=discovered.get("issuer"))


@dataclass(frozen=True)
class KeepClient:
    """How the hub is known to an issuer from now on."""

    server_id: UUID
    client: Client
    secret: str | None = field(default=None, repr=False)
    """Only of one that was registered."""


async def keep_client(tx: Tx, command: KeepClient) -> None:
    """Remember how the hub is known to an issuer."""
    server_id, secret = command.server_id, command.secret
    await tx.run(
        _KEEP_CLIENT,
        p_server_id=server_id,
        p_client=dataclasses.asdict(command.client),
        p_client_secret=None if secret is None else seal_column(tx, server_id, "client_secret", secret),
        p_now=tx.now,
    )


async def _insert(tx: Tx, command: Configure, place: Place) -> None:
    empty = dict.fromkeys(column.name for column in _c)
    await tx.run(
        _INSERT,
        **{
            **empty,
            "server_id": command.server_id,
            "tenant_id": tx.caller.tenant_id,
            "endpoint_url": command.endpoint_url,
            "definition": command.definition.kept(),
            "profile_id": command.profile_id,
            "secrets": seal_secrets(tx, command.secrets, place),
            "state": ConnectionState.DISCONNECTED.value,
            "revision": 1,
            "created_at": tx.now,
            "updated_at": tx.now,
        },
    )


async def _forget(tx: Tx, row: Row, reason: str | None) -> None:
    await tx.run(_DISCONNECT, p_server_id=row.server_id, p_error=reason, p_now=tx.now)
    if row.state != ConnectionState.DISCONNECTED.value:
        told(tx, row.server_id, "disconnected", reason=reason)
