"""MCP servers that the hub calls for others: register, change, verify, see what changed and approve it."""

from collections.abc import Sequence
from typing import Final

from core.errors import Unprocessable
from core.mcp.parameters import GivenParameter
from core.mcp.ports import Servers
from core.mcp.records import ItemsOf, ListServers, McpServer, ServerId, get_server, items_of, list_servers
from core.mcp.registration import ChangeServer, RegisterServer
from core.mcp.registry import remove
from core.mcp.snapshot import Approval, Approve, approve, drift
from core.mcp.verification import change_server, register_server, reverify_server
from core.mcp.words import AuthMode, ItemState, Pinning, Placement, ServerKind, TransportPreference, ValueKind
from core.store.engine import Outcome
from hub.api import rendering
from hub.api.call import Call, Reply
from hub.api.mcp_rendering import drift_report, remote_mcp_server
from hub.api.routing import MIB, route
from schemas.v1 import remote_mcp_servers as v1
from schemas.v1.envelope import PageMeta
from schemas.vocabulary import Scope

_EVERY: Final = tuple(ItemState)
_DOCUMENT: Final = 4 * MIB


@route(
    "POST",
    "/remote-mcp-servers",
    scope=Scope.ADMIN,
    body=v1.RemoteMcpServerCreate,
    returns=v1.RemoteMcpServer,
    status=201,
    errors=(409,),
    rationed=True,
    max_bytes=_DOCUMENT,
    summary="Register an MCP server",
    operation_id="remote_mcp_servers_create",
    example={
        "name": "Weather",
        "endpoint_url": "https://mcp.example.com/mcp",
        "auth_mode": "parameterized",
        "parameters": [
            {"placement": "header", "key": "X-Api-Key", "value_kind": "secret", "value": "its key"}
        ],
    },
)
async def create_remote_mcp_server(call: Call, body: v1.RemoteMcpServerCreate) -> Reply:
    """The server is asked for all that it offers; what is refused stores nothing. Nobody sees any of it
    before it is granted. A program may register itself with a `service` key."""
    wanted = registration_of(body)
    return await _reply(call, await register_server(call.platform, call.caller, _servers(call), wanted))


@route(
    "GET",
    "/remote-mcp-servers",
    scope=Scope.ADMIN,
    query=v1.RemoteMcpServerQuery,
    returns=list[v1.RemoteMcpServer],
    meta=PageMeta,
    summary="List MCP servers",
    operation_id="remote_mcp_servers_list",
)
async def list_remote_mcp_servers(call: Call, query: v1.RemoteMcpServerQuery) -> Reply:
    """The tenant's servers, newest first, without any secret and without their snapshots."""
    found = await call.read(list_servers, ListServers(query.page, query.per_page, query.is_archived))
    meta = rendering.page(found.total, query.page, query.per_page)
    return Reply([remote_mcp_server(server) for server in found.items], meta)


@route(
    "GET",
    "/remote-mcp-servers/{id}",
    scope=Scope.ADMIN,
    returns=v1.RemoteMcpServer,
    errors=(404,),
    summary="Read an MCP server",
    operation_id="remote_mcp_servers_get",
)
async def get_remote_mcp_server(call: Call) -> Reply:
    """One server of the tenant, with all that it offers."""
    return Reply(await _shown(call, await call.read(get_server, ServerId(call.id))))


@route(
    "PUT",
    "/remote-mcp-servers/{id}",
    scope=Scope.ADMIN,
    body=v1.RemoteMcpServerPatch,
    returns=v1.RemoteMcpServer,
    errors=(404, 409),
    max_bytes=_DOCUMENT,
    summary="Change an MCP server (as PATCH)",
    operation_id="remote_mcp_servers_put",
    example={"call_timeout_seconds": 60},
)
@route(
    "PATCH",
    "/remote-mcp-servers/{id}",
    scope=Scope.ADMIN,
    body=v1.RemoteMcpServerPatch,
    returns=v1.RemoteMcpServer,
    errors=(404, 409),
    max_bytes=_DOCUMENT,
    summary="Change an MCP server",
    operation_id="remote_mcp_servers_update",
    example={"call_timeout_seconds": 60},
)
async def patch_remote_mcp_server(call: Call, body: v1.RemoteMcpServerPatch) -> Reply:
    """What was verified is verified again before it changes. A stored secret never follows the endpoint to
    another origin: there it must be given again."""
    wanted = ChangeServer(
        call.id,
        name=body.name,
        endpoint_url=body.endpoint_url,
        description=body.description,
        transport_preference=body.transport_preference and TransportPreference(body.transport_preference),
        call_timeout_seconds=body.call_timeout_seconds,
        auth_mode=body.auth_mode and AuthMode(body.auth_mode),
        pinning=body.pinning and Pinning(body.pinning),
        reverify_seconds=body.reverify_seconds,
        parameters=None if body.parameters is None else _given(body.parameters),
        document_url=body.document_url,
        document=body.document,
        is_archived=body.is_archived,
    )
    return await _reply(call, await change_server(call.platform, call.caller, _servers(call), wanted))


