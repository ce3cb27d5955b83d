"""A connection with everything that a request to the authorization server needs, secrets included.

What comes from here goes into requests and nowhere else: none of it shows itself.
"""

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from core.mcp_oauth.connection_records import (
    Connection,
    ServerId,
    connection_row,
    open_column,
    read,
    secrets_place,
)
from core.mcp_oauth.definition import NO_SECRETS, Definition, Secrets, open_secrets
from core.mcp_oauth.profiles import open_profile
from core.store.statement import Row
from core.store.tx import Tx


@dataclass(frozen=True)
class OpenConnection:
    """What is needed to get a token, or to use it."""

    connection: Connection
    definition: Definition
    """Completed by the profile."""
    secrets: Secrets = field(repr=False)
    client_secret: str | None = field(repr=False)
    """Of the client that was registered."""
    access_token: str | None = field(repr=False)
    refresh_token: str | None = field(repr=False)
    discovered: dict[str, Any] | None


async def open_connection(tx: Tx, query: ServerId) -> OpenConnection:
    """A connection, opened.

    Raises:
        NotFound: no such connection.
        Unsealable: a secret cannot be opened any more.
    """
    return await opened(tx, await connection_row(tx, query.server_id))


async def opened(tx: Tx, row: Row) -> OpenConnection:
    """The same from its row."""
    connection = read(tx, row)
    secrets = open_secrets(tx, row.secrets, secrets_place(row.tenant_id, row.server_id))
    definition, profiled = await _profile(tx, connection.definition, row.profile_id)
    return OpenConnection(
        connection=connection,
        definition=definition,
        secrets=secrets.over(profiled),
        client_secret=open_column(tx, row, "client_secret"),
        access_token=open_column(tx, row, "access_token"),
        refresh_token=open_column(tx, row, "refresh_token"),
        discovered=row.discovered,
    )


async def _profile(tx: Tx, definition: Definition, profile_id: UUID | None) -> tuple[Definition, Secrets]:
    if profile_id is None:
        return definition, NO_SECRETS
    found = await open_profile(tx, profile_id)
    return definition.over(found.definition), found.secrets
