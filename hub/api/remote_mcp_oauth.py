"""How the hub is let in by MCP servers that want OAuth: begin, come back, see, begin again, end."""

from urllib.parse import parse_qs, urlsplit

from adapters.mcp.oauth import OAuthEngine
from core.errors import Invalid, NotFound
from core.mcp.records import McpServer, ServerId, get_server
from core.mcp.registry import remove, unlink
from core.mcp.verification import draft_server
from core.mcp.words import AuthMode
from core.mcp_oauth import connection_records as connections
from core.mcp_oauth.connections import Configure, configure
from core.mcp_oauth.definition import Definition, Secrets
from core.mcp_oauth.flow_records import Flow, FlowId, get_flow, latest_flow
from core.mcp_oauth.flows import Received
from core.mcp_oauth.profiles import ProfileId, get_profile
from hub.api.call import Call, Reply
from hub.api.mcp_oauth_rendering import definition_of, oauth_start, oauth_status, secrets_of
from hub.api.remote_mcp_servers import registration_of
from hub.api.routing import route
from schemas.oauth import FlowState
from schemas.v1 import remote_mcp_oauth as v1
from schemas.vocabulary import Scope


@route(
    "POST",
    "/remote-mcp-servers/oauth/authorize",
    scope=Scope.ADMIN,
    body=v1.RemoteMcpServerAuthorize,
    returns=v1.OAuthStart,
    errors=(404, 409),
    rationed=True,
    summary="Register an MCP server that wants OAuth",
    operation_id="remote_mcp_oauth_authorize",
    example={"name": "Tickets", "endpoint_url": "https://mcp.example.com/mcp"},
)
async def authorize_remote_mcp_server(call: Call, body: v1.RemoteMcpServerAuthorize) -> Reply:
    """The server is kept as a draft, and the answer says what a person has to do: open an address, or enter a
    code. Once the hub is let in the server is verified. Where nobody has to do anything, that is now."""
    if body.kind != "mcp":
        raise Invalid("only servers of MCP are authorized so", details={"reason_code": "kind"})
    if body.oauth_client_profile_id is not None:
        await call.read(get_profile, ProfileId(body.oauth_client_profile_id))
    drafted = await draft_server(call.platform, call.caller, registration_of(body))
    call.replayed = call.replayed or drafted.replayed
    server = await call.read(get_server, ServerId(drafted.result.id))
    wanted = Configure(
        server.id,
        server.endpoint_url,
        definition_of(body.oauth_definition),
        secrets_of(body.oauth_definition),
        body.oauth_client_profile_id,
    )
    await call.platform.write(call.without_key(), configure, wanted)
    flow = await _engine(call).start(call.caller, server.id)
    if flow.state is FlowState.FAILED and not drafted.replayed:
        await call.platform.write(call.without_key(), remove, ServerId(server.id))
    return _begun(call, flow)


@route(
    "POST",
    "/remote-mcp-servers/oauth/callback",
    scope=Scope.ADMIN,
    body=v1.OAuthCallback,
    returns=v1.OAuthStart,
    errors=(404,),
    rationed=True,
    summary="Hand over where a browser ended",
    operation_id="remote_mcp_oauth_callback",
    example={"callback_url": "http://localhost:1455/auth/callback?code=4f1c&state=9a2e"},
)
async def take_callback(call: Call, body: v1.OAuthCallback) -> Reply:
    """For `callback_mode` `loopback`: the address that the browser shows after consent, as a whole."""
    told = parse_qs(urlsplit(body.callback_url.get_secret_value()).query)
    once = {name: values[0] for name, values in told.items() if len(values) == 1}
    if "state" not in once:
        raise Invalid("the address holds no state", details={"reason_code": "no_state"})
    answer = Received(
        once["state"], once.get("code"), once.get("error"), once.get("iss"), call.caller.tenant_id
    )
    return _begun(call, await _engine(call).receive(answer))