@route(
    "DELETE",
    "/remote-mcp-servers/{id}",
    scope=Scope.ADMIN,
    also={204: "It is gone."},
    status=204,
    errors=(404,),
    summary="Remove an MCP server",
    operation_id="remote_mcp_servers_delete",
)
async def delete_remote_mcp_server(call: Call) -> Reply:
    """With all that is known of it. What was called stays in the log."""
    await call.write(remove, ServerId(call.id))
    return Reply()


@route(
    "POST",
    "/remote-mcp-servers/{id}/reverify",
    scope=Scope.ADMIN,
    body=v1.RemoteMcpServerReverify,
    returns=v1.RemoteMcpServer,
    errors=(404,),
    summary="Verify an MCP server again",
    operation_id="remote_mcp_servers_reverify",
    example={},
)
async def reverify_remote_mcp_server(call: Call, body: v1.RemoteMcpServerReverify) -> Reply:
    """Asks the server again for all that it offers. What it answers wrongly makes its verification fail; when
    it cannot be reached, or wants authorization, only its health says so. The last snapshot is kept."""
    return await _reply(
        call, await reverify_server(call.platform, call.caller, _servers(call), ServerId(call.id))
    )


@route(
    "GET",
    "/remote-mcp-servers/{id}/drift",
    scope=Scope.ADMIN,
    returns=v1.DriftReport,
    errors=(404,),
    summary="See how an MCP server differs from what was approved",
    operation_id="remote_mcp_servers_drift",
)
async def get_drift(call: Call) -> Reply:
    """New and changed definitions wait in quarantine, neither listed nor called, until they are approved."""
    return Reply(drift_report(await call.read(drift, ServerId(call.id))))


@route(
    "POST",
    "/remote-mcp-servers/{id}/approve",
    scope=Scope.ADMIN,
    body=v1.DefinitionsApprove,
    returns=v1.DriftReport,
    errors=(404, 409),
    summary="Approve definitions of an MCP server",
    operation_id="remote_mcp_servers_approve",
    example={"items": [{"id": "0197a3c2-8b1e-7c44-9d3a-2f6b1c0d4e5f", "definition_hash": "0" * 64}]},
)
async def approve_definitions(call: Call, body: v1.DefinitionsApprove) -> Reply:
    """Each as it was read: one that has changed since refuses them all. Answers what still differs."""
    wanted = Approve(call.id, [Approval(one.id, one.definition_hash) for one in body.items])
    return Reply(drift_report(await call.write(approve, wanted)))


def registration_of(body: v1.RemoteMcpServerCreate) -> RegisterServer:
    """The registration that a body asks for.

    Raises:
        Unprocessable: it lacks what its kind needs.
    """
    documented = body.document is not None or body.document_url is not None
    if body.kind == "openapi" and not documented:
        raise Unprocessable("the document is missing", fields={"document": ["or document_url: required"]})
    if body.kind != "openapi" and documented:
        raise Unprocessable("only an OpenAPI server has a document", fields={"kind": ["must be openapi"]})
    if body.kind != "openapi" and body.endpoint_url is None:
        raise Unprocessable("endpoint_url is missing", fields={"endpoint_url": ["Field required"]})
    return RegisterServer(
        name=body.name,
        endpoint_url=body.endpoint_url or "",
        kind=ServerKind(body.kind),
        slug=body.slug,
        description=body.description,
        transport_preference=TransportPreference(body.transport_preference),
        call_timeout_seconds=body.call_timeout_seconds,
        auth_mode=AuthMode(body.auth_mode),
        pinning=Pinning(body.pinning),
        reverify_seconds=body.reverify_seconds or None,
        parameters=_given(body.parameters),
        document_url=body.document_url,
        document=body.document,
    )


def _given(parameters: Sequence[v1.ParameterIn]) -> list[GivenParameter]:
    return [
        GivenParameter(
            Placement(one.placement), one.key, ValueKind(one.value_kind), one.value, parameter_id=one.id
        )
        for one in parameters
    ]


def _servers(call: Call) -> Servers:
    assert call.shared.servers is not None, "hub/app.py hands them in"
    return call.shared.servers


async def _shown(call: Call, server: McpServer) -> v1.RemoteMcpServer:
    return remote_mcp_server(server, await call.read(items_of, ItemsOf(server.id, states=_EVERY)))


async def _reply(call: Call, outcome: Outcome[McpServer]) -> Reply:
    call.replayed = call.replayed or outcome.replayed
    return Reply(await _shown(call, outcome.result))
