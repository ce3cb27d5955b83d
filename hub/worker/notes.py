"""What a worker tells about itself, one note at a time. How it is shown is somebody else's business."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from hub.client import Claim


class Kind(StrEnum):
    """What a note is about."""

    WAITING = "waiting"
    """Registered, and asking for work."""
    CLAIMED = "claimed"
    COMPLETED = "completed"
    FAILED = "failed"
    REFUSED = "refused"
    CANCELLED = "cancelled"
    LOST = "lost"
    """The lease is gone; the result was dropped."""
    UNREACHABLE = "unreachable"
    REACHABLE = "reachable"
    DRAINING = "draining"
    STOPPED = "stopped"


@dataclass(frozen=True, kw_only=True)
class Note:
    """One thing that happened, in words and in facts."""

    kind: Kind
    text: str
    claim: Claim | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


Listener = Callable[[Note], None]


def silence(note: Note) -> None:
    """A listener that keeps everything to itself."""
