"""Exchanging a key for tokens, and tokens for newer ones. Flows: each runs one command.

Cookies and headers are the hub's matter; here is what stands behind them.
"""

import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from core.base64url import encode
from core.caller import SYSTEM, Caller
from core.credentials import FindTokenKey, Identity, find_token_key
from core.errors import Unauthenticated
from core.gateway.task_tokens import (
    NO_KEY,
    ClaimCredentials,
    FindTaskToken,
    claim_credentials,
    find_task_token,
)
from core.keyring import DerivedKey, Keyring, Purpose
from core.platform import Platform
from core.token_sessions import (
    CloseFamily,
    OpenSession,
    Session,
    UseRefresh,
    close_family,
    open_session,
    use_refresh,
)
from core.tokens import TASK_LIFE, Claims, InvalidToken, Token, TokenKind, Tokens
from schemas.vocabulary import Scope


@dataclass(frozen=True, slots=True)
class Grant:
    """What an exchange gives."""

    identity: Identity
    access: Token
    refresh: Token
    csrf: str = field(repr=False)
    """What a browser's page must repeat in a header beside its cookies."""
    persistent: bool


@dataclass(frozen=True, slots=True)
class TaskCredentials:
    """What a claim handle gives: the token, and until when its lease lasts as things stand."""

    token: Token
    lease_expires_at: datetime


class Exchange:
    """The token exchange of one hub. `issuer` is its public address."""

    def __init__(self, platform: Platform, keyring: Keyring, issuer: str) -> None:
        self._platform = platform
        self._tokens = Tokens(keyring, issuer)
        self._cookie_keys = keyring.every(Purpose.COOKIE)

    async def open(self, identity: Identity, *, persistent: bool = True) -> Grant:
        """Tokens for a key that was just proven."""
        command = OpenSession(identity.key_id, persistent)
        return self._grant(identity, await self._platform.write(identity.caller(), open_session, command))

    async def refresh(self, token: Claims) -> Grant:
        """The successors of a refresh token. It works once; a second use ends all that came from it.

        Raises:
            Unauthenticated: it was used, its session was closed, or its key is gone.
        """
        continued = await self._platform.write(SYSTEM(token.tenant_id), use_refresh, UseRefresh(token.id))
        if continued is None:
            raise Unauthenticated("This refresh token no longer works.", hint="Exchange the API key again.")
        return self._grant(continued.identity, continued.session)

    async def close(self, token: Claims) -> None:
        """Log out: everything that came from the same opening ends. Doing it again changes nothing."""
        await self._platform.write(SYSTEM(token.tenant_id), close_family, CloseFamily(token.family_id))

    def read(self, kind: TokenKind, text: str) -> Claims:
        """What a token says, if this hub made it for this use and its time has not passed.

        Raises:
            InvalidToken: anything else.
        """
        return self._tokens.read(kind, text, self._platform.now())

    async def prove(self, text: str) -> tuple[Identity, Claims]:
        """What an access token proves now, by its key's row.

        Raises:
            InvalidToken: it is no access token, its session was closed, its key is gone or became another.
        """
        claims = self.read(TokenKind.ACCESS, text)
        asked = FindTokenKey(claims.key_id, claims.family_id)
        found = await self._platform.read(SYSTEM(claims.tenant_id), find_token_key, asked)
        if found is None:
            raise InvalidToken("its key or its session has ended")
        if (found.tenant_id, found.principal_id, found.scope) != (
            claims.tenant_id,
            claims.principal_id,
            claims.scope,
        ):
            raise InvalidToken("its key has changed since")
        return found, claims

    async def open_task(self, caller: Caller, command: ClaimCredentials) -> TaskCredentials:
        """The token of a task, for whoever holds its lease.

        Raises:
            HubError: as `task_tokens.claim_credentials`.
        """
        holder = await self._platform.write(caller, claim_credentials, command)
        now = self._platform.now()
        claims = Claims(
            id=self._platform.new_id(),
            principal_id=holder.agent_id,
            tenant_id=caller.tenant_id,
            key_id=caller.key_id or NO_KEY,
            family_id=holder.lease_id,
            scope=Scope.AGENT,
            issued_at=now,
            expires_at=now + TASK_LIFE,
        )
        return TaskCredentials(self._tokens.issue(TokenKind.TASK, claims), holder.lease_expires_at)

    async def prove_task(self, text: str) -> Caller:
        """Whom a task token makes its bearer: the task's agent, bound to the task.

        Raises:
            InvalidToken: it is no task token, or the lease or the key behind it has ended.
        """
        claims = self.read(TokenKind.TASK, text)
        asked = FindTaskToken(claims.family_id, claims.key_id)
        found = await self._platform.read(SYSTEM(claims.tenant_id), find_task_token, asked)
        if found is None or found.principal_id != claims.principal_id:
            raise InvalidToken("the lease of its task, or the key that asked for it, has ended")
        return found

    def csrf_fits(self, family_id: UUID, sent: str | None) -> bool:
        """Whether a page knows the token that belongs to its session."""
        if sent is None:
            return False
        shown = sent.encode()
        return any(hmac.compare_digest(_csrf(key, family_id).encode(), shown) for key in self._cookie_keys)

    def _grant(self, identity: Identity, session: Session) -> Grant:
        return Grant(
            identity,
            access=self._token(TokenKind.ACCESS, identity, session),
            refresh=self._token(TokenKind.REFRESH, identity, session),
            csrf=_csrf(self._cookie_keys[0], session.family_id),
            persistent=session.persistent,
        )

    def _token(self, kind: TokenKind, identity: Identity, session: Session) -> Token:
        ends = (
            session.expires_at
            if identity.expires_at is None
            else min(session.expires_at, identity.expires_at)
        )
        claims = Claims(
            id=session.id if kind is TokenKind.REFRESH else self._platform.new_id(),
            principal_id=identity.principal_id,
            tenant_id=identity.tenant_id,
            key_id=identity.key_id,
            family_id=session.family_id,
            scope=identity.scope,
            issued_at=session.created_at,
            expires_at=ends,
        )
        return self._tokens.issue(kind, claims)


def _csrf(key: DerivedKey, family_id: UUID) -> str:
    return encode(hmac.digest(key.key, b"csrf:" + family_id.bytes, hashlib.sha256))
