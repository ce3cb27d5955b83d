"""Agents: register them, hear of them, list them."""

from core import agents, registration
from hub.api import rendering
from hub.api.call import Call, Reply
from hub.api.routing import route
from schemas.v1 import agents as v1
from schemas.v1.envelope import PageMeta
from schemas.vocabulary import Scope


@route(
    "POST",
    "/agents/register",
    scope=Scope.WORKER,
    body=v1.AgentRegister,
    returns=v1.Registered,
    status=201,
    errors=(404, 409),
    rationed=True,
    summary="Register an agent",
    operation_id="agents_register",
    example={"name": "writer", "routing_tags": ["writing"], "max_concurrent": 4},
)
async def register_agent(call: Call, body: v1.AgentRegister) -> Reply:
    """The answer has the agent's own key, this once. With a replay key one agent is made, not several."""
    metadata = dict(body.metadata)
    if body.only_tags:
        metadata["only_tags"] = list(body.only_tags)
    if body.acp is not None:
        metadata["acp"] = body.acp.model_dump()
    if body.profile is not None:
        metadata["profile"] = body.profile
    if body.playbook_id is not None:
        metadata["playbook_id"] = str(body.playbook_id)
    made = await call.write(
        registration.enrol,
        registration.EnrolAgent(
            agents.RegisterAgent(
                name=body.name,
                protocol=body.protocol,
                routing_tags=sorted({*body.routing_tags, *body.only_tags}),
                execution_mode=body.execution_mode,
                tools=body.tools.model_dump(),
                worker_id=body.worker_id,
                max_concurrent=body.max_concurrent,
                heartbeat_interval_seconds=body.heartbeat_interval_seconds,
                metadata=metadata,
            ),
            issue_key=body.issue_api_key,
        ),
    )
    data: v1.Registered = {**rendering.agent(made.agent), "api_key": made.api_key}
    return Reply(data, headers=[(b"cache-control", b"no-store")])


@route(
    "POST",
    "/agents/{id}/heartbeat",
    scope=Scope.AGENT,
    body=v1.HeartbeatRequest,
    returns=v1.Heartbeat,
    errors=(404,),
    summary="Say that an agent is alive",
    operation_id="agents_heartbeat",
    example={},
)
async def heartbeat(call: Call, body: v1.HeartbeatRequest) -> Reply:
    """Any authenticated call of the agent counts as one, too."""
    agent = await call.platform.write(call.without_key(), agents.heartbeat, agents.AgentId(call.id))
    data: v1.Heartbeat = {"ack": True, "status": agent.status}
    return Reply(data)


@route(
    "GET",
    "/agents",
    scope=Scope.AGENT,
    query=v1.AgentQuery,
    returns=list[v1.Agent],
    meta=PageMeta,
    summary="List agents",
    operation_id="agents_list",
)
async def list_agents(call: Call, query: v1.AgentQuery) -> Reply:
    """The tenant's agents, newest first, without any secret."""
    found = await call.read(agents.list_agents, agents.ListAgents(query.page, query.per_page))
    meta = rendering.page(found.total, query.page, query.per_page)
    return Reply([rendering.agent(agent) for agent in found.items], meta)


@route(
    "GET",
    "/agents/{id}",
    scope=Scope.AGENT,
    returns=v1.Agent,
    errors=(404,),
    summary="Read an agent",
    operation_id="agents_get",
)
async def get_agent(call: Call) -> Reply:
    """One agent of the tenant."""
    return Reply(rendering.agent(await call.read(agents.get_agent, agents.AgentId(call.id))))


@route(
    "DELETE",
    "/agents/{id}",
    scope=Scope.ADMIN,
    also={204: "It is gone."},
    status=204,
    errors=(404, 409),
    summary="Remove an agent",
    operation_id="agents_delete",
)
async def delete_agent(call: Call) -> Reply:
    """Only an agent that holds no work. Its keys end with it."""
    await call.write(registration.dismiss, agents.AgentId(call.id))
    return Reply()
