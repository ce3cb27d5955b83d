"""Who does the work: agents are registered, heard of, and fall silent.

No status decides who may write; the lease does. An agent is a principal of the same id, so that its key acts
for it and for nothing else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.errors import Forbidden, NotFound
from core.exposures import conceal_agent
from core.fencing import P_NOW
from core.store import tables as t
from core.store.statement import Row, Statement
from core.store.tables import workers
from core.store.tx import Tx
from core.store.types import Id, Instant
from core.tasks.read import Page
from schemas.vocabulary import AgentProtocol, AgentStatus, ExecutionMode, Scope

LOST_AFTER = timedelta(seconds=300)
"""Beyond two silent intervals, until an agent counts as offline."""


@dataclass(frozen=True)
class RegisterAgent:
    """A new agent. `worker_id` binds it to a worker: by default the caller, when that is one."""

    name: str
    protocol: AgentProtocol = AgentProtocol.REST
    routing_tags: Sequence[str] = ()
    execution_mode: ExecutionMode = ExecutionMode.SPECIALIST
    tools: Mapping[str, Any] = field(default_factory=dict)
    worker_id: UUID | None = None
    max_concurrent: int = 1
    heartbeat_interval_seconds: int = 60
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Agent:
    """An agent as its reader sees it."""

    id: UUID
    tenant_id: UUID
    name: str
    protocol: AgentProtocol
    execution_mode: ExecutionMode
    routing_tags: Sequence[str]
    tools: Mapping[str, Any]
    worker_id: UUID | None
    status: AgentStatus
    leases: int
    max_concurrent: int
    heartbeat_interval_seconds: int
    last_seen_at: datetime
    last_claim_at: datetime | None
    metadata: Mapping[str, Any]
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, row: Row) -> "Agent":
        """The value of an `agent` row."""
        return cls(
            row.id,
            row.tenant_id,
            row.name,
            AgentProtocol(row.protocol),
            ExecutionMode(row.execution_mode),
            row.routing_tags,
            row.tools,
            row.worker_id,
            _status(row),
            row.leases,
            row.max_concurrent,
            row.heartbeat_interval_seconds,
            row.last_seen_at,
            row.last_claim_at,
            row.attributes,
            row.created_at,
            row.updated_at,
        )


def _status(row: Row) -> AgentStatus:
    """Busy is whoever holds work and was heard of; the rest is stored."""
    stored = AgentStatus(row.status)
    resting = stored in (AgentStatus.ACTIVE, AgentStatus.IDLE)
    return AgentStatus.BUSY if resting and row.leases else stored


@dataclass(frozen=True)
class AgentId:
    """Which agent."""

    agent_id: UUID


@dataclass(frozen=True)
class ListAgents:
    """A page of the tenant's agents, newest first."""

    page: int = 1
    per_page: int = 20


@dataclass(frozen=True)
class Presence:
    """Principals that were heard of since the last time."""

    principal_ids: Sequence[UUID]


_INSERT = Statement(sa.insert(t.agent))
_P_AGENT = sa.bindparam("p_agent_id", type_=Id())
_LEASES = sa.select(sa.func.count()).where(t.lease.c.agent_id == t.agent.c.id).scalar_subquery()
_COLUMNS = (*t.agent.c, _LEASES.label("leases"))
"""An agent with the count of its live leases: counted, since a count of its own would be one more lock."""
_ONE = Statement(sa.select(*_COLUMNS).where(t.agent.c.id == _P_AGENT, access.within_tenant(t.agent)))
_ALIVE = sa.case(
    (
        t.agent.c.status.in_([sa.literal_column(f"'{s}'") for s in ("degraded", "inactive", "offline")]),
        "active",
    ),
    else_=t.agent.c.status,
)
_HEARD = Statement(
    sa.update(t.agent)
    .where(t.agent.c.id == _P_AGENT, access.within_tenant(t.agent))
    .values(last_seen_at=P_NOW, status=_ALIVE)
    .returning(*_COLUMNS)
)
_heard = t.agent.alias("heard")
# Presence holds many agents at once, as claims do, each in an order of its own: it must not wait for them.
# Whoever holds an agent's row is that agent at work, so that nothing is lost by passing over it.
_HEARD_ANYWHERE = Statement(
    sa.update(t.agent)
    .where(
        t.agent.c.id.in_(
            sa.select(_heard.c.id)
            .where(sa.or_(_heard.c.id == _P_AGENT, _heard.c.worker_id == _P_AGENT))
            .with_for_update(skip_locked=True)
        )
    )
    .values(last_seen_at=P_NOW, status=_ALIVE)
)
_worker, _known = workers.worker, workers.worker.alias("known")
_LOST: list[sa.ColumnElement[str]] = [
    sa.literal_column(f"'{s}'") for s in ("degraded", "disconnected", "offline")
]
_WORKER_HEARD = Statement(
    sa.update(_worker)
    .where(
        _worker.c.id.in_(
            sa.select(_known.c.id).where(_known.c.id == _P_AGENT).with_for_update(skip_locked=True)
        )
    )
    .values(
        last_seen_at=P_NOW,
        status=sa.case((_worker.c.status.in_(_LOST), "online"), else_=_worker.c.status),
    )
)
_WORKER = Statement(
    sa.select(t.principal.c.id).where(
        t.principal.c.id == _P_AGENT,
        t.principal.c.owner_type == sa.literal_column("'worker'"),
        access.within_tenant(t.principal),
    )
)
_DELETE = Statement(
    sa.delete(t.agent).where(t.agent.c.id == _P_AGENT, access.within_tenant(t.agent), _LEASES == 0)
)


