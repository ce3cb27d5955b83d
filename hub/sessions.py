"""Token sessions as a browser or a client sees them: which text stands in a cookie, and which in a body."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit

from core.errors import Unauthenticated
from core.exchange import Exchange, Grant
from core.keys import is_token
from core.tokens import Claims, ExpiredToken, InvalidToken, Token, TokenKind
from hub.authentication import (
    ACCESS_COOKIE,
    CSRF_COOKIE,
    REFRESH_COOKIE,
    Authenticator,
    Scope,
    bearer_of,
    cookies_of,
)

SESSIONS: Final = "crossdock.sessions"
"""The key of the ASGI scope under which the hub puts its `Sessions` for the auth routes."""
_REFRESH_PATH: Final = "api/v1/auth"


@dataclass(frozen=True, slots=True)
class Held:
    """A token that came with a request."""

    claims: Claims
    from_cookie: bool


class Sessions:
    """What the auth routes need. `public_url` is the hub's address; `cookies` lets browsers hold sessions."""

    def __init__(
        self, exchange: Exchange, authenticator: Authenticator, *, public_url: str, cookies: bool = False
    ) -> None:
        self.exchange = exchange
        self.authenticator = authenticator
        self.cookies = cookies
        self.public_url = public_url
        parts = urlsplit(public_url)
        self._https = parts.scheme == "https"
        self._root = parts.path.rstrip("/") + "/"

    async def grant(self, scope: Scope, key: str, *, persistent: bool) -> Grant:
        """Tokens for an API key.

        Raises:
            Unauthenticated: it is wrong.
            TooMany: it is wrong, and not the first from this address.
        """
        identity = await self.authenticator.prove_key(key, scope)
        return await self.exchange.open(identity, persistent=persistent)

    def refresh_token(self, scope: Scope) -> Held:
        """The refresh token of a request: the bearer credential, else the cookie with its CSRF token.

        Raises:
            Unauthenticated: none, or a wrong one.
            Forbidden: a cookie without its CSRF token.
        """
        return self._held(scope, REFRESH_COOKIE, (TokenKind.REFRESH,))

    def any_token(self, scope: Scope) -> Held | None:
        """A token of either kind, to be logged out with; None for an API key, which has no session.

        Raises:
            Unauthenticated: no credential, or a wrong one.
            Forbidden: a cookie without its CSRF token.
        """
        bearer = bearer_of(scope)
        if bearer is not None and not is_token(bearer):
            return None
        cookie = REFRESH_COOKIE if REFRESH_COOKIE in cookies_of(scope) else ACCESS_COOKIE
        return self._held(scope, cookie, (TokenKind.REFRESH, TokenKind.ACCESS))

    def set_cookies(self, scope: Scope, grant: Grant, now: datetime) -> list[tuple[bytes, bytes]]:
        """The headers that give a session to a browser."""

        def life(token: Token) -> int | None:
            return max(0, int((token.expires_at - now).total_seconds())) if grant.persistent else None

        return [
            self._cookie(scope, ACCESS_COOKIE, grant.access.text, life(grant.access)),
            self._cookie(scope, REFRESH_COOKIE, grant.refresh.text, life(grant.refresh), _REFRESH_PATH),
            self._cookie(scope, CSRF_COOKIE, grant.csrf, life(grant.refresh), readable=True),
        ]

    def drop_cookies(self, scope: Scope) -> list[tuple[bytes, bytes]]:
        """The headers that take a session from a browser."""
        return [
            self._cookie(scope, ACCESS_COOKIE, "", 0),
            self._cookie(scope, REFRESH_COOKIE, "", 0, _REFRESH_PATH),
            self._cookie(scope, CSRF_COOKIE, "", 0, readable=True),
        ]

    def _held(self, scope: Scope, cookie: str, kinds: Sequence[TokenKind]) -> Held:
        text, from_cookie = bearer_of(scope), False
        if text is None and self.cookies:
            text, from_cookie = cookies_of(scope).get(cookie), True
        if text is None:
            raise Unauthenticated("This needs a token.", hint="Send it as `Authorization: Bearer <token>`.")
        held = Held(self._read(scope, text, kinds), from_cookie)
        if from_cookie:
            self.authenticator.require_csrf(scope, held.claims.family_id)
        return held

    def _read(self, scope: Scope, text: str, kinds: Sequence[TokenKind]) -> Claims:
        refused: InvalidToken | None = None
        for kind in kinds:
            try:
                return self.exchange.read(kind, text)
            except InvalidToken as invalid:
                if refused is None or isinstance(invalid, ExpiredToken):
                    refused = invalid
        raise self.authenticator.refusal(scope, str(refused), guessed=not isinstance(refused, ExpiredToken))

    def _cookie(
        self, scope: Scope, name: str, value: str, life: int | None, path: str = "", *, readable: bool = False
    ) -> tuple[bytes, bytes]:
        parts = [f"{name}={value}", f"Path={self._root}{path}", "SameSite=Strict"]
        if not readable:
            parts.append("HttpOnly")
        if self._https or scope.get("scheme") == "https":
            parts.append("Secure")
        if life is not None:
            parts.append(f"Max-Age={life}")
        return b"set-cookie", "; ".join(parts).encode("ascii")
