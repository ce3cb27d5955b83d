"""From the headers of a request to its caller, once and alike for every face.

A credential is read from `Authorization` and nowhere else; where the hub allows cookie sessions, from their
cookie too, and then whatever may change something needs the session's CSRF token as well. What a caller may
do is not decided here.
"""

import asyncio
import hashlib
import logging
import secrets
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from core import trace
from core.caller import SYSTEM, Caller
from core.credentials import CREDENTIALS, FindKey, Identity, NoteUse, find_key, note_use
from core.errors import Forbidden, HubError, TooMany, Unauthenticated, Unavailable
from core.exchange import Exchange
from core.keys import MalformedKey, check_form, is_token
from core.platform import Platform
from core.principals import OwnerType
from core.tokens import ExpiredToken, InvalidToken, TokenKind, kind_of
from hub.failed_attempts import FailedAttempts
from hub.foreign_callers import ForeignCallers, ForeignTokenRefused

Scope = MutableMapping[str, Any]
Presence = Callable[[UUID], None]
"""Told the principal of every authenticated call by an agent or a worker: the call is its heartbeat."""

ACCESS_COOKIE: Final = "crossdock_access_token"
REFRESH_COOKIE: Final = "crossdock_refresh_token"
CSRF_COOKIE: Final = "crossdock_csrf_token"
CSRF_HEADER: Final = b"x-csrf-token"

CACHED_SECONDS: Final = 2.0
"""How long a proof is believed without asking the database."""
_MOST_CACHED: Final = 20_000
_MOST_BYTES: Final = 8192
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_REST: Final = "rest"
_TRACEPARENT: Final = trace.TRACEPARENT.encode()

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Proof:
    """What a credential proved, and until when that is believed."""

    caller: Caller
    until: float
    presence: UUID | None
    family_id: UUID | None
    faces: dict[str, Caller]
    audiences: Sequence[str] | None = None
    """Of a token of somebody else's: the resources that it is for."""

    def seen_from(self, face: str) -> Caller:
        """The caller as it came through that face."""
        caller = self.faces.get(face)
        if caller is None:
            caller = self.faces[face] = replace(self.caller, face=face)
        return caller


def _nobody_listens(_principal_id: UUID) -> None:
    pass


def _nowhere(_path: str) -> bool:
    return False


