"""Who is addressed: one agent as A2A callers see it, and what the operator decided about this face.

The hub itself is one such agent, with one general skill. Nothing here is read from the store.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Protocol
from uuid import UUID

from core.bootstrap import DEFAULT_TENANT
from core.ports import Receivers
from core.workflows.fronts import Play


@dataclass(frozen=True, slots=True)
class Skill:
    """One `AgentSkill` of a card."""

    id: str
    name: str
    description: str
    tags: Sequence[str]
    examples: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class ExposedAgent:
    """An agent that A2A callers can address. Tasks sent to it ask for `required_tags`."""

    name: str
    description: str
    skills: Sequence[Skill]
    input_modes: Sequence[str]
    """What the card declares; a part of another media type is refused."""
    output_modes: Sequence[str]
    also_accepts: Sequence[str] = ()
    """Taken beyond what the card declares, since it means the same (`text/*`)."""
    required_tags: Sequence[str] | None = None
    play: Play | None = None
    """What runs for each task that is sent to it, where it is a playbook."""
    path: str = ""
    """Where its endpoints are, below the hub's public address."""
    required_extensions: Sequence[str] = ()
    """Its card declares them as required; a call that does not name them is refused."""
    slug: str | None = None
    """By which name it is addressed among the agents of the hub; None for the hub itself."""
    exposure_id: UUID | None = None
    """Which exposure it is; what was not sent to it does not exist there."""
    tenant_id: UUID = DEFAULT_TENANT
    """Whose keys sign its card."""
    changed_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    """When what it says of itself was last changed."""


HUB: Final = ExposedAgent(
    name="Crossdock",
    description=(
        "A durable task hub. Send it work in plain words or as data; an agent that is connected to it does "
        "the work, and the answer, its progress and its artifacts come back here. Nothing is lost."
    ),
    skills=[
        Skill(
            id="task",
            name="Give the hub a task",
            description="Queues the message as a task; the next agent that can do it takes it.",
            tags=["task", "delegation"],
            examples=["Summarise the attached report in five sentences."],
        )
    ],
    input_modes=["text/plain", "application/json"],
    output_modes=["text/plain", "application/json"],
    also_accepts=["text/*"],
)


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


class CannotListen(Exception):
    """The port of a binding with a port of its own is taken, or is not this machine's."""


@dataclass(frozen=True)
class A2AConfig:
    """What `hub/app.py` decides about this face."""

    public_url: str
    """The hub's address as others reach it, without a trailing slash."""
    version: str
    """The product's version, for the card."""
    blocking_seconds: float | None = None
    """Caps how long a blocking send waits; None waits as long as its client does."""
    heartbeat_seconds: float = 15.0
    """A silent stream says so this often, as an SSE comment."""
    max_body_bytes: int = 10 * 1024 * 1024
    waits: Places = field(default_factory=Unlimited)
    """For blocking sends."""
    streams: Places = field(default_factory=Unlimited)
    receivers: Receivers | None = None
    """Who judges where push notifications go. Without it there are none."""
    grpc_address: str | None = None
    """Host and port of the gRPC binding, as others reach it; None where it is off."""
    hub: ExposedAgent = field(default=HUB)
