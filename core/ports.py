"""What core needs from outside, as Protocols. Adapters implement them, and `hub/app.py` hands them in."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol
from uuid import UUID

from core.sealing import Secret
from schemas.vocabulary import Health

GONE = 410


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One request to somebody outside. Headers may carry credentials, so neither they nor the body show."""

    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Sent:
    """What came of a request: the status that was answered, or the class of the failure."""

    status: int | None = None
    failure: str | None = None

    @property
    def accepted(self) -> bool:
        """Whether the receiver has it."""
        return self.failure is None and self.status is not None and 200 <= self.status < 300


class Sender(Protocol):
    """Sends one request, within ten seconds, only where the operator lets the hub call."""

    async def send(self, outgoing: Outgoing) -> Sent:
        """POST it. Never raises for what the network or the receiver does."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a receiver is: its URL as it was parsed, and the origin of it."""

    url: str
    endpoint: str


class Receivers(Protocol):
    """Judges who may be told something, when they are named."""

    async def admit(self, url: str) -> Address:
        """The address to store and to call.

        Raises:
            BadTarget: the URL breaks a rule; the reason may be shown.
            Blocked: it leads where the hub does not call.
        """


class NoTarget(Exception):
    """Nobody is there to be told any more, or nothing can be said. The word is kept with the delivery."""


@dataclass(frozen=True, slots=True)
class Due:
    """One delivery whose turn it is, under the lease of its queue."""

    id: UUID
    tenant_id: UUID
    channel: str
    target_id: UUID
    entity_id: UUID
    pos: int
    attempt: int
    """How often it was tried before."""
    lease_id: UUID


class Composer(Protocol):
    """Says what one channel's deliveries look like on the wire."""

    async def compose(self, due: Due) -> Sequence[Outgoing]:
        """The requests of a delivery, in order; none when its event says nothing to this target.

        Raises:
            NoTarget: the target or what it was to hear about is gone.
            HubError: the database is away; the delivery keeps its turn.
        """


class Signature(StrEnum):
    """What the signatures of a card are worth."""

    NONE = "none"
    VALID = "valid"
    UNKNOWN = "unknown"
    """There are some, and no key to check them with."""


@dataclass(frozen=True, slots=True)
class CardWanted:
    """Which card to fetch, what it is held to, and how the hub will call the agent."""

    url: str
    approved_origins: Sequence[str]
    """Where its endpoints may be beside the card's own origin."""
    trusted_keys: Sequence[Mapping[str, Any]]
    """JWKs, one of which must have signed it; none: the keys that its signatures name."""
    auth: Mapping[str, Any]
    secret: Secret | None = None


@dataclass(frozen=True, slots=True)
class CardFound:
    """A card that is what it should be. URLs are as they were parsed."""

    url: str
    card: Mapping[str, Any]
    digest: str
    interface: Mapping[str, Any]
    """`url`, `binding`, `version`, `tenant`, and what the agent can do that matters to a caller."""
    signature: Signature
    auth: Mapping[str, Any]
    """As wanted, completed by what the card says."""
    health: Health
    health_error: str | None


class CardRefused(Exception):
    """No card, or not one to work with. The reason may be shown. `reachable`: something did answer."""

    def __init__(self, reason: str, *, reachable: bool = True) -> None:
        super().__init__(reason)
        self.reason = reason
        self.reachable = reachable


class Cards(Protocol):
    """Fetches and judges the cards of agents that work elsewhere."""

    async def look(self, wanted: CardWanted) -> CardFound:
        """The card, verified; and whether the agent accepts the hub's credential.

        Raises:
            CardRefused: why there is none.
        """


@dataclass(frozen=True, slots=True)
class Kept:
    """A file as it was received."""

    size_bytes: int
    sha256: bytes
    md5: bytes
    """Only to compare with what the sender said."""


class TooLong(Exception):
    """More bytes came than were allowed; nothing was kept."""


class Files(Protocol):
    """Keeps files of any size, each under an id that is used once. It knows no names and no owners."""

    async def keep(self, file_id: UUID, content: AsyncIterator[bytes], most: int) -> Kept:
        """Receive a file. Once this returns it survives a crash; until then nobody can read it.

        Raises:
            TooLong: more than `most` bytes came.
            FilesAway: the storage takes nothing now.
        """

    def read(self, file_id: UUID, start: int, length: int) -> AsyncIterator[bytes]:
        """A piece of a file, in pieces of at most 256 KiB.

        Raises:
            FilesAway: it cannot be read now, or is not there.
        """

    async def drop(self, file_id: UUID) -> None:
        """Remove a file. Removing one that is not there does nothing.

        Raises:
            FilesAway: the storage does not answer.
        """


class FilesAway(Exception):
    """The storage of files is full, unreachable or has lost one. The reason may be logged, not shown."""
