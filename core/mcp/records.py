"""What is kept about MCP servers that the hub calls, and how it is read.

Secrets are sealed; only `open_server` opens them, for whoever makes a call. `registry.py` changes servers,
`snapshot.py` what they offer, `health.py` how they are doing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.errors import NotFound
from core.mcp.parameters import Parameter, open_values, parameters_of
from core.mcp.ports import Value
from core.mcp.words import (
    AuthMode,
    Era,
    ItemKind,
    ItemState,
    Pinning,
    ServerKind,
    TransportPreference,
    VerifiedTransport,
)
from core.store.statement import Row, Statement
from core.store.tables.mcp_registry import mcp_item, mcp_server
from core.store.tx import Tx
from core.store.types import Id
from core.tasks.read import Page
from schemas.vocabulary import Health, VerificationStatus

CHANGED: Final = "mcp-servers"
"""The topic that is woken when a server, what it offers or how it is doing has changed."""


@dataclass(frozen=True)
class ServerId:
    """Which server."""

    server_id: UUID


@dataclass(frozen=True)
class ServerSlug:
    """Which server, by its slug."""

    slug: str


@dataclass(frozen=True)
class ListServers:
    """A page of the tenant's servers, newest first."""

    page: int = 1
    per_page: int = 20
    is_archived: bool | None = None


@dataclass(frozen=True)
class ItemsOf:
    """What a server offers, of some kinds (none named: all), in some states."""

    server_id: UUID
    kinds: Sequence[ItemKind] = ()
    states: Sequence[ItemState] = (ItemState.ACTIVE,)


@dataclass(frozen=True)
class McpServer:
    """A server as its readers see it: without any secret."""

    id: UUID
    tenant_id: UUID
    slug: str
    name: str
    description: str | None
    kind: ServerKind
    endpoint_url: str
    document_url: str | None
    transport_preference: TransportPreference
    call_timeout_seconds: int
    auth_mode: AuthMode
    pinning: Pinning
    reverify_seconds: int | None
    is_archived: bool
    registered_by: UUID
    worker_id: UUID | None
    verification_status: VerificationStatus
    verification_error: str | None
    verified_at: datetime | None
    verified_transport: VerifiedTransport | None
    verified_era: Era | None
    verified_version: str | None
    versions: Sequence[str]
    capabilities: Mapping[str, Any]
    server_info: Mapping[str, Any]
    warnings: Sequence[str]
    verify_at: datetime | None
    health: Health
    health_error: str | None
    health_at: datetime
    challenge: str | None
    failures: int
    retry_at: datetime | None
    revision: int
    created_at: datetime
    updated_at: datetime
    parameters: Sequence[Parameter] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    """How many things it offers, by kind; those that it lists no longer do not count."""

    @classmethod
    def of(
        cls, row: Row, parameters: Sequence[Parameter] = (), counts: Mapping[str, int] | None = None
    ) -> "McpServer":
        """From its row."""
        plain = row.pick(_PLAIN)
        transport, era = row.verified_transport, row.verified_era
        return cls(
            **plain,
            kind=ServerKind(row.kind),
            transport_preference=TransportPreference(row.transport_preference),
            auth_mode=AuthMode(row.auth_mode),
            pinning=Pinning(row.pinning),
            verification_status=VerificationStatus(row.verification_status),
            verified_transport=None if transport is None else VerifiedTransport(transport),
            verified_era=None if era is None else Era(era),
            health=Health(row.health),
            parameters=parameters,
            counts=counts or {},
        )

    @property
    def speaks_both(self) -> bool:
        """Whether it can be spoken to in either era."""
        return self.verified_era is Era.MODERN and any(one < "2026" for one in self.versions)


_PLAIN: Final = (
    "id", "tenant_id", "slug", "name", "description", "endpoint_url", "document_url", "call_timeout_seconds",
    "reverify_seconds", "is_archived", "registered_by", "worker_id", "verification_error", "verified_at",
    "verified_version", "versions", "capabilities", "server_info", "warnings", "verify_at", "health_error",
    "health_at", "challenge", "failures", "retry_at", "revision", "created_at", "updated_at",
)  # fmt: skip


@dataclass(frozen=True)
class OpenServer:
    """A server with the values that its calls need, for whoever makes them."""

    server: McpServer
    values: Mapping[UUID, Value] = field(repr=False)
    instructions: str | None = None
    """What it tells models about itself, as approved."""
    document: Mapping[str, Any] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Item:
    """One thing that a server offers. `definition` is what it said last, `approved` what may be shown."""

    id: UUID
    server_id: UUID
    kind: ItemKind
    name: str
    state: ItemState
    definition: Mapping[str, Any]
    definition_hash: str
    approved: Mapping[str, Any] | None
    approved_hash: str | None
    approved_at: datetime | None
    approved_by: UUID | None
    flags: Sequence[str]
    seen_at: datetime

    @classmethod
    def of(cls, row: Row) -> "Item":
        """From its row."""
        plain = row.pick(_ITEM_PLAIN)
        return cls(**plain, kind=ItemKind(row.kind), state=ItemState(row.state))


