"""A row of the registry, for tests that need no server behind it."""

from typing import Any
from uuid import UUID

import sqlalchemy as sa

from core.store.tables import mcp_registry
from core.store.tx import Tx


async def add_server(tx: Tx, id: UUID, slug: str, **more: Any) -> None:
    """Write a verified server."""
    said = {"id": id, "tenant_id": tx.caller.tenant_id, "slug": slug, "name": slug, "kind": "mcp"}
    said |= {"endpoint_url": "https://mcp.example.com", "transport_preference": "auto"}
    said |= {"call_timeout_seconds": 300, "auth_mode": "none", "pinning": "strict"}
    said |= {"verification_status": "verified", "health": "ok", "health_at": tx.now}
    said |= {"created_at": tx.now, "updated_at": tx.now, "registered_by": tx.caller.principal_id}
    columns = mcp_registry.mcp_server.columns
    await tx.run(sa.insert(mcp_registry.mcp_server), **{c.name: _value(c, {**said, **more}) for c in columns})


def _value(column: sa.Column[Any], said: dict[str, Any]) -> Any:
    if column.name in said:
        return said[column.name]
    if column.default is not None:
        return getattr(column.default, "arg", None)
    if column.nullable:
        return None
    return [] if column.name in ("versions", "warnings") else {}
