"""Tokens that need nobody: by client credentials, by an identity provider's word, or by a refresh token."""

from collections.abc import Sequence
from typing import Any, Final

from adapters.mcp.oauth.discovery import Discovered
from adapters.mcp.oauth.documents import Server
from adapters.mcp.oauth.failures import OAuthFailure
from adapters.mcp.oauth.tokens import JWT_BEARER, Endpoints, Extras, Proof
from core.mcp_oauth.connection_records import Granted
from core.mcp_oauth.opened import OpenConnection
from schemas.oauth import GrantType

EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
ID_JAG: Final = "urn:ietf:params:oauth:token-type:id-jag"


class Unattended:
    """Asks for tokens. It keeps nothing."""

    def __init__(self, endpoints: Endpoints) -> None:
        self._endpoints = endpoints

    async def grant(self, opened: OpenConnection, found: Discovered, proof: Proof, extras: Extras) -> Granted:
        """A token by the grant of the definition, which needs nobody.

        Raises:
            OAuthFailure: there is none.
        """
        return await self.again(opened, found.server, proof, found.resource, found.scope, extras)

    async def again(
        self,
        opened: OpenConnection,
        server: Server,
        proof: Proof,
        resource: str,
        scope: str | None,
        extras: Extras,
    ) -> Granted:
        """The same, from what was discovered before. Raises as `grant`."""
        form = about(opened, resource, scope)
        if opened.definition.grant_type is GrantType.CLIENT_CREDENTIALS:
            form["grant_type"] = "client_credentials"
        else:
            form |= {
                "grant_type": JWT_BEARER,
                "assertion": await self._vouched(opened, server, resource, scope),
            }
        return await self._endpoints.token(server, proof, form, extras)

    async def refresh(
        self, opened: OpenConnection, server: Server, proof: Proof, resource: str, extras: Extras
    ) -> Granted:
        """A token by the refresh token. Raises as `grant`."""
        assert opened.refresh_token is not None, "whoever asks has looked"
        form = about(opened, resource, None)
        form |= {"grant_type": "refresh_token", "refresh_token": opened.refresh_token}
        return await self._endpoints.token(server, proof, form, extras)

    async def _vouched(self, opened: OpenConnection, server: Server, resource: str, scope: str | None) -> str:
        """The identity provider's word for this server and resource (RFC 8693, ID-JAG)."""
        provider, secrets = opened.definition.enterprise, opened.secrets
        if provider is None or secrets.subject_token is None:
            raise OAuthFailure("no_provider", "the identity provider or its token is missing")
        form = {
            "grant_type": EXCHANGE,
            "requested_token_type": ID_JAG,
            "audience": server.issuer,
            "resource": resource,
            "subject_token": secrets.subject_token,
            "subject_token_type": provider.subject_token_type,
            "client_id": provider.idp_client_id,
        }
        if scope:
            form["scope"] = scope
        if secrets.idp_client_secret:
            form["client_secret"] = secrets.idp_client_secret
        told = await self._endpoints.post(provider.idp_token_endpoint, "the identity provider", form, {})
        word = told.get("access_token")
        if told.get("issued_token_type") != ID_JAG or type(word) is not str:
            raise OAuthFailure("malformed", "the identity provider gave no ID-JAG")
        return word


def about(opened: OpenConnection, resource: str, scope: str | None) -> dict[str, Any]:
    """What a token request says about its purpose."""
    definition = opened.definition
    told: dict[str, str | Sequence[str]] = {"resource": definition.resource_indicators or resource}
    if definition.audiences:
        told["audience"] = definition.audiences
    if scope:
        told["scope"] = scope
    return told
