"""The credential that calls of a server carry (`adapters.mcp.upstream.Credential`), taken anew for each.

It is for the address that somebody authorized, and for no other: a server whose address was changed gets
nothing. Of the token itself nothing is kept here.
"""

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from adapters.mcp.oauth.authorization import Authorization, Authorizations, NeedsReauth
from adapters.mcp.upstream.failures import NeedsAuth, Unreachable
from core.errors import NotFound, UpstreamFailed


@dataclass(frozen=True)
class _Sent:
    """What the request of this task carries."""

    server_id: UUID
    authorization: Authorization
    waiting: bool
    """It was made for a repetition that has not been sent yet."""


_SENT: Final[ContextVar[_Sent | None]] = ContextVar("oauth_sent", default=None)


class ServerCredential:
    """The hub's token for one server at one address."""

    __slots__ = ("_authorizations", "_endpoint", "_server_id", "_tenant_id")

    def __init__(
        self, authorizations: Authorizations, tenant_id: UUID, server_id: UUID, endpoint: str
    ) -> None:
        self._authorizations = authorizations
        self._tenant_id = tenant_id
        self._server_id = server_id
        self._endpoint = endpoint

    async def header(self) -> str | None:
        """The value of `Authorization`; None for a server that does not use OAuth.

        Raises:
            NeedsAuth: nobody has authorized the hub, or its leave has ended.
            Unreachable: the token has ended, and cannot be renewed now.
        """
        sent = _SENT.get()
        if sent is not None and sent.waiting and sent.server_id == self._server_id:
            _SENT.set(_Sent(self._server_id, sent.authorization, waiting=False))
            return sent.authorization.headers["Authorization"]
        _SENT.set(None)
        try:
            found = await self._authorizations.authorization(self._tenant_id, self._server_id, self._endpoint)
        except NotFound:
            return None
        except UpstreamFailed as failed:
            raise Unreachable(failed.message, sent=False) from failed
        if isinstance(found, NeedsReauth):
            raise NeedsAuth(found.reason)
        _SENT.set(_Sent(self._server_id, found, waiting=False))
        return found.headers["Authorization"]

    async def refused(self, status: int, challenge: str | None) -> bool:
        """Renew once, or note that somebody has to authorize the hub again."""
        sent = _SENT.get()
        if sent is None or sent.server_id != self._server_id:
            return False
        try:
            found = await self._authorizations.challenged(
                self._tenant_id, self._server_id, sent.authorization, status, challenge
            )
        except NotFound:
            return False
        except UpstreamFailed as failed:
            raise Unreachable(failed.message, sent=False) from failed
        if isinstance(found, NeedsReauth):
            return False
        _SENT.set(_Sent(self._server_id, found, waiting=True))
        return True


class ServerCredentials:
    """Gives the credential of a server, by tenant, id and address."""

    def __init__(self, authorizations: Authorizations) -> None:
        self._authorizations = authorizations

    def __call__(self, tenant_id: UUID, server_id: UUID, endpoint: str) -> ServerCredential:
        """The credential, which is taken when it is asked."""
        return ServerCredential(self._authorizations, tenant_id, server_id, endpoint)
