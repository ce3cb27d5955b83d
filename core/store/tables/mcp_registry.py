"""MCP servers and what they offer, OAuth profiles, flows and tokens."""

from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from core.mcp.words import (
    AuthMode,
    ItemKind,
    ItemState,
    Pinning,
    Placement,
    ServerKind,
    TransportPreference,
    ValueKind,
)
from core.store.tables.declaring import one_of, table, where
from core.store.types import Id, Instant, Json
from schemas.oauth import ConnectionState, FlowKind, FlowState
from schemas.vocabulary import Health, VerificationStatus


class McpServerRow(SQLModel, table=True):
    """A server that the hub calls for others. What it said when it was verified stays, whatever happens."""

    __tablename__ = "mcp_server"
    __table_args__ = (
        sa.CheckConstraint(one_of("kind", ServerKind), name="mcp_server_kind_valid"),
        sa.CheckConstraint(
            one_of("transport_preference", TransportPreference), name="mcp_server_preference_valid"
        ),
        sa.CheckConstraint(one_of("auth_mode", AuthMode), name="mcp_server_auth_mode_valid"),
        sa.CheckConstraint(one_of("pinning", Pinning), name="mcp_server_pinning_valid"),
        sa.CheckConstraint(
            one_of("verification_status", VerificationStatus), name="mcp_server_verification_valid"
        ),
        sa.CheckConstraint(one_of("health", Health), name="mcp_server_health_valid"),
        sa.UniqueConstraint("tenant_id", "slug", name="mcp_server_slug"),
        sa.UniqueConstraint("tenant_id", "name", name="mcp_server_name"),
        sa.Index("mcp_server_due", "verify_at", **where("verify_at IS NOT NULL")),
    )
    id: UUID = Field(primary_key=True, sa_type=Id)
    tenant_id: UUID = Field(sa_type=Id)
    slug: str
    """What its tools are called by: `slug__tool`. It never changes."""
    name: str
    description: str | None = None
    kind: str
    endpoint_url: str
    document_url: str | None = None
    """Where an OpenAPI document came from."""
    document: dict[str, Any] | None = Field(default=None, sa_type=Json)
    """An OpenAPI document, with what of it becomes tools."""
    transport_preference: str
    call_timeout_seconds: int
    auth_mode: str
    pinning: str
    is_archived: bool = False
    reverify_seconds: int | None = None
    """How often it is verified by itself."""
    registered_by: UUID = Field(sa_type=Id)
    worker_id: UUID | None = Field(default=None, sa_type=Id)
    """The worker that hosts it."""
    verification_status: str
    verification_error: str | None = None
    verified_at: datetime | None = Field(default=None, sa_type=Instant)
    verified_transport: str | None = None
    verified_era: str | None = None
    verified_version: str | None = None
    """The revision of MCP that is spoken with it."""
    versions: list[str] = Field(sa_type=Json)
    """All revisions that it says it speaks."""
    capabilities: dict[str, Any] = Field(sa_type=Json)
    server_info: dict[str, Any] = Field(sa_type=Json)
    warnings: list[str] = Field(sa_type=Json)
    """What was left out of the last snapshot, and why."""
    verify_at: datetime | None = Field(default=None, sa_type=Instant)
    """When it is to be verified next."""
    health: str
    health_error: str | None = None
    health_at: datetime = Field(sa_type=Instant)
    challenge: str | None = None
    """`WWW-Authenticate` of the last refusal, while it needs authorization."""
    failures: int = 0
    """How often in a row it could not be reached."""
    retry_at: datetime | None = Field(default=None, sa_type=Instant)
    """While it is unreachable: until then it is not called."""
    revision: int = 1
    """Grows with every change of what is called, how, and what it offers."""
    created_at: datetime = Field(sa_type=Instant)
    updated_at: datetime = Field(sa_type=Instant)


