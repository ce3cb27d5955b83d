"""Calls of an authorization server's endpoints, and how the hub proves itself there.

What a server answers is used, never shown: a refusal is told by its registered word alone.
"""

import time
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from secrets import token_urlsafe
from typing import Any, Final
from urllib.parse import quote_plus, urlencode

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from pydantic_core import to_json

from adapters.mcp.oauth.documents import Server
from adapters.mcp.oauth.failures import OAuthFailure, Refused, object_of, unreachable
from adapters.outbound import TOKEN, Outbound, OutboundError
from core.mcp_oauth.connection_records import Client, Granted
from schemas.oauth import TokenAuthMethod
from schemas.strict_json import InvalidJson, parse_json

JWT_BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_FORM: Final = "application/x-www-form-urlencoded"
_ERRORS: Final = frozenset(
    {
        "invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type",
        "invalid_scope", "invalid_target", "access_denied", "authorization_pending", "slow_down",
        "expired_token", "unsupported_token_type", "invalid_redirect_uri", "invalid_client_metadata",
    }
)  # fmt: skip
_LONGEST: Final = 32 * 1024
_CURVES: Final = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}


@dataclass(frozen=True)
class Extras:
    """What an operator adds to the requests of one endpoint."""

    query: Sequence[tuple[str, str]] = ()
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    form: Mapping[str, str] = field(default_factory=dict, repr=False)
    json: Mapping[str, str] = field(default_factory=dict, repr=False)
    """If there is any, the whole body is sent as JSON."""


NO_EXTRAS: Final = Extras()


@dataclass(frozen=True)
class Proof:
    """Who the hub is at this server, with what proves it."""

    client: Client
    secret: str | None = field(default=None, repr=False)
    private_key: str | None = field(default=None, repr=False)