async def register(tx: Tx, command: RegisterAgent) -> Agent:
    """Register an agent. Registering twice makes two; a replay key makes one.

    Raises:
        Forbidden: an agent key registers nothing, and a worker only its own agents.
        NotFound: there is no worker of this id.
    """
    caller = tx.caller
    if not caller.scope.includes(Scope.WORKER):
        raise Forbidden("an agent's key registers no agents: use a worker, service or admin key")
    worker_id = command.worker_id
    if caller.scope is Scope.WORKER:
        if worker_id not in (None, caller.principal_id):
            raise Forbidden("a worker registers only its own agents")
        worker_id = caller.principal_id
    elif worker_id not in (None, caller.principal_id) and not await _is_worker(tx, worker_id):
        raise NotFound("no such worker")
    return await add_agent(tx, replace(command, worker_id=worker_id))


async def add_agent(tx: Tx, command: RegisterAgent) -> Agent:
    """Register an agent on behalf of whoever may; as `register`, without its checks."""
    caller = tx.caller
    tags = sorted({*command.routing_tags})
    if command.execution_mode is not ExecutionMode.SPECIALIST:
        tags = sorted({*tags, "orchestrator"})
    agent = Agent(
        id=tx.new_id(),
        tenant_id=caller.tenant_id,
        name=command.name,
        protocol=command.protocol,
        execution_mode=command.execution_mode,
        routing_tags=tags,
        tools=dict(command.tools),
        worker_id=command.worker_id,
        status=AgentStatus.ACTIVE,
        leases=0,
        max_concurrent=command.max_concurrent,
        heartbeat_interval_seconds=command.heartbeat_interval_seconds,
        last_seen_at=tx.now,
        last_claim_at=None,
        metadata=dict(command.metadata),
        created_at=tx.now,
        updated_at=tx.now,
    )
    derived = ("metadata", "leases")
    columns = {name: getattr(agent, name) for name in agent.__dataclass_fields__ if name not in derived}
    columns |= {
        "attributes": agent.metadata,
        "protocol": agent.protocol.value,
        "execution_mode": agent.execution_mode.value,
        "status": agent.status.value,
        "registered_by": caller.principal_id,
    }
    await tx.run(_INSERT, **columns)
    _tell(tx, agent, "agent.registered")
    return agent


async def _is_worker(tx: Tx, worker_id: UUID) -> bool:
    return await tx.one(_WORKER, p_agent_id=worker_id) is not None


async def heartbeat(tx: Tx, command: AgentId) -> Agent:
    """Say that an agent is alive.

    Raises:
        NotFound: no such agent.
        Forbidden: it is neither the caller nor one of its own.
    """
    row = await tx.one(_ONE, p_agent_id=command.agent_id)
    if row is None:
        raise NotFound("no such agent")
    me = tx.caller.principal_id
    if not tx.caller.operator and me not in (row.id, row.worker_id):
        raise Forbidden("this agent is not yours")
    heard = await tx.one(_HEARD, p_agent_id=command.agent_id, p_now=tx.now)
    if heard is None:
        raise NotFound("no such agent")
    return Agent.of(heard)