class McpItemRow(SQLModel, table=True):
    """One thing that a server offers. `definition` is what it said last, `approved` what may be shown."""

    __tablename__ = "mcp_item"
    __table_args__ = (
        sa.CheckConstraint(one_of("kind", ItemKind), name="mcp_item_kind_valid"),
        sa.CheckConstraint(one_of("state", ItemState), name="mcp_item_state_valid"),
        sa.UniqueConstraint("server_id", "kind", "name", name="mcp_item_name"),
    )
    id: UUID = Field(primary_key=True, sa_type=Id)
    tenant_id: UUID = Field(sa_type=Id)
    server_id: UUID = Field(sa_type=Id)
    kind: str
    name: str
    """Of a tool or prompt; the URI of a resource, the URI template of a template."""
    position: int
    """Its place in the server's own order."""
    state: str
    definition: dict[str, Any] = Field(sa_type=Json)
    definition_hash: str
    """SHA-256 over the canonical JSON of what a model or a policy goes by."""
    approved: dict[str, Any] | None = Field(default=None, sa_type=Json)
    approved_hash: str | None = None
    approved_at: datetime | None = Field(default=None, sa_type=Instant)
    approved_by: UUID | None = Field(default=None, sa_type=Id)
    flags: list[str] = Field(sa_type=Json)
    """What a reader should look at twice, as characters that cannot be seen."""
    seen_at: datetime = Field(sa_type=Instant)
    """When the server first said this definition."""


class McpParameterRow(SQLModel, table=True):
    """A value that goes into every call of a server."""

    __tablename__ = "mcp_parameter"
    __table_args__ = (
        sa.CheckConstraint(one_of("placement", Placement), name="mcp_parameter_placement_valid"),
        sa.CheckConstraint(one_of("value_kind", ValueKind), name="mcp_parameter_value_kind_valid"),
        sa.Index("mcp_parameter_server", "server_id", "position"),
    )
    id: UUID = Field(primary_key=True, sa_type=Id)
    tenant_id: UUID = Field(sa_type=Id)
    server_id: UUID = Field(sa_type=Id)
    position: int
    placement: str
    key: str
    value_kind: str
    value: str | None = None
    secret: str | None = None
    """Sealed."""
    updated_at: datetime = Field(sa_type=Instant)


class McpHostingRow(SQLModel, table=True):
    """A worker that runs the program of a hosted server, under a lease that fences it."""

    __tablename__ = "mcp_hosting"
    server_id: UUID = Field(primary_key=True, sa_type=Id)
    tenant_id: UUID = Field(sa_type=Id)
    lease_id: UUID = Field(sa_type=Id)
    holder_id: UUID = Field(sa_type=Id)
    places: int
    """How many programs it runs at once."""
    expires_at: datetime = Field(sa_type=Instant)
    started_at: datetime = Field(sa_type=Instant)


class McpChannelRow(SQLModel, table=True):
    """One run of a hosted program, for one session."""

    __tablename__ = "mcp_channel"
    __table_args__ = (sa.Index("mcp_channel_lease", "lease_id"),)
    id: UUID = Field(primary_key=True, sa_type=Id)
    tenant_id: UUID = Field(sa_type=Id)
    server_id: UUID = Field(sa_type=Id)
    lease_id: UUID = Field(sa_type=Id)
    error: str | None = None
    """Why it has ended, where the worker has said so."""
    given_id: UUID | None = Field(default=None, sa_type=Id)
    """The last frame that the worker gave."""
    needed_until: datetime = Field(sa_type=Instant)
    """Renewed by whoever uses it; afterwards nobody does."""
    opened_at: datetime = Field(sa_type=Instant)


class McpFrameRow(SQLModel, table=True):
    """A message on its way through a channel. It is gone as soon as it was taken."""

    __tablename__ = "mcp_frame"
    __table_args__ = (
        sa.Index("mcp_frame_lease", "lease_id", "id", **where("is_outbound")),
        sa.Index("mcp_frame_channel", "channel_id", "id", **where("NOT is_outbound")),
    )
    id: UUID = Field(primary_key=True, sa_type=Id)
    tenant_id: UUID = Field(sa_type=Id)
    lease_id: UUID = Field(sa_type=Id)
    channel_id: UUID = Field(sa_type=Id)
    is_outbound: bool
    """From the hub to the worker."""
    kind: str
    body: str | None = None
    created_at: datetime = Field(sa_type=Instant)


class McpOauthProfileRow(SQLModel, table=True):
    """A client that an operator registered at an authorization server, to be used for several MCP servers."""

    __tablename__ = "mcp_oauth_profile"
    __table_args__ = (sa.UniqueConstraint("tenant_id", "name", name="mcp_oauth_profile_name"),)
    id: UUID = Field(primary_key=True, sa_type=Id)
    tenant_id: UUID = Field(sa_type=Id)
    name: str
    description: str | None = None
    definition: dict[str, Any] = Field(sa_type=Json)
    """Issuer, endpoints, client and defaults, without the secrets."""
    secrets: str | None = None
    """Sealed."""
    created_at: datetime = Field(sa_type=Instant)
    updated_at: datetime = Field(sa_type=Instant)


