"""Hosting MCP servers: what a worker that runs their programs says to the hub."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hub.client.transport import Transport


@dataclass(frozen=True)
class Hosting:
    """A hosting under a lease."""

    server_id: str
    slug: str
    lease_id: str


@dataclass(frozen=True)
class Frame:
    """What is to be done with one program, or what it has said: `open`, `message` or `close`."""

    id: str
    channel_id: str
    kind: str
    body: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Work:
    """What is to be done now."""

    frames: Sequence[Frame]
    environment: Mapping[str, str] = field(repr=False)


class Hostings:
    """`hub.hostings`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def create(self, name: str, **fields: Any) -> Hosting:
        """Host the server of that name."""
        body = {"name": name, **{key: value for key, value in fields.items() if value is not None}}
        data = (await self._transport.call("POST", "/mcp-hosting", body, repeatable=True)).data
        return Hosting(data["server_id"], data["slug"], data["lease_id"])

    async def next(self, hosting: Hosting, *, taken: Sequence[str], wait_seconds: int) -> Work:
        """What is to be done, once there is something. Keeps the lease.

        Raises:
            Conflict: the lease is lost.
            NotFound: the server was removed.
        """
        body = {"lease_id": hosting.lease_id, "taken": list(taken), "wait_seconds": wait_seconds}
        path = f"/mcp-hosting/{hosting.server_id}/next"
        reply = await self._transport.call("POST", path, body, repeatable=True, wait_seconds=wait_seconds)
        found = reply.data["frames"]
        frames = [Frame(one["id"], one["channel_id"], one["kind"], one["body"]) for one in found]
        return Work(frames, reply.data["environment"])

    async def give(self, hosting: Hosting, frames: Sequence[Frame]) -> None:
        """Say what programs have said. Raises as `next`."""
        told = [
            {"id": one.id, "channel_id": one.channel_id, "kind": one.kind, "body": one.body} for one in frames
        ]
        path = f"/mcp-hosting/{hosting.server_id}/messages"
        await self._transport.call(
            "POST", path, {"lease_id": hosting.lease_id, "frames": told}, repeatable=True
        )

    async def release(self, hosting: Hosting) -> None:
        """Host it no longer."""
        path = f"/mcp-hosting/{hosting.server_id}/release"
        await self._transport.call("POST", path, {"lease_id": hosting.lease_id}, repeatable=True)