class Authenticator:
    """Tells who calls. One for a hub; on the event loop's thread only.

    Proofs are remembered for two seconds and forgotten at once when this process, or one that could tell it,
    revokes a key or closes a session. A task's token counts on the paths of its audience alone.
    """

    def __init__(
        self,
        platform: Platform,
        exchange: Exchange,
        *,
        cookies: bool = False,
        presence: Presence = _nobody_listens,
        failures: FailedAttempts | None = None,
        takes_task_tokens: Callable[[str], bool] = _nowhere,
        foreign: ForeignCallers | None = None,
    ) -> None:
        self._platform = platform
        self._exchange = exchange
        self._cookies = cookies
        self._presence = presence
        self._failures = failures or FailedAttempts()
        self._takes_task_tokens = takes_task_tokens
        self._foreign = foreign
        self._salt = secrets.token_bytes(32)
        self._proofs: dict[bytes, _Proof] = {}
        self._generation = 0
        self._noting: set[asyncio.Task[None]] = set()
        self._revoked = platform.hints.listen([CREDENTIALS]).__enter__()

    async def __call__(self, scope: Scope) -> Caller:
        """Who calls over REST. Raises as `identify`."""
        return await self.identify(scope, _REST)

    async def identify(self, scope: Scope, face: str) -> Caller:
        """Who calls, through which face.

        Raises:
            Unauthenticated: no credential, or a wrong one.
            TooMany: a wrong one, and not the first from this address.
            Forbidden: a cookie's call without its CSRF token.
        """
        try:
            proof = await self._proof(scope)
        except _Wrong as wrong:
            raise self.refusal(scope, str(wrong), guessed=wrong.guessed) from None
        if proof.presence is not None:
            self._presence(proof.presence)
        caller = proof.caller if face == _REST else proof.seen_from(face)
        for name, value in scope["headers"]:
            if name == _TRACEPARENT:
                found = trace.valid(value.decode("latin-1"))
                return caller if found is None else replace(caller, trace=found)
        return caller

    async def prove_key(self, text: str, scope: Scope) -> Identity:
        """What an API key proves that came in a body. Raises as `identify`."""
        try:
            return await self._key(text)
        except _Wrong as wrong:
            raise self.refusal(scope, str(wrong), guessed=wrong.guessed) from None

    async def alive(self, scope: Scope) -> bool:
        """Whether the credential that a request came with proves the same still. For what stays open."""
        try:
            await self._proof(scope)
        except (_Wrong, Unauthenticated, Forbidden):
            return False
        except Unavailable:
            _log.warning("credentials of open streams cannot be checked: the database is away")
        return True

    async def ended(self, scope: Scope) -> None:
        """Return when that credential proves nothing any more: at once in this process, else in seconds."""
        while True:
            with self._platform.hints.listen([CREDENTIALS]) as revoked:
                if not await self.alive(scope):
                    return
                await revoked.wait(CACHED_SECONDS)

    async def close(self) -> None:
        """Wait until the uses that were seen are noted."""
        self._revoked.__exit__(None, None, None)
        await asyncio.gather(*self._noting)

    async def _proof(self, scope: Scope) -> _Proof:
        if await self._revoked.wait(0):
            self._proofs.clear()
            self._generation += 1
        credential = None
        for name, value in scope["headers"]:
            if name == b"authorization":
                if credential is not None:
                    raise Unauthenticated("Authorization is given twice.")
                credential = value
        if credential is None and self._cookies:
            return await self._cookie_proof(scope)
        if credential is None:
            raise Unauthenticated("This needs a credential.", hint="Send `Authorization: Bearer <key>`.")
        digest = self._digest(credential)
        proof = self._proofs.get(digest)
        if proof is None or proof.until <= self._platform.monotonic():
            proof = await self._prove(_bearer(credential), digest)
        if proof.caller.task_id is not None and not self._takes_task_tokens(scope["path"]):
            raise _Wrong("a task's token is for the hub's MCP endpoint alone", guessed=False)
        if proof.audiences is not None:
            assert self._foreign is not None, "only it makes such proofs"
            if not self._foreign.fits(proof.audiences, scope["path"]):
                raise _Wrong("it is for another resource", guessed=False)
        return proof

    async def _cookie_proof(self, scope: Scope) -> _Proof:
        token = cookies_of(scope).get(ACCESS_COOKIE)
        if token is None:
            raise Unauthenticated("This needs a credential.", hint="Send `Authorization: Bearer <key>`.")
        if not is_token(token):
            raise _Wrong("this cookie holds no token")
        digest = self._digest(b"Bearer " + token.encode())
        proof = self._proofs.get(digest)
        if proof is None or proof.until <= self._platform.monotonic():
            proof = await self._prove(token, digest)
        if scope.get("method", "GET") not in _SAFE:
            assert proof.family_id is not None, "only tokens are in cookies"
            self.require_csrf(scope, proof.family_id)
        return proof

    def require_csrf(self, scope: Scope, family_id: UUID) -> None:
        """Pass only a request that a page of this session made.

        Raises:
            Forbidden: its CSRF header is missing or another session's.
        """
        sent = [value.decode("latin-1") for name, value in scope["headers"] if name == CSRF_HEADER]
        if len(sent) != 1 or not self._exchange.csrf_fits(family_id, sent[0]):
            raise Forbidden(
                "A call with cookies needs the session's CSRF token.",
                details={"reason_code": "csrf"},
                hint=f"Send the value of the cookie {CSRF_COOKIE} as {CSRF_HEADER.decode()}.",
            )

    async def _prove(self, text: str, digest: bytes) -> _Proof:
        generation, asked = self._generation, self._platform.monotonic()
        ends: datetime | None
        if self._foreign is not None and is_token(text) and self._foreign.brings(text):
            return await self._prove_foreign(self._foreign, text, digest, generation, asked)
        if is_token(text) and kind_of(text) is TokenKind.TASK:
            return await self._prove_task(text, digest, generation, asked)
        if is_token(text):
            try:
                identity, claims = await self._exchange.prove(text)
            except InvalidToken as invalid:
                raise _Wrong(str(invalid), guessed=not isinstance(invalid, ExpiredToken)) from None
            family_id, ends = claims.family_id, claims.expires_at
            self._note(identity, None)
        else:
            identity, family_id = await self._key(text), None
            ends = identity.expires_at
        believed = CACHED_SECONDS
        if ends is not None:
            believed = min(believed, (ends - self._platform.now()).total_seconds())
        presence = (
            identity.principal_id if identity.owner_type in (OwnerType.AGENT, OwnerType.WORKER) else None
        )
        proof = _Proof(identity.caller(), asked + believed, presence, family_id, {})
        if generation == self._generation:  # else it may have been read before what was revoked meanwhile
            self._remember(digest, proof)
        return proof

    async def _prove_task(self, text: str, digest: bytes, generation: int, asked: float) -> _Proof:
        try:
            caller = await self._exchange.prove_task(text)
        except InvalidToken as invalid:
            raise _Wrong(str(invalid), guessed=False) from None
        proof = _Proof(caller, asked + CACHED_SECONDS, caller.principal_id, None, {})
        if generation == self._generation:
            self._remember(digest, proof)
        return proof

    async def _prove_foreign(
        self, foreign: ForeignCallers, text: str, digest: bytes, generation: int, asked: float
    ) -> _Proof:
        try:
            caller, claims = await foreign.prove(text)
        except ForeignTokenRefused as refused:
            raise _Wrong(str(refused)) from None
        left = (claims.expires_at - self._platform.now()).total_seconds()
        until = asked + min(CACHED_SECONDS, max(0.0, left))
        proof = _Proof(caller, until, None, None, {}, claims.audiences)
        if generation == self._generation:
            self._remember(digest, proof)
        return proof

    async def _key(self, text: str) -> Identity:
        try:
            check_form(text)
        except MalformedKey as malformed:
            raise _Wrong(str(malformed)) from None
        identity = await self._platform.read(NOBODY, find_key, FindKey(text))
        if identity is None:
            raise _Wrong("unknown, revoked or expired")
        self._note(identity, text)
        return identity

    def _remember(self, digest: bytes, proof: _Proof) -> None:
        if len(self._proofs) >= _MOST_CACHED:
            now = self._platform.monotonic()
            self._proofs = {key: kept for key, kept in self._proofs.items() if kept.until > now}
            if len(self._proofs) >= _MOST_CACHED:
                self._proofs.clear()
        self._proofs[digest] = proof

    def _note(self, identity: Identity, text: str | None) -> None:
        if not identity.due:
            return
        task = asyncio.create_task(self._write_use(identity, text))
        self._noting.add(task)
        task.add_done_callback(self._noting.discard)

    async def _write_use(self, identity: Identity, text: str | None) -> None:
        try:
            await self._platform.write(SYSTEM(identity.tenant_id), note_use, NoteUse(identity.key_id, text))
        except HubError as failure:
            _log.warning("the use of key %s was not noted: %s", identity.key_prefix, failure.message)

    def refusal(self, scope: Scope, why: str, *, guessed: bool = True) -> HubError:
        """The answer to a wrong credential; too many guesses from one address change it."""
        if guessed:
            client = scope.get("client")
            wait = self._failures.count(client[0] if client else "", self._platform.monotonic())
            if wait is not None:
                return TooMany("Too many wrong credentials from this address.", retry_after=wait)
        return Unauthenticated("This credential is not valid.", hint=f"It is refused: {why}.")

    def _digest(self, credential: bytes) -> bytes:
        # Proofs are kept by a keyed digest, so that a dump of the memory holds no table of live credentials.
        return hashlib.blake2b(credential, digest_size=16, key=self._salt).digest()


