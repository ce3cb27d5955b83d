"""What of which servers is there for a caller: the registry's snapshots, seen through its grants.

A server of which nothing is granted does not exist, and neither does a tool that is denied, quarantined or
gone. What is shown is the definition that was approved.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.errors import NotFound
from core.gateway import policy
from core.gateway.calls import rules
from core.gateway.policy import Rule
from core.mcp.records import Item, ItemsOf, McpServer, items_of
from core.mcp.words import ItemKind, ItemState
from core.store.statement import Statement
from core.store.tables.mcp_registry import mcp_item, mcp_server
from core.store.tx import Tx
from core.store.types import Id

_s, _i = mcp_server.c, mcp_item.c
_COLUMNS: Final = [column for column in _s if column.name != "document"]
_BY_SLUG = Statement(
    sa.select(*_COLUMNS).where(
        _s.slug == sa.bindparam("p_slug", type_=sa.String()),
        access.within_tenant(mcp_server),
        _s.is_archived == sa.false(),
    )
)
_BY_IDS = Statement(
    sa.select(*_COLUMNS)
    .where(
        _s.id.in_(sa.bindparam("p_ids", type_=Id(), expanding=True)),
        access.within_tenant(mcp_server),
        _s.is_archived == sa.false(),
    )
    .order_by(_s.slug)
)
_ITEM = Statement(
    sa.select(*_i).where(
        _i.server_id == sa.bindparam("p_server_id", type_=Id()),
        _i.kind == sa.bindparam("p_kind", type_=sa.String()),
        _i.name == sa.bindparam("p_name", type_=sa.String()),
        _i.state == sa.literal_column(f"'{ItemState.ACTIVE.value}'"),
        access.within_tenant(mcp_item),
    )
)


@dataclass(frozen=True)
class Reached:
    """A server, and the caller's grants of it."""

    server: McpServer
    rules: Sequence[Rule]
    instructions: str | None = None
    """What it tells models about itself, as approved; where one server was asked for."""

    def offers(self, tool: str) -> bool:
        """Whether the caller may see a tool of that name, should there be one."""
        return policy.offered(self.rules, self.server.id, tool)


@dataclass(frozen=True)
class Named:
    """One thing that a server offers."""

    server_id: UUID
    kind: ItemKind
    name: str


async def reach(tx: Tx, slug: str) -> Reached:
    """A server of which something is the caller's.

    Raises:
        NotFound: there is none; which of the reasons it is, is not told.
        Conflict: the lease of the task's token has ended.
    """
    row = await tx.one(_BY_SLUG, p_slug=slug)
    found = [] if row is None else await rules(tx, row.id)
    if row is None or not policy.reaches(found, row.id):
        raise NotFound("No such MCP server, or not yours to use.")
    told = await items_of(tx, ItemsOf(row.id, (ItemKind.INSTRUCTIONS,)))
    approved = told[0].approved if told else None
    return Reached(McpServer.of(row), found, None if approved is None else str(approved.get("text", "")))


async def reach_all(tx: Tx, _: None) -> Sequence[Reached]:
    """Every server of which something is the caller's, by slug.

    Raises:
        Conflict: the lease of the task's token has ended.
    """
    found = await rules(tx)
    ids = sorted({rule.server_id for rule in found if policy.reaches(found, rule.server_id)})
    if not ids:
        return []
    rows = await tx.all(_BY_IDS, p_ids=ids)
    return [Reached(McpServer.of(row), [r for r in found if r.server_id == row.id]) for row in rows]


async def offered(tx: Tx, wanted: tuple[Reached, ItemKind]) -> Sequence[Item]:
    """What a server offers of one kind to the caller, in the server's own order."""
    reached, kind = wanted
    items = await items_of(tx, ItemsOf(reached.server.id, (kind,)))
    return [item for item in items if kind is not ItemKind.TOOL or reached.offers(item.name)]


async def find_item(tx: Tx, named: Named) -> Item | None:
    """One thing that a server offers now, if it does. Whether it is the caller's is for grants to say."""
    row = await tx.one(_ITEM, p_server_id=named.server_id, p_kind=named.kind.value, p_name=named.name)
    return None if row is None else Item.of(row)
