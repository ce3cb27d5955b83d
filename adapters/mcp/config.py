"""What `hub/app.py` decides about this face, and what this face needs from the hub."""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from starlette.types import Scope

from core.caller import Caller


class Authenticator(Protocol):
    """Who tells the caller of a request (`hub/authentication.py`)."""

    async def identify(self, scope: Scope, face: str) -> Caller:
        """Who calls, through which face.

        Raises:
            HubError: no valid credential.
        """

    async def ended(self, scope: Scope) -> None:
        """Return when the request's credential proves nothing any more."""


class Places(Protocol):
    """Bounded places, such as `hub/places.py` keeps for all faces together."""

    def taken_by(self, principal_id: UUID) -> AbstractContextManager[None]:
        """A place for as long as the block runs.

        Raises:
            TooMany: there is none.
        """


class Unlimited:
    """Places without a bound, for tests and for embedding."""

    def taken_by(self, principal_id: UUID) -> AbstractContextManager[None]:
        """Always a place."""
        return nullcontext()


@dataclass(frozen=True)
class McpConfig:
    """The decisions."""

    public_url: str
    """The hub's address as others reach it, without a trailing slash."""
    version: str
    """The product's version."""
    issuers: Sequence[str] = ()
    """Authorization servers whose tokens are taken. Without one, clients bring an API key."""
    scope: str = "mcp"
    """What such a token needs."""
    heartbeat_seconds: float = 15.0
    """A silent stream says so this often, as an SSE comment."""
    patience_seconds: float = 0.5
    """After so long an answer that is not there yet becomes a stream, which a client can leave."""
    leave_seconds: float = 240.0
    """How long a call waits in its request for leave; then it is told to ask again."""
    max_body_bytes: int = 10 * 1024 * 1024
    waits: Places = field(default_factory=Unlimited)
    """For calls that wait."""
    streams: Places = field(default_factory=Unlimited)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the hub begins to stop: whoever waits is sent away."""