async def hear(tx: Tx, command: Presence) -> None:
    """Count authenticated calls as heartbeats, for every agent and worker among the principals."""
    for principal_id in command.principal_ids:
        tx.add(_HEARD_ANYWHERE, p_agent_id=principal_id, p_now=tx.now)
        tx.add(_WORKER_HEARD, p_agent_id=principal_id, p_now=tx.now)


async def get_agent(tx: Tx, query: AgentId) -> Agent:
    """One agent of the tenant.

    Raises:
        NotFound: no such agent.
    """
    row = await tx.one(_ONE, p_agent_id=query.agent_id)
    if row is None:
        raise NotFound("no such agent")
    return Agent.of(row)


async def list_agents(tx: Tx, query: ListAgents) -> Page[Agent]:
    """The tenant's agents."""
    wanted = access.within_tenant(t.agent)
    total = await tx.one(sa.select(sa.func.count().label("n")).select_from(t.agent).where(wanted))
    rows = await tx.all(
        sa.select(*_COLUMNS)
        .where(wanted)
        .order_by(t.agent.c.id.desc())
        .limit(query.per_page)
        .offset((query.page - 1) * query.per_page)
    )
    return Page([Agent.of(row) for row in rows], 0 if total is None else total.n)


async def remove_agent(tx: Tx, command: AgentId) -> None:
    """Remove an agent that holds no work, and what it is exposed as.

    Raises:
        NotFound: no such agent, or it holds work.
    """
    if not await tx.run(_DELETE, p_agent_id=command.agent_id):
        raise NotFound("no such agent without live leases")
    await conceal_agent(tx, command.agent_id)


def _silence() -> list[Statement]:
    """`weaken`, `lapse`, `lose`: an agent's status by how long it has been silent, in that order."""
    limits = {
        AgentStatus.DEGRADED: (("active", "idle"), "p_one"),
        AgentStatus.INACTIVE: (("degraded",), "p_two"),
        AgentStatus.OFFLINE: (("inactive",), "p_lost"),
    }
    return [
        Statement(
            sa.update(t.agent)
            .where(
                t.agent.c.id == _P_AGENT,
                t.agent.c.status.in_([sa.literal_column(f"'{s}'") for s in sources]),
                t.agent.c.last_seen_at < sa.bindparam(limit, type_=Instant()),
            )
            .values(status=sa.literal(target.value))
            .returning(*_COLUMNS)
        )
        for target, (sources, limit) in limits.items()
    ]


_SILENCE = _silence()
_SILENT = Statement(
    sa.select(t.agent.c.id, t.agent.c.tenant_id, t.agent.c.heartbeat_interval_seconds)
    .where(t.agent.c.status != "offline", t.agent.c.last_seen_at < sa.bindparam("p_before", type_=Instant()))
    .order_by(t.agent.c.last_seen_at)
    .limit(sa.literal_column("500"))
)


@dataclass(frozen=True)
class SilentAgent:
    """An agent that was not heard of for a while, of some tenant."""

    tenant_id: UUID
    agent_id: UUID
    heartbeat_interval_seconds: int


async def silent_agents(tx: Tx, _: None) -> Sequence[SilentAgent]:
    """Agents whose silence may mean something, of every tenant."""
    rows = await tx.all(_SILENT, p_before=tx.now - timedelta(seconds=5))
    return [SilentAgent(row.tenant_id, row.id, row.heartbeat_interval_seconds) for row in rows]


async def weaken(tx: Tx, command: SilentAgent) -> None:
    """Let a silent agent weaken, lapse and be lost, as far as its silence reaches."""
    interval = timedelta(seconds=command.heartbeat_interval_seconds)
    limits = {
        "p_one": tx.now - interval,
        "p_two": tx.now - 2 * interval,
        "p_lost": tx.now - 2 * interval - LOST_AFTER,
    }
    for statement in _SILENCE:
        moved = await tx.one(statement, p_agent_id=command.agent_id, **limits)
        if moved is not None and moved.status == AgentStatus.INACTIVE:
            _tell(tx, Agent.of(moved), "agent.heartbeat_missed")


def _tell(tx: Tx, agent: Agent, kind: str) -> None:
    data = {"agent_id": str(agent.id), "name": agent.name, "status": agent.status.value}
    tx.event(kind, entity_type="agent", entity_id=agent.id, data=data)
