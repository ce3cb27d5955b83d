"""What a call to an MCP server carries, and what becomes of a refusal.

A token that ends soon is renewed first, by one caller for all, on all replicas (`core.mcp_oauth.renewal`). A
401 is answered by one renewal; the next one means that somebody has to authorize the hub again, and so does
a scope that is missing, where a person has to give it.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final
from uuid import UUID

from adapters.mcp.oauth.documents import Challenge, united
from adapters.mcp.oauth.engine import OAuthEngine
from adapters.mcp.oauth.failures import OAuthFailure, Refused
from core.caller import SYSTEM, Caller
from core.errors import UpstreamFailed
from core.mcp_oauth.connection_records import Connection, ServerId, topic
from core.mcp_oauth.connections import Refuse, refuse
from core.mcp_oauth.opened import OpenConnection, open_connection
from core.mcp_oauth.renewal import GiveBack, Renewal, Renewed, TakeRenewal, give_back, renewed, take_renewal
from core.platform import Platform
from schemas.oauth import ConnectionState

_LAST: Final = timedelta(seconds=5)
"""A token is used until so long before its end, if there is no other."""
WAIT_SECONDS: Final = 35.0
"""How long somebody else's renewal is waited for: as long as its lease lasts, and a little."""
MOST_STEPS: Final = 3
"""How often in a row a server may ask for more scope before it is believed to go in circles."""


@dataclass(frozen=True)
class Authorization:
    """What a request carries, and which credential that is."""

    headers: dict[str, str] = field(repr=False)
    revision: int
    fresh: int = 0
    """How many challenges in a row led to it."""


@dataclass(frozen=True)
class NeedsReauth:
    """There is no credential until somebody authorizes the hub (again). The reason may be shown."""

    server_id: UUID
    reason: str


class Authorizations:
    """Credentials for calls. One for a hub; it keeps none of them."""

    def __init__(self, platform: Platform, engine: OAuthEngine) -> None:
        self._platform = platform
        self._engine = engine

    async def authorization(
        self, tenant_id: UUID, server_id: UUID, endpoint: str | None = None
    ) -> Authorization | NeedsReauth:
        """What the next request to a server carries; nothing at an `endpoint` that nobody authorized it for.

        Raises:
            NotFound: the server has no OAuth connection.
            UpstreamFailed: the token has ended, and the authorization server cannot be reached to renew it.
        """
        hub = SYSTEM(tenant_id)
        opened = await self._platform.read(hub, open_connection, ServerId(server_id))
        if endpoint is not None and opened.connection.endpoint_url != endpoint:
            return NeedsReauth(server_id, "its address has changed since the hub was authorized")
        if not self._ends(opened.connection, early=True):
            return _carried(opened)
        found = await self._renewed(hub, opened.connection, None)
        if not isinstance(found, OAuthFailure):
            return found
        if not self._ends(opened.connection, early=False):
            return _carried(opened)  # it is good for a while yet
        raise UpstreamFailed(f"the token has ended: {found.reason}", details={"reason_code": found.code})

    async def challenged(
        self, tenant_id: UUID, server_id: UUID, used: Authorization, status: int, www_authenticate: str | None
    ) -> Authorization | NeedsReauth:
        """What to carry instead of what a server refused with a 401 or 403.

        Raises:
            NotFound: the server has no OAuth connection.
            UpstreamFailed: the authorization server cannot be reached.
        """
        hub, said = SYSTEM(tenant_id), Challenge.of(www_authenticate)
        opened = await self._platform.read(hub, open_connection, ServerId(server_id))
        known = opened.connection
        if known.revision > used.revision and known.state is ConnectionState.CONNECTED:
            return _carried(opened, used.fresh + 1)  # somebody was quicker
        if known.state is not ConnectionState.CONNECTED:
            return _carried(opened)  # it was refused to somebody else, and there is nothing to renew
        more = status == 403 or said.error == "insufficient_scope"
        wanted = united(known.scope, said.scope) if more else None
        if more and (known.definition.grant_type.interactive or used.fresh >= MOST_STEPS):
            return await self._refused(hub, known, "the server asks for more scope", wanted)
        if used.fresh and not more:
            return await self._refused(hub, known, "the server does not accept a token that was just made")
        if not known.renewable:
            return await self._refused(hub, known, "the server does not accept the token any more")
        found = await self._renewed(hub, known, wanted)
        if isinstance(found, OAuthFailure):
            raise UpstreamFailed(f"no new token: {found.reason}", details={"reason_code": found.code})
        if isinstance(found, NeedsReauth):
            return found
        return Authorization(found.headers, found.revision, used.fresh + 1)

    def _ends(self, known: Connection, *, early: bool) -> bool:
        if known.state is not ConnectionState.CONNECTED or known.expires_at is None:
            return False
        if early and known.renewable and known.renew_at is not None:
            return self._platform.now() >= known.renew_at
        return self._platform.now() >= known.expires_at - _LAST

    async def _renewed(
        self, hub: Caller, known: Connection, scope: str | None
    ) -> Authorization | NeedsReauth | OAuthFailure:
        if not known.renewable:
            return await self._refused(hub, known, "the token has ended, and cannot be renewed")
        deadline = self._platform.monotonic() + WAIT_SECONDS
        while True:
            with self._platform.hints.listen([topic(known.server_id)]) as changed:
                taken = await self._platform.write(
                    hub, take_renewal, TakeRenewal(known.server_id, known.revision)
                )
                if taken is not None:
                    return await self._renew(hub, taken, scope)
                opened = await self._platform.read(hub, open_connection, ServerId(known.server_id))
                now = opened.connection
                if now.revision != known.revision or now.state is not ConnectionState.CONNECTED:
                    return _carried(opened)
                left = deadline - self._platform.monotonic()
                if left <= 0:
                    return OAuthFailure("busy", "it is being renewed, for too long", retryable=True)
                await changed.wait(min(left, 0.5))

    async def _renew(
        self, hub: Caller, taken: Renewal, scope: str | None
    ) -> Authorization | NeedsReauth | OAuthFailure:
        known = taken.opened.connection
        try:
            granted = await self._engine.renewal(taken.opened, scope)
        except Refused as refused:
            if not refused.definite:
                await self._platform.write(hub, give_back, GiveBack(known.server_id, taken.lease_id))
                return refused
            return await self._refused(hub, known, refused.reason)
        except OAuthFailure as failure:
            await self._platform.write(hub, give_back, GiveBack(known.server_id, taken.lease_id))
            return failure
        except BaseException:
            await self._platform.write(hub, give_back, GiveBack(known.server_id, taken.lease_id))
            raise
        await self._platform.write(hub, renewed, Renewed(known.server_id, taken.lease_id, granted, scope))
        return _carried(await self._platform.read(hub, open_connection, ServerId(known.server_id)))

    async def _refused(
        self, hub: Caller, known: Connection, reason: str, wanted: str | None = None
    ) -> NeedsReauth:
        command = Refuse(known.server_id, known.revision, reason, wanted)
        now = await self._platform.write(hub, refuse, command)
        return NeedsReauth(known.server_id, now.error or reason)


def _carried(opened: OpenConnection, fresh: int = 0) -> Authorization | NeedsReauth:
    known, token = opened.connection, opened.access_token
    if known.state is not ConnectionState.CONNECTED or token is None:
        return NeedsReauth(known.server_id, known.error or "nobody has authorized the hub yet")
    return Authorization({"Authorization": f"Bearer {token}"}, known.revision, fresh)
