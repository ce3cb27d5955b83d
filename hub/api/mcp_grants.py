"""Tools of MCP servers: who may call them, what was called, and the token of a task for its own."""

from core.exchange import TaskCredentials
from core.gateway import grants, records
from core.gateway.grants import Grant
from core.gateway.records import CallRecord
from core.gateway.task_tokens import ClaimCredentials
from hub.api import rendering
from hub.api.call import Call, Reply
from hub.api.routing import route
from hub.sessions import SESSIONS, Sessions
from schemas.v1 import mcp_grants as v1
from schemas.v1.envelope import PageMeta
from schemas.v1.fields import stamp, stamp_or_none
from schemas.vocabulary import GrantSubject, Scope

_NO_STORE = (b"cache-control", b"no-store")


@route(
    "POST",
    "/mcp-grants",
    scope=Scope.ADMIN,
    body=v1.McpGrantCreate,
    returns=v1.McpGrant,
    status=201,
    errors=(404, 409),
    summary="Grant tools of an MCP server",
    operation_id="mcp_grants_create",
    example={"subject": {"kind": "role", "name": "researcher"}, "server": "github", "tool": "get_*"},
)
async def create_grant(call: Call, body: v1.McpGrantCreate) -> Reply:
    """Without a grant nobody sees a server. The same grant again changes its limits."""
    command = grants.CreateGrant(
        grants.Subject(body.subject.kind, body.subject.id, body.subject.name),
        body.server,
        body.tool,
        body.effect,
        timeout_seconds=body.timeout_seconds,
        calls_per_minute=body.calls_per_minute,
        max_result_bytes=body.max_result_bytes,
    )
    return Reply(grant(await call.write(grants.create_grant, command)))


@route(
    "GET",
    "/mcp-grants",
    scope=Scope.ADMIN,
    query=v1.McpGrantQuery,
    returns=list[v1.McpGrant],
    meta=PageMeta,
    errors=(404,),
    summary="List grants of MCP tools",
    operation_id="mcp_grants_list",
)
async def list_grants(call: Call, query: v1.McpGrantQuery) -> Reply:
    """The tenant's grants, newest first."""
    command = grants.ListGrants(query.server, query.subject_kind, query.subject, query.page, query.per_page)
    found = await call.read(grants.list_grants, command)
    meta = rendering.page(found.total, query.page, query.per_page)
    return Reply([grant(item) for item in found.items], meta)


@route(
    "GET",
    "/mcp-grants/{id}",
    scope=Scope.ADMIN,
    returns=v1.McpGrant,
    errors=(404,),
    summary="Read a grant of MCP tools",
    operation_id="mcp_grants_get",
)
async def get_grant(call: Call) -> Reply:
    """One grant of the tenant."""
    return Reply(grant(await call.read(grants.get_grant, grants.GrantId(call.id))))


@route(
    "DELETE",
    "/mcp-grants/{id}",
    scope=Scope.ADMIN,
    also={204: "It is gone."},
    status=204,
    errors=(404,),
    summary="Take a grant of MCP tools away",
    operation_id="mcp_grants_delete",
)
async def delete_grant(call: Call) -> Reply:
    """The next call is decided without it; a call that waits for leave may still get it."""
    await call.write(grants.delete_grant, grants.GrantId(call.id))
    return Reply()


@route(
    "GET",
    "/mcp-calls",
    scope=Scope.AGENT,
    query=v1.McpCallQuery,
    returns=list[v1.McpCall],
    meta=PageMeta,
    errors=(404,),
    summary="List calls of MCP tools",
    operation_id="mcp_calls_list",
)
async def list_calls(call: Call, query: v1.McpCallQuery) -> Reply:
    """Your own, and those of tasks that you may read; operators see all."""
    command = records.ListCalls(query.task_id, query.server_id, query.state, query.page, query.per_page)
    return await _calls(call, command)