class Endpoints:
    """Calls endpoints. It keeps nothing."""

    def __init__(self, outbound: Outbound) -> None:
        self._outbound = outbound

    async def token(
        self,
        server: Server,
        proof: Proof,
        form: Mapping[str, str | Sequence[str]],
        extras: Extras = NO_EXTRAS,
    ) -> Granted:
        """Ask for a token (RFC 6749 §5).

        Raises:
            Refused: the server said no.
            OAuthFailure: it could not be asked, or answered with no bearer token.
        """
        assert server.token_endpoint is not None, "discovery has seen to it"
        what = "the token endpoint"
        told = await self.post(server.token_endpoint, what, *proven(server, proof, form), extras)
        kind = told.get("token_type", "Bearer")
        if type(kind) is not str or kind.lower() != "bearer":
            raise OAuthFailure("not_bearer", "the token endpoint gave no bearer token")
        return Granted(
            access_token=_token(told, "access_token"),
            refresh_token=_token(told, "refresh_token") if told.get("refresh_token") else None,
            expires_in=seconds_of(told.get("expires_in")),
            scope=told["scope"] if type(told.get("scope")) is str else None,
        )

    async def post(
        self,
        url: str,
        what: str,
        form: Mapping[str, str | Sequence[str]],
        headers: Mapping[str, str],
        extras: Extras = NO_EXTRAS,
    ) -> dict[str, Any]:
        """Post a form, and read the object that comes back.

        Raises:
            Refused: the server said no.
            OAuthFailure: it could not be asked, or answered with no object.
        """
        sent = {"Accept": "application/json", "Content-Type": _FORM, **extras.headers, **headers}
        fields = {**form, **extras.form}
        body = urlencode(fields, doseq=True).encode()
        if extras.json:
            sent["Content-Type"] = "application/json"
            body = to_json({**fields, **extras.json})
        return await self.send(with_query(url, extras.query), what, sent, body)

    async def send(self, url: str, what: str, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
        """Post a body, and read the object that comes back. Raises as `post`."""
        try:
            answer = await self._outbound.fetch("POST", url, purpose=TOKEN, headers=headers, data=body)
        except OutboundError as error:
            raise unreachable(what, error) from error
        if answer.status >= 500 or answer.status == 429:
            raise OAuthFailure("unreachable", f"{what} answered HTTP {answer.status}", retryable=True)
        if not 200 <= answer.status < 300:
            raise Refused(what, _error_of(answer.body), answer.status)
        if not answer.body.strip():
            return {}
        told = object_of(answer, what)
        if type(told.get("error")) is str:  # some answer 200 all the same
            raise Refused(what, told["error"] if told["error"] in _ERRORS else None, answer.status)
        return told


def proven(
    server: Server, proof: Proof, form: Mapping[str, str | Sequence[str]]
) -> tuple[dict[str, str | Sequence[str]], dict[str, str]]:
    """A form and headers that prove who the hub is (RFC 6749 §2.3, RFC 7523 §2.2).

    Raises:
        OAuthFailure: the secret or key that the method needs is missing, or no key.
    """
    client = proof.client
    fields = dict(form)
    match TokenAuthMethod(client.auth_method):
        case TokenAuthMethod.NONE:
            return {**fields, "client_id": client.client_id}, {}
        case TokenAuthMethod.PRIVATE_KEY_JWT:
            signed = assertion(server.issuer, client.client_id, proof.private_key)
            said = {"client_assertion_type": _ASSERTION, "client_assertion": signed}
            return {**fields, "client_id": client.client_id, **said}, {}
        case method:
            if proof.secret is None:
                raise OAuthFailure("no_secret", "the client's secret is missing")
            if method is TokenAuthMethod.CLIENT_SECRET_POST:
                return {**fields, "client_id": client.client_id, "client_secret": proof.secret}, {}
            pair = f"{quote_plus(client.client_id)}:{quote_plus(proof.secret)}"
            return fields, {"Authorization": f"Basic {b64encode(pair.encode()).decode()}"}


def assertion(audience: str, client_id: str, private_key: str | None) -> str:
    """A client assertion for one request (RFC 7523 §3).

    Raises:
        OAuthFailure: there is no private key, or none that signs.
    """
    now = int(time.time())
    claims = {
        "iss": client_id,
        "sub": client_id,
        "aud": audience,
        "iat": now,
        "exp": now + 120,
        "jti": token_urlsafe(16),
    }
    if private_key is None:
        raise OAuthFailure("no_secret", "the client's private key is missing")
    try:
        key = load_pem_private_key(private_key.encode(), None)
        return jwt.encode(claims, private_key, algorithm=algorithm_of(key))
    except (ValueError, TypeError, KeyError, jwt.PyJWTError) as error:
        raise OAuthFailure("bad_key", "the client's private key cannot sign") from error


def algorithm_of(key: Any) -> str:
    """How a private key signs.

    Raises:
        ValueError: it does not.
    """
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return _CURVES[key.curve.name]
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "EdDSA"
    if isinstance(key, rsa.RSAPrivateKey):
        return "RS256"
    raise ValueError("no signing key")


def with_query(url: str, query: Sequence[tuple[str, str]]) -> str:
    """A URL with more parameters than it has."""
    if not query:
        return url
    return f"{url}{'&' if '?' in url else '?'}{urlencode(query)}"


def seconds_of(value: object) -> float | None:
    """A duration that a server said, or None if it is none."""
    if type(value) is str and value.isdecimal() and len(value) < 12:
        return float(value)
    return float(value) if isinstance(value, int | float) and value > 0 else None


def _token(told: Mapping[str, Any], name: str) -> str:
    value = told.get(name)
    if type(value) is not str or not value or len(value) > _LONGEST or not value.isascii():
        raise OAuthFailure("malformed", "the token endpoint answered without a token")
    if any(character <= " " or character == "\x7f" for character in value):
        raise OAuthFailure("malformed", "the token endpoint answered with a token that is none")
    return value


def _error_of(body: bytes) -> str | None:
    try:
        told = parse_json(body)
    except InvalidJson:
        return None
    error = told.get("error") if type(told) is dict else None
    return error if type(error) is str and error in _ERRORS else None
