"""What the registry needs from outside: somebody who looks at a server. `adapters/mcp/upstream` does."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol
from uuid import UUID

from core.mcp.definitions import FoundItem
from core.mcp.words import AuthMode, Era, Placement, ServerKind, TransportPreference, VerifiedTransport
from core.sealing import Secret


@dataclass(frozen=True, slots=True)
class Value:
    """The value of a parameter, opened."""

    placement: Placement
    key: str
    text: Secret


@dataclass(frozen=True, slots=True)
class ServerWanted:
    """A server to be looked at, with everything that a call of it needs."""

    server_id: UUID
    tenant_id: UUID
    kind: ServerKind
    endpoint_url: str
    preference: TransportPreference
    auth_mode: AuthMode
    seconds: int
    values: Sequence[Value] = ()
    document_url: str | None = None
    document: Mapping[str, Any] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class ServerFound:
    """What a server is and offers. Everything it listed is here, or nothing is."""

    transport: VerifiedTransport
    era: Era
    version: str
    versions: Sequence[str]
    capabilities: Mapping[str, Any]
    info: Mapping[str, Any]
    items: Sequence[FoundItem]
    warnings: Sequence[str] = ()
    document: Mapping[str, Any] | None = field(default=None, repr=False)
    """The OpenAPI document, where there is one."""
    endpoint_url: str | None = None
    """Where the calls go, where the document says it."""


class Fault(StrEnum):
    """Why a look at a server brought nothing."""

    WRONG = "wrong"
    """It answered, but not as it should; or it may not be called."""
    UNREACHABLE = "unreachable"
    NEEDS_AUTH = "needs_auth"


class ServerRefused(Exception):
    """No server, or not one to work with. The reason may be shown."""

    def __init__(self, reason: str, fault: Fault = Fault.WRONG, *, challenge: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.fault = fault
        self.challenge = challenge


class Servers(Protocol):
    """Looks at MCP servers."""

    async def look(self, wanted: ServerWanted) -> ServerFound:
        """All that the server offers, page by page.

        Raises:
            ServerRefused: why there is none.
        """

    async def watch(
        self, wanted: ServerWanted, capabilities: Mapping[str, Any], changed: Callable[[], None]
    ) -> None:
        """Listen to a server, and say so each time what it offers has changed, until its stream ends.

        Raises:
            ServerRefused: it cannot be listened to any more.
        """


Looked = ServerFound | ServerRefused