class McpOauthConnectionRow(SQLModel, table=True):
    """What OAuth knows about one MCP server: how to get a token, and the one that it has."""

    __tablename__ = "mcp_oauth_connection"
    __table_args__ = (
        sa.CheckConstraint(one_of("state", ConnectionState), name="mcp_oauth_connection_state_valid"),
        sa.Index("mcp_oauth_connection_profile", "profile_id"),
    )
    server_id: UUID = Field(primary_key=True, sa_type=Id)
    tenant_id: UUID = Field(sa_type=Id)
    endpoint_url: str
    """The server. A credential is for this address, and for no other."""
    definition: dict[str, Any] = Field(sa_type=Json)
    profile_id: UUID | None = Field(default=None, sa_type=Id)
    secrets: str | None = None
    """Sealed: what was given with the definition."""
    state: str
    error: str | None = None
    """Why it is not connected, in words that may be shown."""
    discovered: dict[str, Any] | None = Field(default=None, sa_type=Json)
    """What the server and its authorization server said when it was last authorized."""
    client: dict[str, Any] | None = Field(default=None, sa_type=Json)
    """How the hub is known to the issuer."""
    client_secret: str | None = None
    """Sealed."""
    access_token: str | None = None
    """Sealed."""
    refresh_token: str | None = None
    """Sealed."""
    expires_at: datetime | None = Field(default=None, sa_type=Instant)
    renew_at: datetime | None = Field(default=None, sa_type=Instant)
    """From then on it is renewed before it is used."""
    scope: str | None = None
    """What was granted, else what was asked for."""
    wanted_scope: str | None = None
    """What the server asked for since."""
    authorized_at: datetime | None = Field(default=None, sa_type=Instant)
    authorized_by: UUID | None = Field(default=None, sa_type=Id)
    revision: int
    """Grows with every token, and with everything that ends one."""
    lease_id: UUID | None = Field(default=None, sa_type=Id)
    """Of whoever renews the token now."""
    lease_until: datetime | None = Field(default=None, sa_type=Instant)
    created_at: datetime = Field(sa_type=Instant)
    updated_at: datetime = Field(sa_type=Instant)


class McpOauthFlowRow(SQLModel, table=True):
    """One way to a token, from discovery to the end: what any replica needs to go on with it."""

    __tablename__ = "mcp_oauth_flow"
    __table_args__ = (
        sa.CheckConstraint(one_of("state", FlowState), name="mcp_oauth_flow_state_valid"),
        sa.CheckConstraint(one_of("kind", FlowKind), name="mcp_oauth_flow_kind_valid"),
        sa.UniqueConstraint("state_hash", name="mcp_oauth_flow_state_hash"),
        sa.Index("mcp_oauth_flow_server", "server_id"),
        sa.Index("mcp_oauth_flow_due", "due_at", **where("state IN ('preparing', 'waiting', 'exchanging')")),
    )
    id: UUID = Field(primary_key=True, sa_type=Id)
    tenant_id: UUID = Field(sa_type=Id)
    server_id: UUID = Field(sa_type=Id)
    principal_id: UUID = Field(sa_type=Id)
    """Who began it."""
    kind: str
    state: str
    error: str | None = None
    context: dict[str, Any] = Field(sa_type=Json)
    """Which issuer, endpoints, resource and scope it is about."""
    secrets: str | None = None
    """Sealed: verifier, authorization URL, codes."""
    state_hash: str | None = None
    """SHA-256 of the `state` that comes back with the browser; used once."""
    tries: int
    lease_id: UUID | None = Field(default=None, sa_type=Id)
    lease_until: datetime | None = Field(default=None, sa_type=Instant)
    due_at: datetime = Field(sa_type=Instant)
    """When it is to be looked at, though nobody asks."""
    expires_at: datetime = Field(sa_type=Instant)
    created_at: datetime = Field(sa_type=Instant)
    updated_at: datetime = Field(sa_type=Instant)


mcp_server = table("mcp_server")
mcp_item = table("mcp_item")
mcp_parameter = table("mcp_parameter")
mcp_hosting = table("mcp_hosting")
mcp_channel = table("mcp_channel")
mcp_frame = table("mcp_frame")
mcp_oauth_profile = table("mcp_oauth_profile")
mcp_oauth_connection = table("mcp_oauth_connection")
mcp_oauth_flow = table("mcp_oauth_flow")
