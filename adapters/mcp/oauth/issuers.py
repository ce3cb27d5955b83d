"""Access tokens of authorization servers that the operator trusts, checked by their published keys.

Keys are fetched through the outbound guard and kept for some minutes; a key that is not known is looked for
once, not at every token. Nothing but asymmetric signatures is taken. Whom a token stands for, and where it is
good, is for the caller to decide from the claims.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import jwt

from adapters.mcp.oauth.documents import server_metadata_urls
from adapters.outbound import METADATA, Outbound, OutboundError
from core.errors import Unavailable
from schemas.strict_json import InvalidJson, parse_json

ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
KEPT_SECONDS: Final = 600.0
AGAIN_SECONDS: Final = 30.0
"""How often keys are fetched at most because one is not known, or because they could not be had."""
LEEWAY: Final = 10.0
_MOST_KEYS: Final = 100
_TYPES: Final = frozenset({"", "jwt", "at+jwt", "application/at+jwt"})


class ForeignTokenRefused(Exception):
    """Not a token of that issuer, or one that is over. The message never repeats the token."""


@dataclass(frozen=True)
class ForeignClaims:
    """What a token says."""

    issuer: str
    subject: str
    audiences: Sequence[str]
    scopes: frozenset[str]
    expires_at: datetime
    name: str


@dataclass
class _Keys:
    by_id: dict[str, jwt.PyJWK] = field(default_factory=dict)
    fetched_at: float = float("-inf")
    tried_at: float = float("-inf")
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Issuers:
    """The authorization servers that are trusted."""

    def __init__(
        self,
        outbound: Outbound,
        trusted: Sequence[str],
        *,
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._outbound = outbound
        self._keys = {issuer: _Keys() for issuer in trusted}
        self._monotonic = monotonic
        self._now = now

    def issued(self, text: str) -> bool:
        """Whether a token says that it is of one of them. It proves nothing yet."""
        return bool(self._keys) and _issuer_of(text) in self._keys

    async def claims(self, text: str) -> ForeignClaims:
        """What a token says, if it is good now.

        Raises:
            ForeignTokenRefused: it is not.
            Unavailable: the issuer's keys cannot be had.
        """
        issuer = _issuer_of(text)
        if issuer not in self._keys:
            raise ForeignTokenRefused("no issuer that is trusted here")
        try:
            head = jwt.get_unverified_header(text)
            key = await self._key(issuer, str(head.get("kid", "")))
            algorithm = head.get("alg")
            if (
                algorithm not in ALGORITHMS
                or str(head.get("typ", "")).lower() not in _TYPES
                or "crit" in head
            ):
                raise ForeignTokenRefused("signed in a way that is not taken here")
            told = jwt.decode(
                text,
                key,
                algorithms=[algorithm],
                issuer=issuer,
                options={
                    "require": ["exp", "iss", "sub", "aud"],
                    "verify_aud": False,  # where it is good depends on the address that is called
                    "verify_exp": False,  # by the hub's clock
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
        except jwt.PyJWTError as error:
            raise ForeignTokenRefused("its signature or its claims are not good") from error
        return self._checked(issuer, told)

    def _checked(self, issuer: str, told: dict[str, Any]) -> ForeignClaims:
        now, ends, begins = self._now().timestamp(), told["exp"], told.get("nbf", 0)
        if not isinstance(ends, int | float) or not isinstance(begins, int | float) or ends > 2**40:
            raise ForeignTokenRefused("its times are none")
        if ends + LEEWAY <= now:
            raise ForeignTokenRefused("expired")
        if begins - LEEWAY > now:
            raise ForeignTokenRefused("not good yet")
        audience = told["aud"]
        audiences = [audience] if type(audience) is str else audience
        if type(audiences) is not list or not all(type(one) is str for one in audiences):
            raise ForeignTokenRefused("its audience is none")
        scope = told.get("scope", told.get("scp", ""))
        scopes = scope.split() if type(scope) is str else scope if type(scope) is list else []
        name = told.get("name") or told.get("preferred_username") or told["sub"]
        return ForeignClaims(
            issuer,
            told["sub"],
            tuple(audiences),
            frozenset(one for one in scopes if type(one) is str),
            datetime.fromtimestamp(ends, UTC),
            str(name)[:255],
        )

    async def _key(self, issuer: str, key_id: str) -> jwt.PyJWK:
        keys = self._keys[issuer]
        async with keys.lock:
            now = self._monotonic()
            stale = now - keys.fetched_at > KEPT_SECONDS
            if (stale or key_id not in keys.by_id) and now - keys.tried_at > AGAIN_SECONDS:
                keys.tried_at = now
                try:
                    keys.by_id = await self._fetched(issuer)
                    keys.fetched_at = now
                except (OutboundError, InvalidJson, jwt.PyJWTError, ValueError) as error:
                    if not keys.by_id:
                        keys.tried_at = float("-inf")
                        raise Unavailable("the keys of the token's issuer cannot be had") from error
            found = keys.by_id.get(key_id)
        if found is None:
            raise ForeignTokenRefused("its key is not known")
        return found

    async def _fetched(self, issuer: str) -> dict[str, jwt.PyJWK]:
        for url in server_metadata_urls(issuer):
            told = await self._document(url)
            if told is None:
                continue
            if told.get("issuer") != issuer or type(told.get("jwks_uri")) is not str:
                raise ValueError("the metadata is of another issuer, or names no keys")
            listed = await self._document(told["jwks_uri"])
            keys = (listed or {}).get("keys")
            if type(keys) is not list:
                raise ValueError("there are no keys")
            return dict(_usable(keys[:_MOST_KEYS]))
        raise ValueError("there is no metadata")

    async def _document(self, url: str) -> dict[str, Any] | None:
        headers = {"Accept": "application/json"}
        answer = await self._outbound.fetch("GET", url, purpose=METADATA, headers=headers, hops=2)
        if answer.status == 404:
            return None
        told = parse_json(answer.expect_success().body)
        if type(told) is not dict:
            raise ValueError("no JSON object")
        return told


def _usable(keys: list[Any]) -> list[tuple[str, jwt.PyJWK]]:
    found = []
    for key in keys:
        if (
            type(key) is not dict
            or key.get("use", "sig") != "sig"
            or key.get("kty") not in ("RSA", "EC", "OKP")
        ):
            continue
        try:
            found.append((str(key.get("kid", "")), jwt.PyJWK(key)))
        except jwt.PyJWTError:
            continue  # of a kind that is not known here
    return found


def _issuer_of(text: str) -> str | None:
    try:
        told = jwt.decode(text, options={"verify_signature": False, "verify_exp": False, "verify_aud": False})
    except (jwt.PyJWTError, ValueError):
        return None
    issuer = told.get("iss")
    return issuer if type(issuer) is str else None
