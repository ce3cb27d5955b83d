"""OAuth towards MCP servers that the hub calls: client profiles, ways to a token, what came of them."""

from typing import Annotated, Literal

from pydantic import Field, SecretStr, StringConstraints
from typing_extensions import TypedDict

from schemas.oauth import ConnectionState, FlowKind, FlowState
from schemas.v1.fields import Body, Id, Instant, Query, Replayable, answer
from schemas.v1.remote_mcp_servers import RemoteMcpServerCreate

Address = Annotated[str, StringConstraints(min_length=1, max_length=2048, pattern=r"^https?://[^\s\\#]+$")]
Text = Annotated[str, StringConstraints(min_length=1, max_length=500)]
Remark = Annotated[str, StringConstraints(max_length=1000)]
Texts = Annotated[
    list[Annotated[str, StringConstraints(min_length=1, max_length=2048)]], Field(max_length=64)
]
ScopeToken = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=r"^[!#-\[\]-~]+$")]
Scopes = Annotated[list[ScopeToken], Field(max_length=64)]
Secret = Annotated[SecretStr, Field(strict=False, min_length=1, max_length=16384)]
GrantType = Literal[
    "authorization_code", "device_authorization", "client_credentials", "enterprise_managed_authorization"
]
ClientStrategy = Literal["auto", "dynamic_registration", "client_metadata_document", "manual_client"]
CallbackMode = Literal["hosted_https", "loopback"]
AuthMethod = Literal["none", "client_secret_post", "client_secret_basic", "private_key_jwt"]


class EnterpriseProfile(Body):
    """The identity provider that vouches for the person (ID-JAG)."""

    idp_token_endpoint: Address
    idp_client_id: Text
    idp_client_secret: Secret | None = None
    """Written only."""
    subject_token: Secret | None = None
    """The identity token that it gave. Written only; give a new one before it ends."""
    subject_token_type: Text = "urn:ietf:params:oauth:token-type:id_token"


class OAuthDefinition(Body):
    """How the hub comes to a token. What is left out is discovered."""

    grant_type: GrantType = "authorization_code"
    client_strategy: ClientStrategy = "auto"
    """`auto`: the client that is given, else the hub's metadata document, else registration."""
    callback_mode: CallbackMode = "hosted_https"
    """`loopback` sends the browser to `http://localhost:1455/auth/callback`; hand the address where it ends
    to `POST /remote-mcp-servers/oauth/callback`."""
    token_endpoint_auth_method: AuthMethod | None = None
    client_id: Text | None = None
    client_secret: Secret | None = None
    """Written only."""
    private_key_pem: Secret | None = None
    """For `private_key_jwt`. Written only."""
    issuer: Address | None = None
    authorization_endpoint_override: Address | None = None
    token_endpoint_override: Address | None = None
    registration_endpoint_override: Address | None = None
    device_authorization_endpoint_override: Address | None = None
    protected_resource_metadata_url_override: Address | None = None
    authorization_server_metadata_url_override: Address | None = None
    scopes: Scopes = []
    """By default what the server asks for."""
    resource_indicators: Texts = []
    audiences: Texts = []
    par_mode: Literal["disabled", "enabled", "required"] = "disabled"
    """Pushed authorization requests (RFC 9126)."""
    enterprise_profile: EnterpriseProfile | None = None


class RemoteMcpServerAuthorize(RemoteMcpServerCreate):
    """A server that lets the hub in by OAuth, and how."""

    auth_mode: Literal["oauth"] = "oauth"
    oauth_definition: OAuthDefinition = OAuthDefinition()
    oauth_client_profile_id: Id | None = None


class OAuthReconnect(Replayable):
    """A new way to a token, if it is to be another one."""

    oauth_definition: OAuthDefinition | None = None
    oauth_client_profile_id: Id | None = None


class OAuthNothing(Replayable):
    """Nothing needs to be said."""