@route(
    "GET",
    "/tasks/{id}/mcp-calls",
    scope=Scope.AGENT,
    query=v1.McpCallsOfTaskQuery,
    returns=list[v1.McpCall],
    meta=PageMeta,
    errors=(404,),
    summary="List the MCP tool calls of a task",
    operation_id="mcp_calls_of_task",
)
async def list_of_task(call: Call, query: v1.McpCallsOfTaskQuery) -> Reply:
    """What was called for this task, in all its attempts."""
    return await _calls(call, records.ListCalls(call.id, page=query.page, per_page=query.per_page))


@route(
    "GET",
    "/mcp-calls/{id}",
    scope=Scope.AGENT,
    returns=v1.McpCall,
    errors=(404,),
    summary="Read a call of an MCP tool",
    operation_id="mcp_calls_get",
)
async def get_call(call: Call) -> Reply:
    """Who called what, and what became of it. `unknown` means that it may have happened: the hub stopped
    before it knew, and does not repeat it."""
    return Reply(tool_call(await call.read(records.get_call, records.CallId(call.id))))


@route(
    "POST",
    "/tasks/{id}/claim-credentials",
    scope=Scope.AGENT,
    body=v1.ClaimCredentials,
    returns=v1.ClaimedCredentials,
    errors=(403, 404, 409),
    summary="Fetch what a claimed task may use",
    operation_id="tasks_claim_credentials",
    example={"gateway_claim_handle": "gateway:0197a3c2-8b1e-7c44-9d3a-2f6b1c0d4e5f"},
)
async def claim_credentials(call: Call, body: v1.ClaimCredentials) -> Reply:
    """For whoever holds the lease: a token for the hub's MCP endpoint that reaches exactly what the task, its
    agent and its role were granted, and dies with the lease."""
    sessions: Sessions = call.scope[SESSIONS]
    command = ClaimCredentials(call.id, body.gateway_claim_handle, body.lease_id)
    found = await sessions.exchange.open_task(call.without_key(), command)
    return Reply({"gateway": _gateway(sessions, found)}, headers=[_NO_STORE])


async def _calls(call: Call, query: records.ListCalls) -> Reply:
    found = await call.read(records.list_calls, query)
    meta = rendering.page(found.total, query.page, query.per_page)
    return Reply([tool_call(item) for item in found.items], meta)


def _gateway(sessions: Sessions, found: TaskCredentials) -> v1.GatewayCredentials:
    return {
        "url": f"{sessions.public_url}/mcp",
        "token": found.token.text,
        "expires_at": stamp(found.token.expires_at),
        "lease_expires_at": stamp(found.lease_expires_at),
    }


def grant(value: Grant) -> v1.McpGrant:
    """A grant."""
    role = value.subject_kind is GrantSubject.ROLE
    return {
        "id": value.id,
        "tenant_id": value.tenant_id,
        "subject": {
            "kind": value.subject_kind,
            "id": None if role else value.subject,
            "name": value.subject if role else None,
        },
        "server_id": value.server_id,
        "server": value.server,
        "tool": value.tool,
        "effect": value.effect,
        "timeout_seconds": value.timeout_seconds,
        "calls_per_minute": value.calls_per_minute,
        "max_result_bytes": value.max_result_bytes,
        "created_by": value.created_by,
        "created_at": stamp(value.created_at),
    }


def tool_call(value: CallRecord) -> v1.McpCall:
    """A call of a tool."""
    return {
        "id": value.id,
        "tenant_id": value.tenant_id,
        "principal_id": value.principal_id,
        "task_id": value.task_id,
        "attempt": value.attempt,
        "server_id": value.server_id,
        "server": value.server,
        "tool": value.tool,
        "arguments": value.arguments,
        "arguments_digest": value.arguments_digest,
        "definition_hash": value.definition_hash,
        "state": value.state,
        "approval_id": value.approval_id,
        "is_error": value.is_error,
        "error": value.error,
        "result": value.result,
        "requested_at": stamp(value.requested_at),
        "started_at": stamp_or_none(value.started_at),
        "finished_at": stamp_or_none(value.finished_at),
        "duration_ms": value.duration_ms,
    }
