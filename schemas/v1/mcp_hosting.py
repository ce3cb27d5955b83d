"""Hosting an MCP server: a worker runs its program, and speaks for it over its own connection."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints
from typing_extensions import TypedDict

from schemas.v1.fields import Body, Id, Instant, Replayable, Short, Wait, answer
from schemas.v1.remote_mcp_servers import Slug, Text, Timeout

MAX_MESSAGE = 10 * 1024 * 1024
Frames = Annotated[int, Field(ge=1, le=64)]


class McpHostingCreate(Replayable):
    """Which server to host. It is registered if nobody has; its programs are run one for each session."""

    name: Short
    slug: Slug | None = None
    description: Text | None = None
    call_timeout_seconds: Timeout = 300
    places: Frames = 4
    """How many programs may run at once."""


class McpHostingNext(Body):
    """Asks for what is to be done, and keeps the lease."""

    lease_id: Id
    taken: Annotated[list[Id], Field(max_length=1000)] = []
    """Frames that were got; they are given no more."""
    wait_seconds: Wait = 0


class FrameIn(Body):
    """What a program has said, or that it has ended."""

    id: Id
    """Greater than all before it in its channel."""
    channel_id: Id
    kind: Literal["message", "close"]
    body: Annotated[str, StringConstraints(max_length=MAX_MESSAGE)] | None = None
    """The JSON-RPC message, or why the program has ended."""


class McpHostingGive(Body):
    """What programs have said, in order."""

    lease_id: Id
    frames: Annotated[list[FrameIn], Field(min_length=1, max_length=256)]


class McpHostingRelease(Body):
    """Ends the hosting, and with it every session."""

    lease_id: Id


@answer
class McpHosting(TypedDict):
    """A hosting under a lease. Whoever has lost the lease ends its programs."""

    server_id: Id
    slug: str
    name: str
    lease_id: Id
    lease_expires_at: Instant


@answer
class FrameOut(TypedDict):
    """What is to be done: run a program, give it a message, or end it."""

    id: Id
    channel_id: Id
    kind: Literal["open", "message", "close"]
    body: str | None


@answer
class McpHostingWork(TypedDict):
    """What is to be done now. A frame comes again until it is named as taken."""

    frames: list[FrameOut]
    lease_expires_at: Instant
    environment: dict[str, str]
    """What programs that are to be run get to know, where there are such."""