class OAuthCallback(Replayable):
    """Where the browser ended."""

    callback_url: Annotated[SecretStr, Field(strict=False, min_length=1, max_length=16384)]


class ClientProfileIn(Replayable):
    """A client that was registered at an authorization server. Secrets that are not given stay."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=120)]
    description: Remark | None = None
    issuer: Address | None = None
    authorization_endpoint: Address | None = None
    token_endpoint: Address
    registration_endpoint: Address | None = None
    device_authorization_endpoint: Address | None = None
    callback_mode: CallbackMode = "hosted_https"
    token_endpoint_auth_method: AuthMethod | None = None
    client_id: Text
    client_secret: Secret | None = None
    """Written only."""
    private_key_pem: Secret | None = None
    """Written only."""
    default_scopes: Scopes = []
    default_resource_indicators: Texts = []
    default_audiences: Texts = []


class ClientProfileQuery(Query):
    """Which profiles to list, newest first."""

    page: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    per_page: Annotated[int, Field(ge=1, le=100)] = 20


@answer
class ClientProfile(TypedDict):
    """A client profile, without its secrets."""

    id: Id
    tenant_id: Id
    name: str
    description: str | None
    issuer: str | None
    authorization_endpoint: str | None
    token_endpoint: str | None
    registration_endpoint: str | None
    device_authorization_endpoint: str | None
    callback_mode: CallbackMode
    token_endpoint_auth_method: AuthMethod | None
    client_id: str | None
    has_client_secret: bool
    has_private_key: bool
    default_scopes: list[str]
    default_resource_indicators: list[str]
    default_audiences: list[str]
    linked_server_count: int
    created_at: Instant
    updated_at: Instant


@answer
class OAuthStart(TypedDict):
    """What a person has to do now, if anything."""

    kind: Literal["browser", "device", "completed", "pending"]
    """`pending`: nothing to do but to ask again."""
    server_id: Id
    draft_id: Id
    """The server; the same id."""
    flow_id: Id
    state: FlowState
    authorize_url: str | None
    """Open it in a browser."""
    device_flow_id: Id | None
    user_code: str | None
    verification_uri: str | None
    verification_uri_complete: str | None
    expires_in_seconds: int
    interval_seconds: float | None


@answer
class OAuthDefinitionOut(TypedDict):
    """How the hub comes to a token, without the secrets."""

    grant_type: GrantType
    client_strategy: ClientStrategy
    callback_mode: CallbackMode
    token_endpoint_auth_method: AuthMethod | None
    client_id: str | None
    has_client_secret: bool
    has_private_key: bool
    issuer: str | None
    authorization_endpoint_override: str | None
    token_endpoint_override: str | None
    registration_endpoint_override: str | None
    device_authorization_endpoint_override: str | None
    protected_resource_metadata_url_override: str | None
    authorization_server_metadata_url_override: str | None
    scopes: list[str]
    resource_indicators: list[str]
    audiences: list[str]
    par_mode: Literal["disabled", "enabled", "required"]
    idp_token_endpoint: str | None
    idp_client_id: str | None


@answer
class OAuthFlow(TypedDict):
    """The last way to a token that was begun."""

    id: Id
    kind: FlowKind
    state: FlowState
    error: str | None
    issuer: str | None
    expires_at: Instant
    created_at: Instant


@answer
class OAuthStatus(TypedDict):
    """Whether the hub is let in, and how."""

    server_id: Id
    oauth_connected: bool
    oauth_needs_reauth: bool
    state: ConnectionState
    error: str | None
    issuer: str | None
    client_id: str | None
    client_strategy: str | None
    scope: str | None
    wanted_scope: str | None
    """What the server asked for since; the next authorization asks for it."""
    expires_at: Instant | None
    renews_itself: bool
    oauth_authorized_at: Instant | None
    oauth_authorized_by: Id | None
    oauth_client_profile_id: Id | None
    oauth_definition: OAuthDefinitionOut
    flow: OAuthFlow | None