@route(
    "POST",
    "/remote-mcp-servers/oauth/device/{id}/poll",
    scope=Scope.ADMIN,
    body=v1.OAuthNothing,
    returns=v1.OAuthStart,
    errors=(404,),
    summary="Ask whether a device was let in",
    operation_id="remote_mcp_oauth_device_poll",
    example={},
)
async def poll_device(call: Call, body: v1.OAuthNothing) -> Reply:
    """`device` while somebody has to enter the code, then `completed`. The hub asks by itself, too: no more
    often than the authorization server allows, however often this is called."""
    flow = await call.read(get_flow, FlowId(call.id))
    return _begun(call, await _engine(call).advance(flow.tenant_id, flow.id))


@route(
    "GET",
    "/remote-mcp-servers/{id}/oauth",
    scope=Scope.ADMIN,
    returns=v1.OAuthStatus,
    errors=(404,),
    summary="See whether the hub is let in by an MCP server",
    operation_id="remote_mcp_oauth_status",
)
async def get_oauth(call: Call) -> Reply:
    """The credential without its secrets, how it is had, and the last attempt to get one."""
    await call.read(get_server, ServerId(call.id))
    known = await call.read(connections.get_connection, connections.ServerId(call.id))
    return Reply(oauth_status(known, await call.read(latest_flow, connections.ServerId(call.id))))


@route(
    "POST",
    "/remote-mcp-servers/{id}/oauth/reconnect",
    scope=Scope.ADMIN,
    body=v1.OAuthReconnect,
    returns=v1.OAuthStart,
    errors=(404,),
    summary="Let the hub in again",
    operation_id="remote_mcp_oauth_reconnect",
    example={},
)
async def reconnect(call: Call, body: v1.OAuthReconnect) -> Reply:
    """Begins again, as at first or in the way that is given now; the old credential is used until there is a
    new one. What the server asked for since is asked for together with what was granted before."""
    server = await call.read(get_server, ServerId(call.id))
    if server.auth_mode is not AuthMode.OAUTH:
        raise Invalid("this server does not use OAuth", details={"reason_code": "auth_mode"})
    if body.oauth_client_profile_id is not None:
        await call.read(get_profile, ProfileId(body.oauth_client_profile_id))
    known = await call.read(connections.find_connection, connections.ServerId(server.id))
    wanted = Configure(
        server.id,
        server.endpoint_url,
        known.definition if known else Definition(),
        profile_id=known.profile_id if known else None,
    )
    if body.oauth_definition is not None or body.oauth_client_profile_id is not None:
        given = body.oauth_definition
        wanted = Configure(
            server.id,
            server.endpoint_url,
            wanted.definition if given is None else definition_of(given),
            Secrets() if given is None else secrets_of(given),
            body.oauth_client_profile_id,
        )
    await call.platform.write(call.without_key(), configure, wanted)
    return _begun(call, await _engine(call).start(call.caller, server.id))


@route(
    "POST",
    "/remote-mcp-servers/{id}/oauth/disconnect",
    scope=Scope.ADMIN,
    body=v1.OAuthNothing,
    also={204: "It is forgotten."},
    status=204,
    errors=(404,),
    summary="End what lets the hub in",
    operation_id="remote_mcp_oauth_disconnect",
    example={},
)
async def disconnect(call: Call, body: v1.OAuthNothing) -> Reply:
    """The credential is forgotten, and revoked where the authorization server takes that. The server stays,
    with its last snapshot, and is not called before it is let in again."""
    server: McpServer = await call.read(get_server, ServerId(call.id))
    await _engine(call).disconnect(call.caller, server.id)
    await call.platform.write(call.without_key(), unlink, ServerId(server.id))
    return Reply(status=204)


def _engine(call: Call) -> OAuthEngine:
    assert call.shared.oauth is not None, "hub/app.py hands it in"
    return call.shared.oauth


def _begun(call: Call, flow: Flow) -> Reply:
    if flow.tenant_id != call.caller.tenant_id:
        raise NotFound("no such authorization")
    if flow.state in (FlowState.FAILED, FlowState.EXPIRED, FlowState.CANCELLED):
        raise Invalid(
            f"the hub was not let in: {flow.error or flow.state.value}",
            details={"reason_code": "authorization_failed", "server_id": str(flow.server_id)},
        )
    return Reply(oauth_start(flow, call.platform.now()))
