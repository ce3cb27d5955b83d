"""Workers come with their agents, and go with them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.agents import AgentId, RegisterAgent
from core.auth import issue_key, revoke_all
from core.errors import Forbidden
from core.principals import OwnerType, ensure_principal
from core.registration import KEY_LIFE, Enrolled, dismiss, enrol_for
from core.store import tables
from core.store.statement import Statement
from core.store.tables import workers as t
from core.store.tx import Tx
from core.tasks.read import Page
from core.workers.records import P_WORKER, Worker, WorkerId, row_of, told
from schemas.vocabulary import Scope, WorkerStatus


@dataclass(frozen=True)
class RegisterWorker:
    """A new worker and the agents that it runs."""

    name: str
    runtime_type: str = "custom"
    connection_mode: str = "polling"
    routing_tags: Sequence[str] = ()
    host_info: Mapping[str, Any] = field(default_factory=dict)
    heartbeat_interval_seconds: int = 30
    metadata: Mapping[str, Any] = field(default_factory=dict)
    agents: Sequence[RegisterAgent] = ()


@dataclass(frozen=True)
class Registered:
    """A worker, its key and its agents with theirs; keys are shown once."""

    worker: Worker
    agents: Sequence[Enrolled]
    api_key: str | None = field(default=None, repr=False, metadata={"secret": True})


@dataclass(frozen=True)
class ListWorkers:
    """A page of the tenant's workers, newest first."""

    page: int = 1
    per_page: int = 20


_w = t.worker
_INSERT = Statement(sa.insert(_w))
_DELETE = Statement(sa.delete(_w).where(_w.c.id == P_WORKER, access.within_tenant(_w)))
_NO_SIGNALS = Statement(sa.delete(t.worker_signal).where(t.worker_signal.c.worker_id == P_WORKER))
_AGENTS = Statement(
    sa.select(tables.agent.c.id)
    .where(tables.agent.c.worker_id == P_WORKER, access.within_tenant(tables.agent))
    .order_by(tables.agent.c.id)
)


async def register(tx: Tx, command: RegisterWorker) -> Registered:
    """Register a worker with its agents, each with a key. With a replay key, once however often it is sent.

    Raises:
        Forbidden: an agent's key registers nothing.
    """
    caller = tx.caller
    if not caller.scope.includes(Scope.WORKER):
        raise Forbidden("an agent's key registers no workers: use a worker, service or admin key")
    worker_id = tx.new_id()
    row = {
        "id": worker_id,
        "tenant_id": caller.tenant_id,
        "name": command.name,
        "runtime_type": command.runtime_type,
        "connection_mode": command.connection_mode,
        "routing_tags": sorted({*command.routing_tags}),
        "host_info": dict(command.host_info),
        "status": WorkerStatus.ONLINE.value,
        "heartbeat_interval_seconds": command.heartbeat_interval_seconds,
        "current_tasks": [],
        "metrics": {},
        "attributes": dict(command.metadata),
        "registered_by": caller.principal_id,
        "last_seen_at": tx.now,
        "last_heartbeat_at": None,
        "created_at": tx.now,
        "updated_at": tx.now,
    }
    await tx.run(_INSERT, **row)
    await ensure_principal(tx, caller.tenant_id, OwnerType.WORKER, str(worker_id), command.name, worker_id)
    key = issue_key(tx, worker_id, Scope.WORKER, label=command.name[:255], expires_at=tx.now + KEY_LIFE)
    agents = [await enrol_for(tx, replace(agent, worker_id=worker_id)) for agent in command.agents]
    worker = await get_worker(tx, WorkerId(worker_id))
    told(tx, worker, "worker.registered")
    return Registered(worker, agents, key.api_key)


async def get_worker(tx: Tx, query: WorkerId) -> Worker:
    """One worker of the tenant.

    Raises:
        NotFound: no such worker.
    """
    return Worker.of(await row_of(tx, query.worker_id))


async def list_workers(tx: Tx, query: ListWorkers) -> Page[Worker]:
    """The tenant's workers, newest first."""
    wanted = access.within_tenant(_w)
    total = await tx.one(sa.select(sa.func.count().label("n")).select_from(_w).where(wanted))
    rows = await tx.all(
        sa.select(_w)
        .where(wanted)
        .order_by(_w.c.id.desc())
        .limit(query.per_page)
        .offset((query.page - 1) * query.per_page)
    )
    return Page([Worker.of(row) for row in rows], 0 if total is None else total.n)


async def remove_worker(tx: Tx, command: WorkerId) -> None:
    """Remove a worker whose agents hold no work, with those agents, and end all their keys.

    Raises:
        NotFound: no such worker.
        Conflict: one of its agents holds work.
    """
    worker = await get_worker(tx, command)
    for agent_id in await agents_of(tx, command):
        await dismiss(tx, AgentId(agent_id))
    await tx.run(_NO_SIGNALS, p_worker_id=worker.id)
    await tx.run(_DELETE, p_worker_id=worker.id)
    await revoke_all(tx, worker.id)
    told(tx, worker, "worker.deregistered")


async def agents_of(tx: Tx, query: WorkerId) -> Sequence[UUID]:
    """The agents that a worker runs, the oldest first."""
    return [row.id for row in await tx.all(_AGENTS, p_worker_id=query.worker_id)]
