"""OAuth connections, ways to them and client profiles, as the API shows them and as it takes them."""

from datetime import datetime
from typing import Any, cast

from pydantic import SecretStr

from core.mcp_oauth.connection_records import Connection
from core.mcp_oauth.definition import Definition, Enterprise, Secrets
from core.mcp_oauth.flow_records import Flow
from core.mcp_oauth.profiles import Profile
from schemas.oauth import (
    CallbackMode,
    ClientStrategy,
    ConnectionState,
    FlowKind,
    FlowState,
    GrantType,
    ParMode,
    TokenAuthMethod,
)
from schemas.v1 import remote_mcp_oauth as v1
from schemas.v1.fields import stamp, stamp_or_none


def definition_of(given: v1.OAuthDefinition) -> Definition:
    """What an operator says."""
    provider = given.enterprise_profile
    method = given.token_endpoint_auth_method
    return Definition(
        grant_type=GrantType(given.grant_type),
        client_strategy=ClientStrategy(given.client_strategy),
        callback_mode=CallbackMode(given.callback_mode),
        token_endpoint_auth_method=None if method is None else TokenAuthMethod(method),
        client_id=given.client_id,
        issuer=given.issuer,
        authorization_endpoint=given.authorization_endpoint_override,
        token_endpoint=given.token_endpoint_override,
        registration_endpoint=given.registration_endpoint_override,
        device_authorization_endpoint=given.device_authorization_endpoint_override,
        resource_metadata_url=given.protected_resource_metadata_url_override,
        server_metadata_url=given.authorization_server_metadata_url_override,
        scopes=tuple(given.scopes),
        resource_indicators=tuple(given.resource_indicators),
        audiences=tuple(given.audiences),
        par_mode=ParMode(given.par_mode),
        enterprise=None
        if provider is None
        else Enterprise(provider.idp_token_endpoint, provider.idp_client_id, provider.subject_token_type),
    )


def secrets_of(given: v1.OAuthDefinition) -> Secrets:
    """The secrets that came with it."""
    provider = given.enterprise_profile
    return Secrets(
        client_secret=_plain(given.client_secret),
        private_key=_plain(given.private_key_pem),
        idp_client_secret=None if provider is None else _plain(provider.idp_client_secret),
        subject_token=None if provider is None else _plain(provider.subject_token),
    )


def profile_of(given: v1.ClientProfileIn) -> tuple[Definition, Secrets]:
    """A client profile, and its secrets."""
    method = given.token_endpoint_auth_method
    definition = Definition(
        client_strategy=ClientStrategy.MANUAL_CLIENT,
        callback_mode=CallbackMode(given.callback_mode),
        token_endpoint_auth_method=None if method is None else TokenAuthMethod(method),
        client_id=given.client_id,
        issuer=given.issuer,
        authorization_endpoint=given.authorization_endpoint,
        token_endpoint=given.token_endpoint,
        registration_endpoint=given.registration_endpoint,
        device_authorization_endpoint=given.device_authorization_endpoint,
        scopes=tuple(given.default_scopes),
        resource_indicators=tuple(given.default_resource_indicators),
        audiences=tuple(given.default_audiences),
    )
    secrets = Secrets(client_secret=_plain(given.client_secret), private_key=_plain(given.private_key_pem))
    return definition, secrets


def client_profile(value: Profile) -> v1.ClientProfile:
    """A client profile."""
    said = value.definition
    return {
        "id": value.id,
        "tenant_id": value.tenant_id,
        "name": value.name,
        "description": value.description,
        "issuer": said.issuer,
        "authorization_endpoint": said.authorization_endpoint,
        "token_endpoint": said.token_endpoint,
        "registration_endpoint": said.registration_endpoint,
        "device_authorization_endpoint": said.device_authorization_endpoint,
        "callback_mode": cast(Any, said.callback_mode.value),
        "token_endpoint_auth_method": cast(Any, _word(said.token_endpoint_auth_method)),
        "client_id": said.client_id,
        "has_client_secret": value.has_client_secret,
        "has_private_key": value.has_private_key,
        "default_scopes": list(said.scopes),
        "default_resource_indicators": list(said.resource_indicators),
        "default_audiences": list(said.audiences),
        "linked_server_count": value.servers,
        "created_at": stamp(value.created_at),
        "updated_at": stamp(value.updated_at),
    }


