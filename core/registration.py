"""An agent comes with everything it needs to work: its row, its principal and a key of its own."""

from dataclasses import dataclass, field
from datetime import timedelta

import sqlalchemy as sa

from core import access
from core.agents import Agent, AgentId, RegisterAgent, add_agent, get_agent, register, remove_agent
from core.auth import issue_key, revoke_all
from core.errors import Conflict
from core.principals import OwnerType, ensure_principal
from core.store import tables as t
from core.store.statement import Statement
from core.store.tx import Tx
from core.store.types import Id
from schemas.vocabulary import Scope

KEY_LIFE = timedelta(days=365)
_REMOTE = Statement(
    sa.select(t.remote_agent.c.id).where(
        t.remote_agent.c.id == sa.bindparam("p_agent_id", type_=Id()), access.within_tenant(t.remote_agent)
    )
)


@dataclass(frozen=True)
class EnrolAgent:
    """Register an agent, with a key unless it will act through its worker's."""

    agent: RegisterAgent
    issue_key: bool = True


@dataclass(frozen=True)
class Enrolled:
    """The agent and its key, which is shown once; a replayed call no longer has it."""

    agent: Agent
    api_key: str | None = field(default=None, repr=False, metadata={"secret": True})


async def enrol(tx: Tx, command: EnrolAgent) -> Enrolled:
    """Register an agent whose key speaks for it alone. With a replay key, once however often it is sent.

    Raises:
        Forbidden: as `agents.register`.
    """
    return await _enrolled(tx, await register(tx, command.agent), command.issue_key)


async def enrol_for(tx: Tx, agent: RegisterAgent) -> Enrolled:
    """Add an agent to a worker that has just been made, whoever the caller is."""
    return await _enrolled(tx, await add_agent(tx, agent), True)


async def _enrolled(tx: Tx, agent: Agent, with_key: bool) -> Enrolled:
    await ensure_principal(tx, agent.tenant_id, OwnerType.AGENT, str(agent.id), agent.name, agent.id)
    if not with_key:
        return Enrolled(agent)
    label = agent.name[:255]
    key = issue_key(tx, agent.id, Scope.AGENT, label=label, expires_at=tx.now + KEY_LIFE)
    return Enrolled(agent, key.api_key)


async def dismiss(tx: Tx, command: AgentId) -> None:
    """Remove an agent that holds no work, and end its keys. What it did stays its own in the log.

    Raises:
        NotFound: no such agent.
        Conflict: it holds work, or works elsewhere and is removed with its registration there.
    """
    agent = await get_agent(tx, command)
    if await tx.one(_REMOTE, p_agent_id=agent.id) is not None:
        raise Conflict(
            "the agent works elsewhere: remove the remote agent", details={"reason_code": "remote_agent"}
        )
    if agent.leases:
        details = {"reason_code": "agent_holds_work", "active_tasks": agent.leases}
        raise Conflict("the agent holds work", details=details, hint="let it finish, or cancel its tasks")
    await remove_agent(tx, command)
    await revoke_all(tx, command.agent_id)
