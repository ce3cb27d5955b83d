"""What servers say about themselves: challenges, protected-resource and authorization-server metadata.

Pure: where to look (RFC 9728 §3.1, RFC 8414 §3.1), what it must say, and what is made of it. Identifiers are
compared as strings.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import TypeAdapter

from adapters.mcp.oauth.failures import OAuthFailure

_PARAMETER: Final = re.compile(r'([A-Za-z0-9_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s",]+))')
_BEARER: Final = re.compile(r"(?:^|[\s,])bearer(?:\s+|$)", re.IGNORECASE)
_MOST_SCOPE: Final = 4096


@dataclass(frozen=True)
class Challenge:
    """What a 401 or 403 says (RFC 6750 §3, RFC 9728 §5.1)."""

    resource_metadata: str | None = None
    scope: str | None = None
    error: str | None = None

    @classmethod
    def of(cls, header: str | None) -> "Challenge":
        """From `WWW-Authenticate`. What is not understood says nothing."""
        found = None if header is None else _BEARER.search(header)
        if header is None or found is None:
            return cls()
        told: dict[str, str] = {}
        for name, quoted, plain in _PARAMETER.findall(header[found.end() :][:8192]):
            told.setdefault(name.lower(), re.sub(r"\\(.)", r"\1", quoted) or plain)
        scope = told.get("scope")
        return cls(
            told.get("resource_metadata"),
            scope if scope and len(scope) <= _MOST_SCOPE else None,
            told.get("error"),
        )


@dataclass(frozen=True)
class Resource:
    """Protected-resource metadata."""

    resource: str
    authorization_servers: Sequence[str]
    scopes_supported: Sequence[str]


@dataclass(frozen=True)
class Server:
    """Authorization-server metadata, as far as the hub uses it."""

    issuer: str
    authorization_endpoint: str | None = None
    token_endpoint: str | None = None
    registration_endpoint: str | None = None
    device_authorization_endpoint: str | None = None
    revocation_endpoint: str | None = None
    pushed_authorization_request_endpoint: str | None = None
    auth_methods: Sequence[str] = ()
    scopes_supported: Sequence[str] = ()
    takes_documents: bool = False
    """Whether it fetches client metadata documents."""
    tells_iss: bool = False
    """Whether its answers name it (RFC 9207)."""
    has_pkce: bool = True
    requires_par: bool = False

    def kept(self) -> dict[str, Any]:
        """As a row keeps it."""
        return dataclasses.asdict(self)

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> "Server":
        """As a row kept it."""
        return _SERVER.validate_python(dict(kept))


_SERVER: Final = TypeAdapter(Server)
_ENDPOINTS: Final = (
    "authorization_endpoint",
    "token_endpoint",
    "registration_endpoint",
    "device_authorization_endpoint",
    "revocation_endpoint",
    "pushed_authorization_request_endpoint",
)


def resource_metadata_urls(endpoint: str) -> list[str]:
    """Where the metadata of a protected resource may be when no challenge says (RFC 9728 §3.1)."""
    parts = urlsplit(endpoint)
    root = f"{parts.scheme}://{parts.netloc}/.well-known/oauth-protected-resource"
    return [root + parts.path, root] if parts.path not in ("", "/") else [root]


def server_metadata_urls(issuer: str) -> list[str]:
    """Where the metadata of an authorization server may be (RFC 8414 §3.1, OpenID Connect Discovery §4)."""
    parts = urlsplit(issuer)
    origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    oauth, openid = "/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"
    if not path:
        return [origin + oauth, origin + openid]
    return [origin + oauth + path, origin + openid + path, origin + path + openid]


def origin_of(url: str) -> str:
    """Scheme and authority."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def covers(resource: str, endpoint: str) -> bool:
    """Whether a resource is the endpoint itself, or what it is a part of."""
    if resource == endpoint:
        return True
    wide, narrow = urlsplit(resource), urlsplit(endpoint)
    if (wide.scheme, wide.netloc) != (narrow.scheme, narrow.netloc) or wide.query or wide.fragment:
        return False
    return (narrow.path.rstrip("/") + "/").startswith(wide.path.rstrip("/") + "/")


def resource_of(told: Mapping[str, Any], endpoint: str) -> Resource:
    """Protected-resource metadata, judged for the endpoint that it was asked about.

    Raises:
        OAuthFailure: it is of another resource, or says no resource.
    """
    resource = told.get("resource")
    if type(resource) is not str or not covers(resource, endpoint):
        raise OAuthFailure("resource_mismatch", "the server's metadata is about another resource")
    return Resource(resource, _texts(told, "authorization_servers"), _texts(told, "scopes_supported"))


def server_of(told: Mapping[str, Any], issuer: str) -> Server:
    """Authorization-server metadata, judged for the issuer that it was asked about (RFC 8414 §3.3).

    Raises:
        OAuthFailure: it is of another issuer.
    """
    if told.get("issuer") != issuer:
        raise OAuthFailure("issuer_mismatch", "the authorization server's metadata names another issuer")
    endpoints = {name: told[name] for name in _ENDPOINTS if type(told.get(name)) is str}
    return Server(
        issuer=issuer,
        **endpoints,
        auth_methods=_texts(told, "token_endpoint_auth_methods_supported"),
        scopes_supported=_texts(told, "scopes_supported"),
        takes_documents=told.get("client_id_metadata_document_supported") is True,
        tells_iss=told.get("authorization_response_iss_parameter_supported") is True,
        has_pkce="S256" in _texts(told, "code_challenge_methods_supported"),
        requires_par=told.get("require_pushed_authorization_requests") is True,
    )


def united(*scopes: str | None) -> str | None:
    """Several scopes as one, in order, each once; None when none says any."""
    parts = dict.fromkeys(part for scope in scopes if scope for part in scope.split())
    return " ".join(parts) or None


def _texts(told: Mapping[str, Any], name: str) -> list[str]:
    value = told.get(name)
    return [item for item in value if type(item) is str] if type(value) is list else []
