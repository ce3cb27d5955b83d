"""Workers: processes that run agents, and what they are told."""

from collections.abc import Sequence
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

from core.agents import RegisterAgent
from core.errors import Forbidden
from core.tasks import claim
from core.workers import heartbeats, registry, signals
from core.workers.records import Worker, WorkerId
from hub.api import rendering
from hub.api.call import Call, Reply
from hub.api.routing import route
from schemas.v1 import execution as v1_execution
from schemas.v1 import workers as v1
from schemas.v1.envelope import PageMeta
from schemas.v1.fields import stamp
from schemas.vocabulary import Scope, WorkerSignalType

_SIGNALS = {
    "cancel": WorkerSignalType.CANCEL_TASK,
    "drain": WorkerSignalType.SET_DRAINING,
    "config_update": WorkerSignalType.CONFIG_UPDATE,
}


@route(
    "POST",
    "/workers/register",
    scope=Scope.WORKER,
    body=v1.WorkerRegister,
    returns=v1.RegisteredWorker,
    status=201,
    errors=(409,),
    rationed=True,
    summary="Register a worker and its agents",
    operation_id="workers_register",
    example={"name": "rack-7", "runtime_type": "custom", "agents": [{"name": "writer"}]},
)
async def register_worker(call: Call, body: v1.WorkerRegister) -> Reply:
    """The answer has the worker's key and its agents' keys, this once. Its own speaks for all of them."""
    made = await call.write(
        registry.register,
        registry.RegisterWorker(
            name=body.name,
            runtime_type=body.runtime_type,
            connection_mode=body.connection_mode,
            routing_tags=body.routing_tags,
            host_info=body.host_info,
            heartbeat_interval_seconds=body.heartbeat_interval_seconds,
            metadata=body.metadata,
            agents=[
                RegisterAgent(
                    name=agent.name,
                    routing_tags=sorted({*agent.routing_tags, *body.routing_tags}),
                    execution_mode=agent.execution_mode,
                    max_concurrent=agent.max_concurrent,
                    metadata=agent.metadata,
                )
                for agent in body.agents
            ],
        ),
    )
    agents: list[v1.RegisteredAgent] = [
        {
            "id": one.agent.id,
            "name": one.agent.name,
            "routing_tags": list(one.agent.routing_tags),
            "api_key": one.api_key,
        }
        for one in made.agents
    ]
    data: v1.RegisteredWorker = {
        "worker_id": made.worker.id,
        "worker_api_key": made.api_key,
        "agents": agents,
        "websocket_url": _websocket(call.shared.public_url),
        "heartbeat_interval_seconds": made.worker.heartbeat_interval_seconds,
    }
    return Reply(data, headers=[(b"cache-control", b"no-store")])


@route(
    "GET",
    "/workers",
    scope=Scope.ADMIN,
    query=v1.WorkerQuery,
    returns=list[v1.Worker],
    meta=PageMeta,
    summary="List workers",
    operation_id="workers_list",
)
async def list_workers(call: Call, query: v1.WorkerQuery) -> Reply:
    """The tenant's workers, newest first, without any secret."""
    found = await call.read(registry.list_workers, registry.ListWorkers(query.page, query.per_page))
    meta = rendering.page(found.total, query.page, query.per_page)
    return Reply([worker(item) for item in found.items], meta)


@route(
    "GET",
    "/workers/{id}",
    scope=Scope.ADMIN,
    returns=v1.Worker,
    errors=(404,),
    summary="Read a worker",
    operation_id="workers_get",
)
async def get_worker(call: Call) -> Reply:
    """One worker of the tenant."""
    return Reply(worker(await call.read(registry.get_worker, WorkerId(call.id))))


@route(
    "DELETE",
    "/workers/{id}",
    scope=Scope.ADMIN,
    status=204,
    errors=(404, 409),
    summary="Remove a worker",
    operation_id="workers_delete",
)
async def delete_worker(call: Call) -> Reply:
    """With its agents, whose keys end with its own. One whose agents hold work stays."""
    await call.write(registry.remove_worker, WorkerId(call.id))
    return Reply(status=204)


@route(
    "POST",
    "/workers/{id}/heartbeat",
    scope=Scope.WORKER,
    body=v1.WorkerHeartbeat,
    returns=v1.WorkerHeard,
    errors=(403, 404, 409),
    summary="Say how a worker is doing",
    operation_id="workers_heartbeat",
    example={"status": "online", "current_tasks": []},
)
async def heartbeat(call: Call, body: v1.WorkerHeartbeat) -> Reply:
    """The answer has what the worker is to be told, until it acknowledges it."""
    tasks = body.current_tasks
    if tasks is None and body.current_task_id is not None:
        tasks = [body.current_task_id]
    command = heartbeats.WorkerHeartbeat(call.id, body.status, tasks, body.metrics)
    heard = await call.platform.write(call.without_key(), heartbeats.heartbeat, command)
    told: list[v1.PendingSignal] = [
        {
            "id": signal.id,
            "type": signal.type,
            "task_id": signal.task_id,
            "data": dict(signal.data),
            "issued_at": stamp(signal.issued_at),
        }
        for signal in heard.signals
    ]
    data: v1.WorkerHeard = {"ack": True, "status": heard.worker.status, "pending_signals": told}
    return Reply(data)


