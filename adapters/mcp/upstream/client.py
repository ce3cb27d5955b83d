"""Opens sessions with servers, of whichever era and transport they are.

What `auto` finds out (2026-07-28, versioning): `server/discover` first; what does not know it is asked to
`initialize`; what knows neither may be HTTP+SSE. A refusal of the hub's credential, a fault of the server and
silence are no verdict.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from adapters.mcp import errors, wire
from adapters.mcp.upstream.compat import open_compat
from adapters.mcp.upstream.failures import BadAnswer, TimedOut
from adapters.mcp.upstream.hosted import open_hosted
from adapters.mcp.upstream.http import Leg
from adapters.mcp.upstream.interface import Client, OnMessage, RpcError, Session, Target
from adapters.mcp.upstream.legacy import LegacySession
from adapters.mcp.upstream.modern import ModernSession
from adapters.mcp.upstream.openapi import OpenApiSession
from adapters.outbound import Outbound
from core.mcp.words import Era, TransportPreference, VerifiedTransport
from core.platform import Platform

OPEN_SECONDS: Final = 30.0
_OF_MODERN: Final = frozenset({errors.HEADER_MISMATCH, errors.MISSING_CAPABILITY, errors.UNSUPPORTED_VERSION})
"""Errors that only a server of the modern era knows."""
_NOT_STREAMABLE: Final = frozenset({400, 404, 405})


class Upstream:
    """The hub's way to MCP servers. Connections are pooled by the guarded client beneath."""

    def __init__(self, outbound: Outbound, platform: Platform | None = None) -> None:
        """Without a platform the servers that workers host cannot be called."""
        self._outbound = outbound
        self._platform = platform

    async def open(
        self,
        target: Target,
        client: Client,
        *,
        era: Era | None = None,
        on_message: OnMessage | None = None,
        seconds: float = OPEN_SECONDS,
    ) -> Session:
        """A session with a server. With a verdict of the modern era it costs no request.

        `era` asks a server that speaks both for one of them. `on_message` hears what belongs to no request,
        and to requests that bring no listener of their own.

        Raises:
            UpstreamError: there is none.
        """
        try:
            async with asyncio.timeout(min(seconds, target.seconds)):
                return await self._open(target, client, era, on_message)
        except TimeoutError:
            raise TimedOut("the server does not answer") from None
        except RpcError as refused:
            raise BadAnswer(f"it refuses a session (JSON-RPC error {refused.code})") from refused

    async def _open(
        self, target: Target, client: Client, era: Era | None, on_message: OnMessage | None
    ) -> Session:
        if target.hosted_in is not None:
            if self._platform is None:
                raise BadAnswer("servers that workers host cannot be called from here")
            return await open_hosted(self._platform, target.hosted_in, target, client, on_message)
        leg, verdict = Leg(self._outbound, target), target.verdict
        if target.document is not None:
            return OpenApiSession(leg)
        if verdict is not None and era is Era.MODERN and verdict.era is Era.MODERN:
            return ModernSession(leg, client, verdict.version, target.known)
        wanted = era or (None if verdict is None else verdict.era)
        compat = verdict is not None and verdict.transport is VerifiedTransport.HTTP_SSE_COMPAT
        if compat or target.preference is TransportPreference.HTTP_SSE_COMPAT:
            return await open_compat(leg, client, on_message)
        if verdict is not None and wanted is Era.MODERN:
            return ModernSession(leg, client, verdict.version, target.known)
        if wanted is not Era.LEGACY:
            modern = await self._discover(leg, client)
            if modern is not None:
                return modern
            if wanted is Era.MODERN:
                raise BadAnswer("it does not speak a revision of the modern era")
        legacy = LegacySession(leg, client, on_message)
        try:
            await legacy.open()
        except BadAnswer as error:
            await legacy.close()
            may_be_compat = target.preference is TransportPreference.AUTO and verdict is None
            if not may_be_compat or error.status not in _NOT_STREAMABLE:
                raise
            try:
                return await open_compat(leg, client, on_message)
            except BadAnswer:
                raise error from None
        except BaseException:
            await legacy.close()
            raise
        return legacy

    async def _discover(self, leg: Leg, client: Client) -> ModernSession | None:
        """A session of the modern era, or None if the server does not speak it."""
        version = wire.MODERN[0]
        try:
            reply = await ModernSession(leg, client, version).request("server/discover")
        except BadAnswer as error:
            if error.status is None or error.status >= 300:
                return None
            raise
        failed = reply.error
        if failed is None:
            said = reply.result()
            spoken = said.get("supportedVersions")
            if type(spoken) is list and version in spoken:
                return ModernSession(leg, client, version, said)
            return None
        if failed.get("code") not in _OF_MODERN:
            return None
        data = failed.get("data")
        supported = data.get("supported") if type(data) is dict else None
        if failed.get("code") == errors.UNSUPPORTED_VERSION and type(supported) is list:
            if any(known in wire.HANDSHAKE for known in supported):
                return None
            raise BadAnswer("it speaks only revisions that the hub does not")
        raise BadAnswer(f"it refuses to be discovered (JSON-RPC error {failed.get('code')})")


def discovered(
    capabilities: Mapping[str, Any], info: Mapping[str, Any], instructions: str | None
) -> Mapping[str, Any]:
    """What is known of a server in the form in which it says so itself."""
    said: dict[str, Any] = {"capabilities": dict(capabilities), "_meta": {wire.SERVER_INFO: dict(info)}}
    return said if instructions is None else {**said, "instructions": instructions}
