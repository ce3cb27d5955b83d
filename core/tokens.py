"""Tokens as text: JSON Web Tokens (RFC 7519) that stand for an API key for a while. No database here.

An access token is sent with calls; a refresh token is exchanged, once, for a new pair; a task token reaches
the tools that a task was granted, at the hub's MCP endpoint and nowhere else. They differ in `typ` and in
audience, so that none passes for another. A token proves only that this hub made it: whether what it stands
for still lives is for `core/credentials.py` and `core/gateway/task_tokens.py` to say, at every use.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Any
from uuid import UUID

import jwt

from core.keyring import Keyring, Purpose
from schemas.vocabulary import Scope

ACCESS_LIFE = timedelta(hours=1)
REFRESH_LIFE = timedelta(days=7)
TASK_LIFE = timedelta(hours=24)
_SKEW = timedelta(seconds=60)  # the clocks of two replicas may differ by so much
_ALGORITHM = "HS256"
_REQUIRED = ["exp", "iat", "iss", "aud", "jti", "sub", "tenant", "key", "family", "scope"]


class TokenKind(StrEnum):
    """What a token may be used for. The value is its `typ` (RFC 8725 §3.11)."""

    ACCESS = "crossdock-access+jwt"
    REFRESH = "crossdock-refresh+jwt"
    TASK = "crossdock-task+jwt"


_LIVES: Mapping[TokenKind, timedelta] = MappingProxyType(
    {TokenKind.ACCESS: ACCESS_LIFE, TokenKind.REFRESH: REFRESH_LIFE, TokenKind.TASK: TASK_LIFE}
)
_AUDIENCES: Mapping[TokenKind, str] = MappingProxyType(
    {TokenKind.ACCESS: "", TokenKind.REFRESH: "/api/v1/auth", TokenKind.TASK: "/mcp"}
)


class InvalidToken(Exception):
    """Not a token of this hub, or of another kind, or expired. The message never repeats the token."""


class ExpiredToken(InvalidToken):
    """It was good once: who sends it is not guessing."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says."""

    id: UUID
    """`jti`. Of a refresh token: its row in `refresh_session`."""
    principal_id: UUID
    tenant_id: UUID
    key_id: UUID
    family_id: UUID
    """All tokens that come from one exchange of a key; they are revoked together. Of a task token: the lease
    that it lives as long as."""
    scope: Scope
    issued_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Token:
    """A token and when it ends."""

    text: str = field(repr=False, metadata={"secret": True})
    expires_at: datetime


class Tokens:
    """Makes and reads the tokens of one hub. `issuer` is its public address."""

    def __init__(self, keyring: Keyring, issuer: str) -> None:
        self._keyring = keyring
        self._issuer = issuer

    def issue(self, kind: TokenKind, claims: Claims) -> Token:
        """Sign with the present secret. A life longer than the kind's is cut to it."""
        ends = min(claims.expires_at, claims.issued_at + _LIVES[kind]).replace(microsecond=0)
        key = self._keyring.current(Purpose.JWT)
        payload = {
            "iss": self._issuer,
            "aud": self._audience(kind),
            "iat": int(claims.issued_at.timestamp()),
            "exp": int(ends.timestamp()),
            "jti": str(claims.id),
            "sub": str(claims.principal_id),
            "tenant": str(claims.tenant_id),
            "key": str(claims.key_id),
            "family": str(claims.family_id),
            "scope": claims.scope.value,
        }
        headers = {"typ": kind.value, "kid": key.id}
        return Token(jwt.encode(payload, key.key, _ALGORITHM, headers), ends)

    def read(self, kind: TokenKind, text: str, now: datetime) -> Claims:
        """What a token of this kind says, if this hub made it and `now` is within its life.

        Raises:
            ExpiredToken: its time has passed.
            InvalidToken: anything else.
        """
        try:
            header = jwt.get_unverified_header(text)
            if header.get("typ") != kind.value:
                raise InvalidToken("another kind of token")
            key = self._keyring.find(Purpose.JWT, str(header.get("kid")))
            if key is None:
                raise InvalidToken("signed with a secret that this hub does not have")
            payload = jwt.decode(
                text,
                key.key,
                algorithms=[_ALGORITHM],
                audience=self._audience(kind),
                issuer=self._issuer,
                # Times are compared below, with the hub's own clock.
                options={"require": _REQUIRED, "verify_exp": False, "verify_iat": False, "strict_aud": True},
            )
            claims = _claims(payload)
        except jwt.InvalidTokenError as refused:
            raise InvalidToken(f"not a token of this hub: {type(refused).__name__}") from None
        except (ValueError, TypeError, OverflowError):
            raise InvalidToken("its claims have the wrong form") from None
        if claims.expires_at - claims.issued_at > _LIVES[kind]:
            raise InvalidToken("it would live too long")
        if claims.issued_at > now + _SKEW:
            raise InvalidToken("it was issued in the future")
        if claims.expires_at <= now:
            raise ExpiredToken("it has expired")
        return claims

    def _audience(self, kind: TokenKind) -> str:
        return self._issuer + _AUDIENCES[kind]


def kind_of(text: str) -> TokenKind | None:
    """What a token says that it is, which nobody has checked; None for no token of this hub."""
    try:
        return TokenKind(str(jwt.get_unverified_header(text).get("typ")))
    except (jwt.InvalidTokenError, ValueError):
        return None


def _claims(payload: Mapping[str, Any]) -> Claims:
    return Claims(
        id=UUID(payload["jti"]),
        principal_id=UUID(payload["sub"]),
        tenant_id=UUID(payload["tenant"]),
        key_id=UUID(payload["key"]),
        family_id=UUID(payload["family"]),
        scope=Scope(payload["scope"]),
        issued_at=datetime.fromtimestamp(payload["iat"], UTC),
        expires_at=datetime.fromtimestamp(payload["exp"], UTC),
    )
