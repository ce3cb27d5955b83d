"""From what the registry keeps of a server to a target that can be called."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias
from urllib.parse import quote
from uuid import UUID

from adapters.mcp.upstream.client import discovered
from adapters.mcp.upstream.interface import Credential, Target, Verdict
from core.caller import Caller
from core.mcp.health import check_callable
from core.mcp.ports import ServerWanted, Value
from core.mcp.records import McpServer, OpenServer, ServerId, open_server
from core.mcp.verification import wanted_of
from core.mcp.words import Era, Placement, ServerKind
from core.platform import Platform

Credentials: TypeAlias = Callable[[UUID, UUID, str], Credential | None]
"""The hub's credential for a server, by tenant, id and address; None if it has none of its own."""
NO_CREDENTIALS: Final[Credentials] = lambda tenant_id, server_id, endpoint: None  # noqa: E731 - it is a constant


class Targets:
    """Finds whom to call."""

    def __init__(self, platform: Platform, credentials: Credentials = NO_CREDENTIALS) -> None:
        self._platform = platform
        self._credentials = credentials

    async def find(self, caller: Caller, server_id: UUID) -> tuple[OpenServer, Target]:
        """A server that may be called now.

        Raises:
            NotFound: no such server.
            UpstreamFailed: it may not be called now; `details.reason_code` says why.
        """
        known = await self._platform.read(caller, open_server, ServerId(server_id))
        check_callable(known.server, self._platform.now())
        return known, target_of(
            wanted_of(known),
            self._credentials(known.server.tenant_id, server_id, known.server.endpoint_url),
            verdict=verdict_of(known.server),
            known=discovered(known.server.capabilities, known.server.server_info, known.instructions),
        )


def target_of(
    wanted: ServerWanted,
    credential: Credential | None = None,
    *,
    verdict: Verdict | None = None,
    known: Mapping[str, Any] | None = None,
) -> Target:
    """A server with its parameters in their places."""
    return Target(
        server_id=wanted.server_id,
        url=filled(wanted.endpoint_url, wanted.values),
        preference=wanted.preference,
        verdict=verdict,
        known=known or {},
        headers=_at(Placement.HEADER, wanted.values),
        query=_at(Placement.QUERY, wanted.values),
        cookies=_at(Placement.COOKIE, wanted.values),
        initialize=_at(Placement.INITIALIZE_PARAM, wanted.values),
        seconds=wanted.seconds,
        credential=credential,
        document=wanted.document,
        hosted_in=wanted.tenant_id if wanted.kind is ServerKind.HOSTED else None,
    )


def verdict_of(server: McpServer) -> Verdict | None:
    """How a verified server is spoken to."""
    if server.verified_transport is None or server.verified_version is None:
        return None
    return Verdict(server.verified_transport, server.verified_era or Era.LEGACY, server.verified_version)


def filled(url: str, values: Iterable[Value]) -> str:
    """The URL with its path parameters in place. A value never makes a segment of its own."""
    for value in values:
        if value.placement is Placement.PATH:
            url = url.replace("{" + value.key + "}", quote(value.text.reveal(), safe=""))
    return url


def _at(placement: Placement, values: Iterable[Value]) -> dict[str, str]:
    return {value.key: value.text.reveal() for value in values if value.placement is placement}