class _Wrong(Exception):
    """A credential was sent and proves nothing."""

    def __init__(self, why: str, *, guessed: bool = True) -> None:
        super().__init__(why)
        self.guessed = guessed


NOBODY: Final = SYSTEM(UUID(int=0))
"""Who looks a key up before anybody is known: of no tenant."""


def cookies_of(scope: Scope) -> dict[str, str]:
    """The request's cookies. One that is sent twice counts as not sent: which was meant, nobody can tell."""
    found: dict[str, str] = {}
    twice = set()
    for name, value in scope["headers"]:
        if name != b"cookie":
            continue
        for pair in value.decode("latin-1").split(";"):
            key, _, text = pair.strip().partition("=")
            if key in found:
                twice.add(key)
            found[key] = text
    return {key: text for key, text in found.items() if key not in twice}


def bearer_of(scope: Scope) -> str | None:
    """The bearer credential of a request, or None when it has no `Authorization`.

    Raises:
        Unauthenticated: it has two, or another scheme.
    """
    sent = [value for name, value in scope["headers"] if name == b"authorization"]
    if len(sent) > 1:
        raise Unauthenticated("Authorization is given twice.")
    return _bearer(sent[0]) if sent else None


def _bearer(value: bytes) -> str:
    scheme, _, credential = value.decode("latin-1").partition(" ")
    if scheme.lower() != "bearer" or len(value) > _MOST_BYTES:
        raise Unauthenticated(
            "Only bearer credentials are known here.", hint="Send `Authorization: Bearer <key>`."
        )
    return credential.strip()
