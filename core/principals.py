"""Who acts. Keys belong to a principal, so that a new key sees what the old one made."""

from enum import StrEnum
from uuid import UUID

import sqlalchemy as sa

from core.store import tables as t
from core.store.statement import Statement, insert
from core.store.tx import Tx
from core.store.types import Id


class OwnerType(StrEnum):
    """What kind of owner a principal has."""

    USER = "user"
    """Somebody outside: a person, or a program that submits work. Its owner id is free text."""
    AGENT = "agent"
    """An agent; principal and agent have one id."""
    WORKER = "worker"
    """A worker; principal and worker have one id."""
    SYSTEM = "system"
    """The hub's operation."""
    SERVICE = "service"
    """A program that operates the hub."""


_INSERT = insert(t.principal)
ENSURE = Statement(
    _INSERT.on_conflict_do_update(
        index_elements=["tenant_id", "owner_type", "owner_id"],
        set_={"owner_id": _INSERT.excluded.owner_id},  # changes nothing, and so returns the row that is there
    ).returning(t.principal.c.id)
)
FIND = Statement(
    sa.select(t.principal.c.id).where(
        t.principal.c.tenant_id == sa.bindparam("p_tenant", type_=Id()),
        t.principal.c.owner_type == sa.bindparam("p_owner_type"),
        t.principal.c.owner_id == sa.bindparam("p_owner_id"),
    )
)


async def ensure_principal(
    tx: Tx, tenant_id: UUID, owner_type: OwnerType, owner_id: str, name: str, id: UUID | None = None
) -> UUID:
    """The id of the principal with this owner, which is made if need be; the same owner, the same principal.

    Raises:
        Conflict: `id` is taken by another owner.
    """
    row = await tx.one(
        ENSURE,
        id=tx.new_id() if id is None else id,
        tenant_id=tenant_id,
        owner_type=owner_type.value,
        owner_id=owner_id,
        name=name,
        created_at=tx.now,
    )
    if row is None:
        raise RuntimeError("an upsert returned no row")
    found: UUID = row.id
    return found


async def find_principal(tx: Tx, tenant_id: UUID, owner_type: OwnerType, owner_id: str) -> UUID | None:
    """The id of the principal with this owner, or None."""
    row = await tx.one(FIND, p_tenant=tenant_id, p_owner_type=owner_type.value, p_owner_id=owner_id)
    return None if row is None else row.id