@route(
    "POST",
    "/workers/{id}/signal",
    scope=Scope.ADMIN,
    body=v1.WorkerSignal,
    returns=v1.Signalled,
    errors=(404, 409),
    summary="Tell a worker something",
    operation_id="workers_signal",
    example={"type": "drain"},
)
async def signal_worker(call: Call, body: v1.WorkerSignal) -> Reply:
    """It hears of it with its next heartbeat. A worker that drains is given nothing more from now on."""
    command = signals.SendSignal(call.id, _SIGNALS[body.type], body.task_id, body.data)
    data: v1.Signalled = {"signal_id": (await call.write(signals.send_signal, command)).id}
    return Reply(data)


@route(
    "POST",
    "/workers/{id}/signals/{signal_id}/ack",
    scope=Scope.WORKER,
    body=v1.SignalAck,
    status=204,
    errors=(403, 404),
    summary="Acknowledge a signal",
    operation_id="workers_signal_ack",
    example={},
)
async def ack_signal(call: Call, body: v1.SignalAck) -> Reply:
    """It is not told again. Once more is no error."""
    command = signals.AckSignal(call.ids["id"], call.ids["signal_id"])
    await call.platform.write(call.without_key(), signals.ack_signal, command)
    return Reply(status=204)


@route(
    "POST",
    "/workers/{id}/next",
    scope=Scope.WORKER,
    body=v1.WorkerNext,
    returns=v1_execution.Claimed,
    also={204: "Nothing to claim."},
    errors=(403, 404, 409),
    summary="Claim work for a worker",
    operation_id="workers_next",
    example={"include_context": False},
)
async def next_of_worker(call: Call, body: v1.WorkerNext) -> Reply:
    """As `POST /tasks/claim` for the agent that is named, or for the worker's agents in turn."""
    if call.caller.principal_id != call.id:
        await call.read(registry.get_worker, WorkerId(call.id))
        if not call.caller.operator:
            raise Forbidden("this worker is not you")
    return await _next(call, body, call.id)


@route(
    "POST",
    "/tasks/next",
    scope=Scope.WORKER,
    body=v1.WorkerNext,
    returns=v1_execution.Claimed,
    also={204: "Nothing to claim."},
    errors=(404, 409),
    summary="Claim work for the calling worker",
    operation_id="tasks_next",
    example={"include_context": False},
)
async def next_task(call: Call, body: v1.WorkerNext) -> Reply:
    """As `POST /workers/{id}/next` of the caller."""
    return await _next(call, body, call.caller.principal_id)


async def _next(call: Call, body: v1.WorkerNext, worker_id: UUID) -> Reply:
    agents: Sequence[UUID] = [body.agent_id] if body.agent_id is not None else []
    if not agents:
        agents = await call.read(registry.agents_of, WorkerId(worker_id))
    for agent_id in agents:
        command = claim.ClaimTasks(
            agent_id=agent_id,
            workflow_id=body.workflow_id,
            playbook_id=body.playbook_id,
            include_context=body.include_context,
        )
        claims = await call.write(claim.claim, command)
        if claims.items:
            headers = [(b"x-claim-replayed", b"true")] if claims.replayed else []
            return Reply(rendering.claimed(claims.items[0]), headers=headers)
    return Reply(status=204)


def worker(value: Worker) -> v1.Worker:
    """A worker."""
    return {
        "id": value.id,
        "tenant_id": value.tenant_id,
        "name": value.name,
        "runtime_type": value.runtime_type,
        "connection_mode": value.connection_mode,
        "routing_tags": list(value.routing_tags),
        "host_info": dict(value.host_info),
        "status": value.status,
        "heartbeat_interval_seconds": value.heartbeat_interval_seconds,
        "current_tasks": list(value.current_tasks),
        "metrics": dict(value.metrics),
        "metadata": dict(value.metadata),
        "last_heartbeat_at": stamp(value.last_seen_at),
        "created_at": stamp(value.created_at),
        "updated_at": stamp(value.updated_at),
    }


def _websocket(public_url: str) -> str:
    parts = urlsplit(public_url)
    scheme = "wss" if parts.scheme == "https" else "ws"
    return urlunsplit((scheme, parts.netloc, f"{parts.path.rstrip('/')}/api/v1/events", "", ""))
