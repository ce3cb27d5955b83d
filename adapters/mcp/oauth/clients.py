"""How the hub is known to an authorization server: a client that was given, the hub's metadata document, or a
registration (RFC 7591), in this order. What was registered at one issuer is never used at another.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic_core import to_json

from adapters.mcp.oauth.documents import Server
from adapters.mcp.oauth.failures import OAuthFailure, Refused
from adapters.mcp.oauth.tokens import Endpoints, Proof
from core.mcp_oauth.connection_records import Client
from core.mcp_oauth.opened import OpenConnection
from schemas.oauth import CallbackMode, ClientStrategy, GrantType, TokenAuthMethod

LOOPBACK: Final = "http://localhost:1455/auth/callback"
_GRANTS: Final = {
    GrantType.AUTHORIZATION_CODE: "authorization_code",
    GrantType.DEVICE_AUTHORIZATION: "urn:ietf:params:oauth:grant-type:device_code",
    GrantType.CLIENT_CREDENTIALS: "client_credentials",
    GrantType.ENTERPRISE_MANAGED_AUTHORIZATION: "urn:ietf:params:oauth:grant-type:jwt-bearer",
}
_M = TokenAuthMethod


@dataclass(frozen=True)
class Identity:
    """What the hub says of itself."""

    public_url: str
    document_url: str
    """Where its client metadata document is: its `client_id` where that is taken."""

    @property
    def hosted_callback(self) -> str:
        """Where browsers come back to."""
        return self.public_url + "/api/v1/oauth/callback"

    def document(self) -> dict[str, Any]:
        """The client metadata document."""
        return {
            "client_id": self.document_url,
            "client_name": "Crossdock",
            "client_uri": self.public_url,
            "redirect_uris": [self.hosted_callback, LOOPBACK],
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "token_endpoint_auth_method": "none",
        }

    def callback(self, mode: CallbackMode) -> str:
        """The redirect URI of a mode."""
        return LOOPBACK if mode is CallbackMode.LOOPBACK else self.hosted_callback


class Clients:
    """Makes the hub known. It keeps nothing."""

    def __init__(self, endpoints: Endpoints, identity: Identity) -> None:
        self._endpoints = endpoints
        self._identity = identity

    async def proof(self, opened: OpenConnection, server: Server, scope: str | None) -> Proof:
        """Who the hub is at this server. What is new about it is for the caller to keep.

        Raises:
            OAuthFailure: it cannot be known there.
        """
        definition, secrets = opened.definition, opened.secrets
        redirect = self._identity.callback(definition.callback_mode)
        strategy = definition.client_strategy
        if definition.client_id is not None and strategy in (
            ClientStrategy.AUTO,
            ClientStrategy.MANUAL_CLIENT,
        ):
            method = definition.token_endpoint_auth_method or _method(server, secrets)
            client = Client(
                server.issuer,
                definition.client_id,
                ClientStrategy.MANUAL_CLIENT.value,
                method.value,
                redirect,
            )
            return Proof(client, secrets.client_secret, secrets.private_key)
        known = opened.connection.client
        if known is not None and (known.issuer, known.redirect_uri) == (server.issuer, redirect):
            return Proof(known, opened.client_secret, secrets.private_key)
        if strategy is ClientStrategy.CLIENT_METADATA_DOCUMENT or (
            strategy is ClientStrategy.AUTO
            and server.takes_documents
            and self._identity.document_url.startswith("https://")
        ):
            client_id = self._identity.document_url
            strategy = ClientStrategy.CLIENT_METADATA_DOCUMENT
            return Proof(Client(server.issuer, client_id, strategy.value, _M.NONE.value, redirect))
        if strategy is ClientStrategy.MANUAL_CLIENT:
            raise OAuthFailure("no_client", "clientId is missing")
        if server.registration_endpoint is None:
            raise OAuthFailure("no_client", "the authorization server registers no clients: give clientId")
        return await self._register(opened, server, redirect, scope)

    async def _register(
        self, opened: OpenConnection, server: Server, redirect: str, scope: str | None
    ) -> Proof:
        assert server.registration_endpoint is not None, "it was just asked for"
        definition = opened.definition
        method = definition.token_endpoint_auth_method or _registered_method(server)
        grants = [_GRANTS[definition.grant_type]]
        asked: dict[str, Any] = {
            "client_name": "Crossdock",
            "client_uri": self._identity.public_url,
            "token_endpoint_auth_method": method.value,
        }
        if definition.grant_type.interactive:
            grants.append("refresh_token")
        if definition.grant_type is GrantType.AUTHORIZATION_CODE:
            asked |= {
                "redirect_uris": [redirect],
                "response_types": ["code"],
                "application_type": _kind(redirect),
            }
        asked["grant_types"] = grants
        if scope:
            asked["scope"] = scope
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        what = "registration"
        try:
            told = await self._endpoints.send(server.registration_endpoint, what, headers, to_json(asked))
        except Refused as refused:
            raise OAuthFailure("registration_refused", refused.reason) from refused
        return _registered(told, server, method, redirect)


def _registered(told: Mapping[str, Any], server: Server, asked: TokenAuthMethod, redirect: str) -> Proof:
    client_id, secret = told.get("client_id"), told.get("client_secret")
    if type(client_id) is not str or not client_id:
        raise OAuthFailure("malformed", "registration gave no client id")
    try:
        method = TokenAuthMethod(told.get("token_endpoint_auth_method") or asked)
    except ValueError:
        raise OAuthFailure(
            "registration_refused", "registration gave a method that the hub has not"
        ) from None
    secret = secret if type(secret) is str and secret else None
    if method in (_M.CLIENT_SECRET_BASIC, _M.CLIENT_SECRET_POST) and secret is None:
        raise OAuthFailure("malformed", "registration gave no secret")
    strategy = ClientStrategy.DYNAMIC_REGISTRATION.value
    return Proof(Client(server.issuer, client_id, strategy, method.value, redirect), secret)


def _method(server: Server, secrets: Any) -> TokenAuthMethod:
    if secrets.private_key:
        return _M.PRIVATE_KEY_JWT
    if not secrets.client_secret:
        return _M.NONE
    offered = server.auth_methods
    post = _M.CLIENT_SECRET_POST.value in offered and _M.CLIENT_SECRET_BASIC.value not in offered
    return _M.CLIENT_SECRET_POST if post else _M.CLIENT_SECRET_BASIC  # RFC 8414: basic where nothing is said


def _registered_method(server: Server) -> TokenAuthMethod:
    """Without a secret where that is offered; PKCE protects the code."""
    for method in (_M.NONE, _M.CLIENT_SECRET_BASIC, _M.CLIENT_SECRET_POST):
        if method.value in server.auth_methods:
            return method
    return _M.CLIENT_SECRET_BASIC if server.auth_methods else _M.NONE


def _kind(redirect: str) -> str:
    """OpenID Connect Registration §2: a `web` client has https redirects, a `native` one loopback."""
    return "web" if redirect.startswith("https://") else "native"
