"""What is kept about the credentials that the hub has for MCP servers, and how it is read.

`connections.py` changes it. What a reader gets has no secret in it.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.errors import NotFound
from core.mcp_oauth.definition import Definition, open_secrets
from core.push import Seals
from core.sealing import Place
from core.store.statement import Row, Statement
from core.store.tables.mcp_registry import mcp_oauth_connection as connection
from core.store.tx import Tx
from core.store.types import Id
from schemas.oauth import ConnectionState

LONGEST: Final = 10 * 365 * 86_400
"""No token is believed to live longer than ten years."""


def topic(server_id: UUID) -> str:
    """What is woken when the connection of a server has changed."""
    return f"mcp-oauth:{server_id}"


@dataclass(frozen=True)
class Granted:
    """What a token endpoint gave."""

    access_token: str = field(repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    expires_in: float | None = None
    scope: str | None = None


@dataclass(frozen=True)
class Client:
    """How the hub is known to one authorization server. Its secret is kept beside it."""

    issuer: str
    client_id: str
    strategy: str
    auth_method: str
    redirect_uri: str | None = None

    @classmethod
    def of(cls, kept: dict[str, Any] | None) -> "Client | None":
        """As it was kept."""
        return None if kept is None else cls(**kept)


@dataclass(frozen=True)
class Connection:
    """A connection as its readers see it: without any secret."""

    server_id: UUID
    tenant_id: UUID
    endpoint_url: str
    definition: Definition
    profile_id: UUID | None
    has_client_secret: bool
    has_private_key: bool
    state: ConnectionState
    error: str | None
    issuer: str | None
    client: Client | None
    scope: str | None
    wanted_scope: str | None
    expires_at: datetime | None
    renew_at: datetime | None
    renewable: bool
    """Whether it can be renewed without a person."""
    authorized_at: datetime | None
    authorized_by: UUID | None
    revision: int


@dataclass(frozen=True)
class ServerId:
    """Which MCP server."""

    server_id: UUID


_c = connection.c
P_SERVER = sa.bindparam("p_server_id", type_=Id())
MINE = sa.and_(_c.server_id == P_SERVER, access.within_tenant(connection))
ONE = Statement(sa.select(connection).where(MINE))


async def get_connection(tx: Tx, query: ServerId) -> Connection:
    """The connection of a server.

    Raises:
        NotFound: it has none: it does not use OAuth, or is not there.
    """
    return read(tx, await connection_row(tx, query.server_id))


async def find_connection(tx: Tx, query: ServerId) -> Connection | None:
    """The connection of a server that may have none."""
    row = await tx.one(ONE, p_server_id=query.server_id)
    return None if row is None else read(tx, row)


async def connection_row(tx: Tx, server_id: UUID) -> Row:
    """The row.

    Raises:
        NotFound: no such connection.
    """
    row = await tx.one(ONE, p_server_id=server_id)
    if row is None:
        raise NotFound("this server has no OAuth connection")
    return row


def read(tx: Tx, row: Row) -> Connection:
    """A connection from its row."""
    secrets = open_secrets(tx, row.secrets, secrets_place(row.tenant_id, row.server_id))
    definition = Definition.of(row.definition)
    return Connection(
        server_id=row.server_id,
        tenant_id=row.tenant_id,
        endpoint_url=row.endpoint_url,
        definition=definition,
        profile_id=row.profile_id,
        has_client_secret=secrets.client_secret is not None,
        has_private_key=secrets.private_key is not None,
        state=ConnectionState(row.state),
        error=row.error,
        issuer=(row.discovered or {}).get("issuer"),
        client=Client.of(row.client),
        scope=row.scope,
        wanted_scope=row.wanted_scope,
        expires_at=row.expires_at,
        renew_at=row.renew_at,
        renewable=row.refresh_token is not None or not definition.grant_type.interactive,
        authorized_at=row.authorized_at,
        authorized_by=row.authorized_by,
        revision=row.revision,
    )


def secrets_place(tenant_id: UUID, server_id: UUID) -> Place:
    """Where the secrets of a definition live."""
    return Place(tenant_id, connection.name, server_id, "secrets")


def open_column(tx: Tx, row: Row, column: str) -> str | None:
    """A sealed column, opened.

    Raises:
        Unsealable: it cannot be opened any more.
    """
    sealed = getattr(row, column)
    if sealed is None:
        return None
    place = Place(row.tenant_id, connection.name, row.server_id, column)
    return tx.memory(Seals).sealer.open(sealed, place).reveal()


def told(tx: Tx, server_id: UUID, what: str, **said: Any) -> None:
    """A word in the log about a connection, and a wake-up."""
    data = {"server_id": str(server_id), **said}
    tx.event(f"mcp_server.oauth_{what}", entity_type="mcp_server", entity_id=server_id, data=data)
    tx.wake(topic(server_id))


def seal_column(tx: Tx, server_id: UUID, column: str, secret: str) -> str:
    return tx.memory(Seals).sealer.seal(
        secret, Place(tx.caller.tenant_id, connection.name, server_id, column)
    )
