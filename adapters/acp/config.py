"""What `hub/app.py` decides about this face."""

import asyncio
from collections.abc import Awaitable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from starlette.types import Scope

from core.caller import Caller
from schemas.acp import MAX_MESSAGE_BYTES


class Authenticator(Protocol):
    """Who tells the caller of a request (`hub/authentication.py`)."""

    async def identify(self, scope: Scope, face: str) -> Caller:
        """Who calls, through which face.

        Raises:
            HubError: no valid credential.
        """

    def ended(self, scope: Scope) -> Awaitable[None]:
        """Return when the request's credential proves nothing any more."""


class Places(Protocol):
    """Bounded places, such as `hub/places.py` keeps."""

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
class ACPConfig:
    """Limits and times of the ACP face."""

    version: str
    """The product's version, for `agentInfo`."""
    connections: Places = field(default_factory=Unlimited)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the hub begins to stop: whoever is connected is sent away, to come back to the next hub."""
    max_message_bytes: int = MAX_MESSAGE_BYTES
    initialize_seconds: float = 30.0
    """How long a connection may take to say `initialize`."""
    stall_seconds: float = 60.0
    """How long a client may read nothing."""
    heartbeat_seconds: float = 15.0
    """A silent event stream says so this often."""
    idle_seconds: float = 300.0
    """How long a connection over HTTP lives without a stream and without a request."""
    buffered_bytes: int = 64 * 1024 * 1024
    """What may wait for a stream of a connection over HTTP to be opened or read."""
    buffered_messages: int = 1024