def oauth_start(flow: Flow, now: datetime) -> v1.OAuthStart:
    """What a person has to do."""
    shown = flow.shown or {}
    kind = "pending"
    if flow.state is FlowState.COMPLETED:
        kind = "completed"
    elif flow.state is FlowState.WAITING:
        kind = flow.kind.value
    device = flow.kind is FlowKind.DEVICE
    return {
        "kind": cast(Any, kind),
        "server_id": flow.server_id,
        "draft_id": flow.server_id,
        "flow_id": flow.id,
        "state": flow.state,
        "authorize_url": shown.get("authorize_url"),
        "device_flow_id": flow.id if device else None,
        "user_code": shown.get("user_code"),
        "verification_uri": shown.get("verification_uri"),
        "verification_uri_complete": shown.get("verification_uri_complete"),
        "expires_in_seconds": max(0, int((flow.expires_at - now).total_seconds())),
        "interval_seconds": flow.context.get("interval") if device else None,
    }


def oauth_status(value: Connection, flow: Flow | None) -> v1.OAuthStatus:
    """A connection, and the last way to it."""
    client = value.client
    return {
        "server_id": value.server_id,
        "oauth_connected": value.state is ConnectionState.CONNECTED,
        "oauth_needs_reauth": value.state is ConnectionState.NEEDS_REAUTH,
        "state": value.state,
        "error": value.error,
        "issuer": value.issuer,
        "client_id": None if client is None else client.client_id,
        "client_strategy": None if client is None else client.strategy,
        "scope": value.scope,
        "wanted_scope": value.wanted_scope,
        "expires_at": stamp_or_none(value.expires_at),
        "renews_itself": value.renewable,
        "oauth_authorized_at": stamp_or_none(value.authorized_at),
        "oauth_authorized_by": value.authorized_by,
        "oauth_client_profile_id": value.profile_id,
        "oauth_definition": _definition(value),
        "flow": None if flow is None else _flow(flow),
    }


def _definition(value: Connection) -> v1.OAuthDefinitionOut:
    said, provider = value.definition, value.definition.enterprise
    return {
        "grant_type": cast(Any, said.grant_type.value),
        "client_strategy": cast(Any, said.client_strategy.value),
        "callback_mode": cast(Any, said.callback_mode.value),
        "token_endpoint_auth_method": cast(Any, _word(said.token_endpoint_auth_method)),
        "client_id": said.client_id,
        "has_client_secret": value.has_client_secret,
        "has_private_key": value.has_private_key,
        "issuer": said.issuer,
        "authorization_endpoint_override": said.authorization_endpoint,
        "token_endpoint_override": said.token_endpoint,
        "registration_endpoint_override": said.registration_endpoint,
        "device_authorization_endpoint_override": said.device_authorization_endpoint,
        "protected_resource_metadata_url_override": said.resource_metadata_url,
        "authorization_server_metadata_url_override": said.server_metadata_url,
        "scopes": list(said.scopes),
        "resource_indicators": list(said.resource_indicators),
        "audiences": list(said.audiences),
        "par_mode": cast(Any, said.par_mode.value),
        "idp_token_endpoint": None if provider is None else provider.idp_token_endpoint,
        "idp_client_id": None if provider is None else provider.idp_client_id,
    }


def _flow(flow: Flow) -> v1.OAuthFlow:
    return {
        "id": flow.id,
        "kind": flow.kind,
        "state": flow.state,
        "error": flow.error,
        "issuer": flow.context.get("issuer"),
        "expires_at": stamp(flow.expires_at),
        "created_at": stamp(flow.created_at),
    }


def _plain(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()


def _word(method: TokenAuthMethod | None) -> str | None:
    return None if method is None else method.value
