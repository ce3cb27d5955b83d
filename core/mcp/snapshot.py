"""What a server offers, taken over from a look at it: new and changed definitions wait for approval.

A tool goes `active` → `quarantined` when its definition has changed, back to `active` when it is approved, or
when the server says again what was approved; to `gone` when it is not listed any more. What a first look
finds is approved by whoever registers the server.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.errors import Conflict, NotFound
from core.fencing import P_NOW
from core.mcp.definitions import FoundItem, differences
from core.mcp.records import (
    CHANGED,
    P_SERVER,
    Item,
    ItemsOf,
    McpServer,
    ServerId,
    get_server,
    items_of,
    row_of,
)
from core.mcp.words import ItemState, Pinning
from core.store.statement import Row, Statement
from core.store.tables.mcp_registry import mcp_item, mcp_server
from core.store.tx import Tx
from core.store.types import Id

EVERY: Final = tuple(ItemState)


@dataclass(frozen=True)
class Approval:
    """One definition that is approved: as it was read, so that nothing unread is approved with it."""

    item_id: UUID
    definition_hash: str


@dataclass(frozen=True)
class Approve:
    """Definitions of one server that may be shown and called from now on."""

    server_id: UUID
    items: Sequence[Approval]


@dataclass(frozen=True)
class Difference:
    """How one thing differs from what was approved: `new`, `changed` or `gone`, and at which pointers."""

    item: Item
    change: str
    paths: Sequence[str]


@dataclass(frozen=True)
class Drift:
    """How a server differs from what was approved."""

    server: McpServer
    differences: Sequence[Difference]


_i = mcp_item.c
_WRITTEN = (
    "position", "state", "definition", "definition_hash", "approved", "approved_hash", "approved_at",
    "approved_by", "flags", "seen_at",
)  # fmt: skip
_INSERT = Statement(sa.insert(mcp_item))
_UPDATE = Statement(
    sa.update(mcp_item)
    .where(_i.id == sa.bindparam("p_item_id", type_=Id()), access.within_tenant(mcp_item))
    .values({name: sa.bindparam(f"p_{name}", type_=_i[name].type) for name in _WRITTEN})
)
_APPROVE = Statement(
    sa.update(mcp_item)
    .where(_i.id == sa.bindparam("p_item_id", type_=Id()), access.within_tenant(mcp_item))
    .values(
        state=ItemState.ACTIVE.value,
        approved=_i.definition,
        approved_hash=_i.definition_hash,
        approved_at=P_NOW,
        approved_by=sa.bindparam("p_by", type_=Id()),
    )
)
_DELETE = Statement(sa.delete(mcp_item).where(_i.server_id == P_SERVER, access.within_tenant(mcp_item)))
_REVISED = Statement(
    sa.update(mcp_server)
    .where(mcp_server.c.id == P_SERVER, access.within_tenant(mcp_server))
    .values(revision=mcp_server.c.revision + 1, updated_at=P_NOW)
)


async def take_over(
    tx: Tx, server_id: UUID, found: Sequence[FoundItem], pinning: Pinning, *, first: bool
) -> Mapping[str, list[str]]:
    """Put what was found beside what is approved.

    Tells what became `active`, `quarantined` and `gone`, and under `said` what only says something else.
    """
    known = {(one.kind, one.name): one for one in await items_of(tx, ItemsOf(server_id, states=EVERY))}
    moved: dict[str, list[str]] = {**{state.value: [] for state in ItemState}, "said": []}
    for position, item in enumerate(found):
        before = known.pop((item.kind, item.name), None)
        columns = _columns(tx, item, before, pinning, first=first) | {"position": position}
        if before is None:
            tx.add(
                _INSERT,
                id=tx.new_id(),
                tenant_id=tx.caller.tenant_id,
                server_id=server_id,
                kind=item.kind.value,
                name=item.name,
                **columns,
            )
        else:
            tx.add(_UPDATE, p_item_id=before.id, **{f"p_{name}": columns[name] for name in _WRITTEN})
        if before is None or before.state.value != columns["state"]:
            moved[columns["state"]].append(f"{item.kind} {item.name}")
        elif columns["definition"] != before.definition:
            moved["said"].append(f"{item.kind} {item.name}")
    for lost in known.values():
        if lost.state is not ItemState.GONE:
            moved[ItemState.GONE.value].append(f"{lost.kind} {lost.name}")
            columns = {name: getattr(lost, name) for name in _WRITTEN if name not in ("state", "position")}
            columns |= {"state": ItemState.GONE.value, "position": len(found)}
            tx.add(_UPDATE, p_item_id=lost.id, **{f"p_{name}": columns[name] for name in _WRITTEN})
    await tx.flush()
    return moved


async def drop_items(tx: Tx, server_id: UUID) -> None:
    """Forget all that a server offered."""
    await tx.run(_DELETE, p_server_id=server_id)


async def approve(tx: Tx, command: Approve) -> Drift:
    """Approve definitions, each as it was read. All of them, or none. Repeating it changes nothing.

    Raises:
        NotFound: no such server, or it does not offer one of them.
        Conflict: a definition has changed since it was read.
    """
    row = await row_of(tx, command.server_id)
    known = {one.id: one for one in await items_of(tx, ItemsOf(row.id, states=EVERY))}
    approved = []
    for wanted in command.items:
        item = known.get(wanted.item_id)
        if item is None or item.state is ItemState.GONE:
            raise NotFound("the server offers no such thing")
        if item.definition_hash != wanted.definition_hash:
            raise Conflict(
                f"{item.kind} {item.name} has changed again: read it before you approve it",
                details={"reason_code": "definition_changed", "definition_hash": item.definition_hash},
            )
        if item.state is ItemState.QUARANTINED:
            approved.append(item)
    for item in approved:
        tx.add(_APPROVE, p_item_id=item.id, p_by=tx.caller.principal_id, p_now=tx.now)
        _told(tx, row, item)
    if approved:
        tx.add(_REVISED, p_server_id=row.id, p_now=tx.now)
        tx.wake(CHANGED)
    await tx.flush()
    return await drift(tx, ServerId(row.id))


async def drift(tx: Tx, query: ServerId) -> Drift:
    """How a server differs from what was approved.

    Raises:
        NotFound: no such server.
    """
    server = await get_server(tx, query)
    others = (ItemState.QUARANTINED, ItemState.GONE)
    found = [_difference(item) for item in await items_of(tx, ItemsOf(server.id, states=others))]
    return Drift(server, found)


def _difference(item: Item) -> Difference:
    if item.state is ItemState.GONE:
        return Difference(item, "gone", [])
    if item.approved is None:
        return Difference(item, "new", [])
    return Difference(item, "changed", differences(dict(item.approved), dict(item.definition)))


def _columns(
    tx: Tx, item: FoundItem, before: Item | None, pinning: Pinning, *, first: bool
) -> dict[str, Any]:
    digest = item.hash
    same = before is not None and before.definition_hash == digest
    approved_hash = None if before is None else before.approved_hash
    columns: dict[str, Any] = {
        "definition": dict(item.definition),
        "definition_hash": digest,
        "flags": item.flags,
        "seen_at": before.seen_at if same and before is not None else tx.now,
        "approved": None if before is None else before.approved,
        "approved_hash": approved_hash,
        "approved_at": None if before is None else before.approved_at,
        "approved_by": None if before is None else before.approved_by,
        "state": ItemState.ACTIVE.value,
    }
    if digest == approved_hash:
        return columns | {"approved": dict(item.definition)}
    taken = first or not item.kind.pinned or pinning is Pinning.OFF
    if taken or (pinning is Pinning.CHANGES and approved_hash is None):
        columns |= {"approved": dict(item.definition), "approved_hash": digest, "approved_at": tx.now}
        return columns | {"approved_by": tx.caller.principal_id}
    return columns | {"state": ItemState.QUARANTINED.value}


def _told(tx: Tx, row: Row, item: Item) -> None:
    tx.event(
        "mcp_server.definition_approved",
        entity_type="mcp_server",
        entity_id=row.id,
        data={
            "server_id": str(row.id),
            "slug": row.slug,
            "kind": item.kind.value,
            "name": item.name,
            "definition_hash": item.definition_hash,
        },
    )
