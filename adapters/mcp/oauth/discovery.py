"""Finds out whom to ask for a token: from an MCP server to its authorization server.

Every address that a server names is judged by the outbound guard before it is called. What the operator said
wins over what is discovered.
"""

from dataclasses import dataclass, replace
from typing import Final

from adapters.mcp.oauth.documents import (
    Challenge,
    Resource,
    Server,
    origin_of,
    resource_metadata_urls,
    resource_of,
    server_metadata_urls,
    server_of,
    united,
)
from adapters.mcp.oauth.failures import OAuthFailure, object_of, unreachable
from adapters.outbound import METADATA, Answer, Failure, Outbound, OutboundError
from core.egress import BadTarget, Blocked
from core.mcp_oauth.definition import Definition
from schemas.oauth import GrantType

_ACCEPT: Final = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
_MODERN: Final = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/list"}
PROBES: Final = (
    (
        _ACCEPT,
        b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25",'
        b'"capabilities":{},"clientInfo":{"name":"crossdock","version":"1"}}}',
    ),
    (
        {**_ACCEPT, **_MODERN},
        b'{"jsonrpc":"2.0","id":2,"method":"tools/list","params":{"_meta":{'
        b'"io.modelcontextprotocol/protocolVersion":"2026-07-28",'
        b'"io.modelcontextprotocol/clientCapabilities":{},'
        b'"io.modelcontextprotocol/clientInfo":{"name":"crossdock","version":"1"}}}}',
    ),
)
"""What is asked without a credential, to be refused: some servers let anybody begin, and refuse then."""
_HOPS: Final = 2


@dataclass(frozen=True)
class Discovered:
    """Whom to ask, and for what."""

    resource: str
    """The resource indicator (RFC 8707)."""
    scope: str | None
    server: Server
    legacy: bool
    """The MCP server has no metadata: it is of a revision before 2025-06-18."""


class Discovery:
    """Asks servers about themselves. It keeps nothing."""

    def __init__(self, outbound: Outbound) -> None:
        self._outbound = outbound

    async def discover(self, endpoint: str, definition: Definition, wanted_scope: str | None) -> Discovered:
        """Whom to ask for a token for an endpoint.

        Raises:
            OAuthFailure: there is nobody, or what is said cannot be trusted.
        """
        challenge = await self._challenge(endpoint)
        resource = await self._resource(endpoint, challenge, definition)
        server = await self._server(endpoint, resource, definition)
        given = {name: getattr(definition, name) for name in _OVERRIDES if getattr(definition, name)}
        server = replace(server, **given)
        if server.token_endpoint is None:
            raise OAuthFailure("no_token_endpoint", "the authorization server names no token endpoint")
        if definition.grant_type is GrantType.AUTHORIZATION_CODE and not server.has_pkce:
            raise OAuthFailure("no_pkce", "the authorization server does not offer PKCE with S256")
        for url in (
            server.token_endpoint,
            server.authorization_endpoint,
            server.device_authorization_endpoint,
        ):
            if url is not None:
                self._check(url)
        indicator = definition.resource_indicators[0] if definition.resource_indicators else None
        return Discovered(
            resource=indicator or (endpoint if resource is None else resource.resource),
            scope=self._scope(definition, wanted_scope, challenge, resource, server),
            server=server,
            legacy=resource is None,
        )

    async def _challenge(self, endpoint: str) -> Challenge:
        for headers, body in PROBES:
            try:
                answer = await self._outbound.fetch(
                    "POST", endpoint, purpose=METADATA, headers=headers, data=body
                )
            except OutboundError as error:
                if error.failure is Failure.TOO_LARGE:  # it lets anybody in, and tells a lot
                    continue
                raise unreachable("the MCP server", error) from error
            if answer.status in (401, 403):
                return Challenge.of(", ".join(answer.headers.getall("WWW-Authenticate", ())))
        return Challenge()

    async def _resource(self, endpoint: str, challenge: Challenge, definition: Definition) -> Resource | None:
        hinted = definition.resource_metadata_url or challenge.resource_metadata
        urls = [hinted] if hinted else []
        urls += [url for url in resource_metadata_urls(endpoint) if url != hinted]
        for url in urls:
            answer = await self._get(url, "the MCP server's metadata")
            if answer is not None:
                return resource_of(object_of(answer, "the MCP server's metadata"), endpoint)
        return None

    async def _server(self, endpoint: str, resource: Resource | None, definition: Definition) -> Server:
        servers = () if resource is None else resource.authorization_servers
        issuer = definition.issuer or (servers[0] if servers else origin_of(endpoint))
        what = "the authorization server's metadata"
        urls = server_metadata_urls(issuer)
        if definition.server_metadata_url:
            urls = [definition.server_metadata_url]
        for url in urls:
            answer = await self._get(url, what)
            if answer is not None:
                told = object_of(answer, what)
                if not servers and definition.issuer is None and _same_origin(told.get("issuer"), endpoint):
                    issuer = str(told["issuer"])
                return server_of(told, issuer)
        if definition.token_endpoint:
            return Server(issuer)
        if resource is None or not servers:  # MCP 2025-03-26, "Fallbacks for Servers without Metadata"
            return Server(issuer, issuer + "/authorize", issuer + "/token", issuer + "/register")
        raise OAuthFailure("no_metadata", "the authorization server publishes no metadata")

    async def _get(self, url: str, what: str) -> Answer | None:
        """A document, or None where there is none."""
        self._check(url)
        try:
            answer = await self._outbound.fetch(
                "GET", url, purpose=METADATA, headers={"Accept": "application/json"}, hops=_HOPS
            )
        except OutboundError as error:
            raise unreachable(what, error) from error
        if answer.status >= 500:
            raise OAuthFailure("unreachable", f"{what}: HTTP {answer.status}", retryable=True)
        return answer if answer.status == 200 else None

    def _check(self, url: str) -> None:
        try:
            self._outbound.check(url)
        except Blocked as blocked:
            why = blocked.reason if isinstance(blocked, BadTarget) else "the hub does not call there"
            raise OAuthFailure("blocked", f"an address that a server names is refused: {why}") from blocked

    @staticmethod
    def _scope(
        definition: Definition,
        wanted: str | None,
        challenge: Challenge,
        resource: Resource | None,
        server: Server,
    ) -> str | None:
        scope = " ".join(definition.scopes) or challenge.scope
        if not scope and resource is not None:
            scope = " ".join(resource.scopes_supported)
        scope = united(wanted, scope) or ""
        offers_offline = "offline_access" in server.scopes_supported and definition.grant_type.interactive
        return united(scope, "offline_access" if scope and offers_offline else None)


_OVERRIDES: Final = (
    "authorization_endpoint",
    "token_endpoint",
    "registration_endpoint",
    "device_authorization_endpoint",
)


def _same_origin(issuer: object, endpoint: str) -> bool:
    return type(issuer) is str and issuer.rstrip("/") == origin_of(endpoint)
