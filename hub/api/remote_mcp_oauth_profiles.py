"""Client profiles: OAuth clients that an operator registered, to be used for several MCP servers."""

from core.mcp_oauth.profiles import (
    ChangeProfile,
    CreateProfile,
    ListProfiles,
    ProfileId,
    change_profile,
    create_profile,
    get_profile,
    list_profiles,
    remove_profile,
)
from hub.api import rendering
from hub.api.call import Call, Reply
from hub.api.mcp_oauth_rendering import client_profile, profile_of
from hub.api.routing import route
from schemas.v1 import remote_mcp_oauth as v1
from schemas.v1.envelope import PageMeta
from schemas.vocabulary import Scope

_EXAMPLE = {
    "name": "Example login",
    "token_endpoint": "https://login.example.com/token",
    "authorization_endpoint": "https://login.example.com/authorize",
    "issuer": "https://login.example.com",
    "client_id": "crossdock",
    "client_secret": "its secret",
}


@route(
    "POST",
    "/remote-mcp-oauth-client-profiles",
    scope=Scope.ADMIN,
    body=v1.ClientProfileIn,
    returns=v1.ClientProfile,
    status=201,
    errors=(409,),
    summary="Make an OAuth client profile",
    operation_id="remote_mcp_oauth_profiles_create",
    example=_EXAMPLE,
)
async def create_client_profile(call: Call, body: v1.ClientProfileIn) -> Reply:
    """Its secrets are written only."""
    definition, secrets = profile_of(body)
    wanted = CreateProfile(body.name, body.description, definition, secrets)
    return Reply(client_profile(await call.write(create_profile, wanted)))


@route(
    "GET",
    "/remote-mcp-oauth-client-profiles",
    scope=Scope.ADMIN,
    query=v1.ClientProfileQuery,
    returns=list[v1.ClientProfile],
    meta=PageMeta,
    summary="List OAuth client profiles",
    operation_id="remote_mcp_oauth_profiles_list",
)
async def list_client_profiles(call: Call, query: v1.ClientProfileQuery) -> Reply:
    """The tenant's profiles, newest first."""
    found = await call.read(list_profiles, ListProfiles(query.page, query.per_page))
    meta = rendering.page(found.total, query.page, query.per_page)
    return Reply([client_profile(one) for one in found.items], meta)


@route(
    "GET",
    "/remote-mcp-oauth-client-profiles/{id}",
    scope=Scope.ADMIN,
    returns=v1.ClientProfile,
    errors=(404,),
    summary="Read an OAuth client profile",
    operation_id="remote_mcp_oauth_profiles_get",
)
async def get_client_profile(call: Call) -> Reply:
    """One profile of the tenant."""
    return Reply(client_profile(await call.read(get_profile, ProfileId(call.id))))


@route(
    "PUT",
    "/remote-mcp-oauth-client-profiles/{id}",
    scope=Scope.ADMIN,
    body=v1.ClientProfileIn,
    returns=v1.ClientProfile,
    errors=(404, 409),
    summary="Change an OAuth client profile",
    operation_id="remote_mcp_oauth_profiles_update",
    example=_EXAMPLE,
)
async def put_client_profile(call: Call, body: v1.ClientProfileIn) -> Reply:
    """Secrets that are not given stay, but never follow to another token endpoint. Where the client or its
    server is another one, the MCP servers that use the profile are disconnected."""
    definition, secrets = profile_of(body)
    wanted = ChangeProfile(call.id, body.name, body.description, definition, secrets)
    return Reply(client_profile(await call.write(change_profile, wanted)))


@route(
    "DELETE",
    "/remote-mcp-oauth-client-profiles/{id}",
    scope=Scope.ADMIN,
    also={204: "It is gone."},
    status=204,
    errors=(404, 409),
    summary="Remove an OAuth client profile",
    operation_id="remote_mcp_oauth_profiles_delete",
)
async def delete_client_profile(call: Call) -> Reply:
    """Only one that no MCP server uses."""
    await call.write(remove_profile, ProfileId(call.id))
    return Reply()
