"""Roles: what a specialist is called, how it works, what it may use and whom it asks when it cannot go on.

A task's role is a name and needs no record here; a playbook that lists roles names only recorded ones. The
MCP servers of a role are grants to it (`core/gateway/grants.py`): what is written here stands there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.errors import Conflict, Invalid, NotFound
from core.gateway import grants
from core.store.statement import Row, Statement
from core.store.tables import workflows as w
from core.store.tx import Tx
from core.store.types import Id
from schemas.vocabulary import GrantEffect, GrantSubject


@dataclass(frozen=True)
class CreateRole:
    """A new role."""

    name: str
    description: str | None = None
    system_prompt: str | None = None
    allowed_tools: Sequence[str] = ()
    mcp_server_ids: Sequence[str] = ()
    verification_strategy: str | None = None
    escalation_target: str | None = None
    max_escalation_depth: int = 5
    is_active: bool = True


@dataclass(frozen=True)
class ChangeRole:
    """What is to be different, by column."""

    role_id: UUID
    changes: Mapping[str, Any]


@dataclass(frozen=True)
class RoleId:
    """Which role."""

    role_id: UUID


@dataclass(frozen=True)
class Role:
    """A role."""

    id: UUID
    tenant_id: UUID
    name: str
    description: str | None
    system_prompt: str | None
    allowed_tools: Sequence[str]
    mcp_server_ids: Sequence[str]
    verification_strategy: str | None
    escalation_target: str | None
    max_escalation_depth: int
    is_active: bool
    version: int
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, row: Row) -> "Role":
        """The value of a `role` row."""
        return cls(**{name: getattr(row, name) for name in cls.__dataclass_fields__})


HUMAN = "human"
"""The escalation target that is no role."""
_c = w.role.c
_MINE = access.within_tenant(w.role)
_P_ROLE = sa.bindparam("p_role_id", type_=Id())
_P_NAME = sa.bindparam("p_name", type_=sa.String())
_ONE = Statement(sa.select(*_c).where(_c.id == _P_ROLE, _MINE))
_NAMED = Statement(sa.select(*_c).where(_c.name == _P_NAME, _MINE))
_ALL = Statement(sa.select(*_c).where(_MINE).order_by(_c.name))
_ACTIVE = Statement(sa.select(_c.name).where(_MINE, _c.is_active))
_INSERT = Statement(sa.insert(w.role))
_DELETE = Statement(sa.delete(w.role).where(_c.id == _P_ROLE, _MINE))


async def create_role(tx: Tx, command: CreateRole) -> Role:
    """Make a role.

    Raises:
        Conflict: there is one with this name.
        Invalid: its escalation target is neither a role nor `human`, or there is no such MCP server.
    """
    await _check_name(tx, command.name)
    await _check_target(tx, command.escalation_target, command.name)
    columns = {**vars(command), "allowed_tools": [*command.allowed_tools]}
    columns |= {"mcp_server_ids": [*command.mcp_server_ids], "id": tx.new_id(), "version": 1}
    columns |= {"tenant_id": tx.caller.tenant_id, "created_at": tx.now, "updated_at": tx.now}
    await tx.run(_INSERT, **columns)
    await _grant(tx, command.name, command.mcp_server_ids)
    return await _told(tx, columns["id"], "role.created")


async def get_role(tx: Tx, query: RoleId) -> Role:
    """One role of the tenant.

    Raises:
        NotFound: no such role.
    """
    row = await tx.one(_ONE, p_role_id=query.role_id)
    if row is None:
        raise NotFound("no such role")
    return Role.of(row)


async def role_named(tx: Tx, name: str) -> Role | None:
    """The role of that name, if it is recorded and active."""
    row = await tx.one(_NAMED, p_name=name)
    return None if row is None or not row.is_active else Role.of(row)


async def list_roles(tx: Tx, _: None) -> Sequence[Role]:
    """The tenant's roles, by name."""
    return [Role.of(row) for row in await tx.all(_ALL)]


async def unknown_roles(tx: Tx, names: Sequence[str]) -> Sequence[str]:
    """Which of these are no active roles."""
    if not names:
        return []
    known = {row.name for row in await tx.all(_ACTIVE)}
    return [name for name in names if name not in known]


async def change_role(tx: Tx, command: ChangeRole) -> Role:
    """Change a role; its version grows.

    Raises:
        NotFound, Conflict, Invalid: as `get_role` and `create_role`.
    """
    role = await get_role(tx, RoleId(command.role_id))
    sets = dict(command.changes)
    if sets.get("name", role.name) != role.name:
        await _check_name(tx, sets["name"])
    await _check_target(tx, sets.get("escalation_target"), sets.get("name", role.name))
    await tx.run(
        sa.update(w.role).where(_c.id == role.id).values(**sets, version=role.version + 1, updated_at=tx.now)
    )
    name, servers = sets.get("name", role.name), sets.get("mcp_server_ids", role.mcp_server_ids)
    if name != role.name or [*servers] != [*role.mcp_server_ids]:
        await _take_back(tx, role)
        await _grant(tx, name, servers)
    return await _told(tx, role.id, "role.updated")


async def remove_role(tx: Tx, command: RoleId) -> None:
    """Remove a role. What was made with its name keeps the name.

    Raises:
        NotFound: no such role.
    """
    role = await get_role(tx, command)
    await _take_back(tx, role)
    await tx.run(_DELETE, p_role_id=role.id)
    data = {"role_id": str(role.id), "name": role.name}
    tx.event("role.deleted", entity_type="system", entity_id=role.id, data=data)


async def _grant(tx: Tx, name: str, servers: Sequence[str]) -> None:
    """Let the role call the tools of these servers, all of them."""
    subject = grants.Subject(GrantSubject.ROLE, name=name)
    for index, server in enumerate(servers):
        try:
            await grants.create_grant(tx, grants.CreateGrant(subject, server))
        except NotFound:
            where = {"field": f"mcp_server_ids[{index}]"}
            raise Invalid(f"there is no MCP server {server!r}", details=where) from None


async def _take_back(tx: Tx, role: Role) -> None:
    """Take back what was granted by the role's own list. Grants that were given one by one are others."""
    for server in role.mcp_server_ids:
        try:
            query = grants.ListGrants(server, GrantSubject.ROLE, role.name, per_page=1000)
            found = await grants.list_grants(tx, query)
        except NotFound:
            continue  # the server is gone, and its grants with it
        for grant in found.items:
            if grant.tool == "*" and grant.effect is GrantEffect.ALLOW:
                await grants.delete_grant(tx, grants.GrantId(grant.id))


async def _check_name(tx: Tx, name: str) -> None:
    if name == HUMAN:
        raise Conflict("`human` is what escalations to people are called", details={"field": "name"})
    if await tx.one(_NAMED, p_name=name) is not None:
        raise Conflict("there is a role with this name", details={"reason_code": "name_taken"})


async def _check_target(tx: Tx, target: str | None, own: str) -> None:
    if target in (None, HUMAN, own) or await tx.one(_NAMED, p_name=target) is not None:
        return
    raise Invalid(
        f"there is no role {target!r} to escalate to; `human` means people",
        details={"field": "escalation_target"},
    )


async def _told(tx: Tx, role_id: UUID, kind: str) -> Role:
    role = await get_role(tx, RoleId(role_id))
    data = {"role_id": str(role.id), "name": role.name, "version": role.version}
    tx.event(kind, entity_type="system", entity_id=role.id, data=data)
    return role
