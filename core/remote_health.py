"""How agents that work elsewhere are doing, as whoever calls them has found out."""

from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.fencing import P_NOW
from core.remote_records import CHANGED, P_REMOTE
from core.store import tables as t
from core.store.statement import Statement
from core.store.tx import Tx
from schemas.vocabulary import Health


@dataclass(frozen=True)
class SetHealth:
    """How a remote agent is doing now."""

    remote_agent_id: UUID
    health: Health
    error: str | None = None


_r = t.remote_agent.c
_HEALTH = Statement(
    sa.update(t.remote_agent)
    .where(
        _r.id == P_REMOTE,
        access.within_tenant(t.remote_agent),
        sa.or_(
            _r.health != sa.bindparam("p_health", type_=sa.String()),
            _r.health_error.is_distinct_from(sa.bindparam("p_error", type_=sa.String())),
        ),
    )
    .values(
        health=sa.bindparam("p_health", type_=sa.String()),
        health_error=sa.bindparam("p_error", type_=sa.String()),
        health_at=P_NOW,
    )
)


async def set_health(tx: Tx, command: SetHealth) -> bool:
    """Note how a remote agent is doing. Tells whether that is news."""
    changed = await tx.run(
        _HEALTH,
        p_remote_id=command.remote_agent_id,
        p_health=command.health.value,
        p_error=command.error,
        p_now=tx.now,
    )
    if changed:
        tx.wake(CHANGED)
        data = {"agent_id": str(command.remote_agent_id), "health": command.health.value}
        if command.error:
            data["error"] = command.error
        tx.event(
            "remote_agent.health_changed", entity_type="agent", entity_id=command.remote_agent_id, data=data
        )
    return bool(changed)