_ITEM_PLAIN: Final = (
    "id", "server_id", "name", "definition", "definition_hash", "approved", "approved_hash", "approved_at",
    "approved_by", "flags", "seen_at",
)  # fmt: skip

P_SERVER = sa.bindparam("p_server_id", type_=Id())
_s, _i = mcp_server.c, mcp_item.c
_SEEN = [column for column in _s if column.name != "document"]
_ONE = Statement(sa.select(*_SEEN).where(_s.id == P_SERVER, access.within_tenant(mcp_server)))
_DOCUMENT = Statement(sa.select(_s.document).where(_s.id == P_SERVER, access.within_tenant(mcp_server)))
_BY_SLUG = Statement(
    sa.select(*_SEEN).where(
        _s.slug == sa.bindparam("p_slug", type_=sa.String()), access.within_tenant(mcp_server)
    )
)
_COUNTS = Statement(
    sa.select(_i.server_id, _i.kind, sa.func.count().label("n"))
    .where(
        _i.server_id.in_(sa.bindparam("p_server_ids", type_=Id(), expanding=True)),
        _i.state != ItemState.GONE.value,
        access.within_tenant(mcp_item),
    )
    .group_by(_i.server_id, _i.kind)
)
_ITEMS = Statement(
    sa.select(*_i)
    .where(
        _i.server_id == P_SERVER,
        _i.state.in_(sa.bindparam("p_states", expanding=True)),
        _i.kind.in_(sa.bindparam("p_kinds", expanding=True)),
        access.within_tenant(mcp_item),
    )
    .order_by(_i.kind, _i.position, _i.id)
)


async def get_server(tx: Tx, query: ServerId) -> McpServer:
    """One server of the tenant.

    Raises:
        NotFound: no such server.
    """
    return (await _completed(tx, [await row_of(tx, query.server_id)]))[0]


async def find_server(tx: Tx, query: ServerSlug) -> McpServer:
    """One server of the tenant, by its slug.

    Raises:
        NotFound: no such server.
    """
    row = await tx.one(_BY_SLUG, p_slug=query.slug)
    if row is None:
        raise NotFound("no such MCP server")
    return (await _completed(tx, [row]))[0]


async def list_servers(tx: Tx, query: ListServers) -> Page[McpServer]:
    """The tenant's servers, newest first."""
    wanted = [access.within_tenant(mcp_server)]
    if query.is_archived is not None:
        wanted.append(_s.is_archived == sa.literal(query.is_archived))
    total = await tx.one(sa.select(sa.func.count().label("n")).select_from(mcp_server).where(*wanted))
    rows = await tx.all(
        sa.select(*_SEEN)
        .where(*wanted)
        .order_by(_s.id.desc())
        .limit(query.per_page)
        .offset((query.page - 1) * query.per_page)
    )
    return Page(await _completed(tx, rows), 0 if total is None else total.n)


async def open_server(tx: Tx, query: ServerId) -> OpenServer:
    """A server with its secrets, for the call.

    Raises:
        NotFound: no such server.
        Unsealable: a secret cannot be opened any more.
    """
    server = await get_server(tx, query)
    values = await open_values(tx, server.id)
    told = await items_of(tx, ItemsOf(server.id, (ItemKind.INSTRUCTIONS,)))
    instructions = told[0].approved if told else None
    found = await tx.one(_DOCUMENT, p_server_id=server.id)
    return OpenServer(
        server,
        values,
        None if instructions is None else str(instructions["text"]),
        None if found is None else found.document,
    )


async def items_of(tx: Tx, query: ItemsOf) -> list[Item]:
    """What a server offers, in its own order. Active ones are as they were approved."""
    rows = await tx.all(
        _ITEMS,
        p_server_id=query.server_id,
        p_states=[state.value for state in query.states],
        p_kinds=[kind.value for kind in query.kinds or tuple(ItemKind)],
    )
    return [Item.of(row) for row in rows]


async def row_of(tx: Tx, server_id: UUID) -> Row:
    """The row of a server, without its document.

    Raises:
        NotFound: no such server.
    """
    row = await tx.one(_ONE, p_server_id=server_id)
    if row is None:
        raise NotFound("no such MCP server")
    return row


async def _completed(tx: Tx, rows: Sequence[Row]) -> list[McpServer]:
    ids = [row.id for row in rows]
    if not ids:
        return []
    parameters = await parameters_of(tx, ids)
    counts: dict[UUID, dict[str, int]] = {server_id: {} for server_id in ids}
    for row in await tx.all(_COUNTS, p_server_ids=ids):
        counts[row.server_id][row.kind] = row.n
    return [McpServer.of(row, parameters[row.id], counts[row.id]) for row in rows]
