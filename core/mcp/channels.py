"""What is said between a session and the program that a worker runs for it: channels, and their frames."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.errors import NotFound, UpstreamFailed
from core.fencing import P_NOW
from core.mcp.records import P_SERVER, ServerId
from core.store.statement import Row, Statement
from core.store.tables.mcp_registry import mcp_channel, mcp_frame, mcp_hosting
from core.store.tx import Tx
from core.store.types import Id, Instant

NEEDED_SECONDS: Final = 60
"""How long a channel is kept open when whoever uses it has fallen silent."""
MOST_FRAMES: Final = 64
MOST_TAKEN: Final = 4 * 1024 * 1024
"""Characters that are taken at once, beyond the first frame."""


class FrameKind(StrEnum):
    """What a frame is for."""

    OPEN = "open"
    """Run the program."""
    MESSAGE = "message"
    CLOSE = "close"
    """End the program; or it has ended."""


@dataclass(frozen=True)
class Frame:
    """One message on its way."""

    id: UUID
    channel_id: UUID
    kind: FrameKind
    body: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Say:
    """A message for the program behind a channel, or its end."""

    channel_id: UUID
    kind: FrameKind
    body: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Hear:
    """What the program behind a channel has said."""

    channel_id: UUID


@dataclass(frozen=True)
class Heard:
    """What it has said. `ended` says why nothing more will come."""

    messages: Sequence[str] = field(repr=False)
    ended: str | None


_h, _c, _f = mcp_hosting.c, mcp_channel.c, mcp_frame.c
P_LEASE = sa.bindparam("p_lease_id", type_=Id())
P_CHANNEL = sa.bindparam("p_channel_id", type_=Id())
P_UNTIL = sa.bindparam("p_until", type_=Instant())
HOSTING = Statement(sa.select(*_h).where(_h.server_id == P_SERVER, access.within_tenant(mcp_hosting)))
CHANNELS = Statement(sa.select(*_c).where(_c.lease_id == P_LEASE))
DROP_FRAMES = Statement(
    sa.delete(mcp_frame).where(
        _f.id.in_(sa.bindparam("p_ids", type_=Id(), expanding=True)), access.within_tenant(mcp_frame)
    )
)
_CHANNEL = Statement(sa.select(*_c).where(_c.id == P_CHANNEL, access.within_tenant(mcp_channel)))
_LIVE = Statement(sa.select(_h.expires_at, _h.server_id).where(_h.lease_id == P_LEASE, _h.expires_at > P_NOW))
_INSERT_CHANNEL = Statement(sa.insert(mcp_channel))
_NEED = Statement(sa.update(mcp_channel).where(_c.id == P_CHANNEL).values(needed_until=P_UNTIL))
_DROP_CHANNEL = Statement(sa.delete(mcp_channel).where(_c.id == P_CHANNEL))
_INSERT_FRAME = Statement(sa.insert(mcp_frame))
_INBOUND = Statement(
    sa.select(*_f)
    .where(_f.channel_id == P_CHANNEL, _f.is_outbound == sa.false())
    .order_by(_f.id)
    .limit(MOST_FRAMES)
)
_DROP_OF_CHANNEL = Statement(sa.delete(mcp_frame).where(_f.channel_id == P_CHANNEL))


def for_worker(lease_id: UUID) -> str:
    """The topic that is woken when something is there for a worker."""
    return f"mcp-host:{lease_id}"


def for_session(channel_id: UUID) -> str:
    """The topic that is woken when the program behind a channel has said something."""
    return f"mcp-channel:{channel_id}"


async def open_channel(tx: Tx, command: ServerId) -> UUID:
    """Have a program run for a session, by whoever hosts the server now.

    Raises:
        UpstreamFailed: nobody hosts it, or all places are taken.
    """
    row = await tx.one(HOSTING, p_server_id=command.server_id)
    if row is None or row.expires_at <= tx.now:
        raise UpstreamFailed("no worker hosts it now", details={"reason_code": "mcp_server_not_hosted"})
    channels = await tx.all(CHANNELS, p_lease_id=row.lease_id)
    if sum(1 for one in channels if one.error is None) >= row.places:
        raise UpstreamFailed(
            f"all {row.places} places of its host are taken", details={"reason_code": "mcp_host_full"}
        )
    channel_id = tx.new_id()
    tx.add(
        _INSERT_CHANNEL,
        id=channel_id,
        tenant_id=tx.caller.tenant_id,
        server_id=row.server_id,
        lease_id=row.lease_id,
        error=None,
        given_id=None,
        needed_until=tx.now + timedelta(seconds=NEEDED_SECONDS),
        opened_at=tx.now,
    )
    put(tx, row.lease_id, channel_id, FrameKind.OPEN, None, tx.new_id(), outbound=True)
    tx.wake(for_worker(row.lease_id))
    return channel_id


async def say(tx: Tx, command: Say) -> None:
    """Give a message to the program behind a channel, or end it; ending it again does nothing.

    Raises:
        NotFound: the channel has ended.
    """
    row = await tx.one(_CHANNEL, p_channel_id=command.channel_id)
    if row is None:
        if command.kind is FrameKind.CLOSE:
            return
        raise NotFound("its host is gone")
    if command.kind is FrameKind.CLOSE:
        await close_channel(tx, row)
    else:
        put(tx, row.lease_id, row.id, command.kind, command.body, tx.new_id(), outbound=True)
        tx.wake(for_worker(row.lease_id))


async def hear(tx: Tx, command: Hear) -> Heard:
    """Take what the program behind a channel has said, and keep the channel open."""
    row = await tx.one(_CHANNEL, p_channel_id=command.channel_id)
    if row is None:
        return Heard([], "its host is gone")
    frames = bounded(await tx.all(_INBOUND, p_channel_id=row.id))
    if frames:
        await tx.run(DROP_FRAMES, p_ids=[frame.id for frame in frames])
    await tx.run(_NEED, p_channel_id=row.id, p_until=tx.now + timedelta(seconds=NEEDED_SECONDS))
    ended: str | None = row.error if not frames else None
    if ended is None and not frames and await tx.one(_LIVE, p_lease_id=row.lease_id, p_now=tx.now) is None:
        ended = "its host is gone"
    return Heard([frame.body or "" for frame in frames], ended)


async def close_channel(tx: Tx, row: Row) -> None:
    """End a channel and everything in it, and tell its worker."""
    await tx.run(_DROP_OF_CHANNEL, p_channel_id=row.id)
    await tx.run(_DROP_CHANNEL, p_channel_id=row.id)
    put(tx, row.lease_id, row.id, FrameKind.CLOSE, None, tx.new_id(), outbound=True)
    tx.wake(for_worker(row.lease_id))


def put(
    tx: Tx, lease_id: UUID, channel_id: UUID, kind: FrameKind, body: str | None, id: UUID, *, outbound: bool
) -> None:
    """Add a frame; it is seen by the next `flush`."""
    values: dict[str, Any] = {"id": id, "lease_id": lease_id, "channel_id": channel_id, "body": body}
    tx.add(
        _INSERT_FRAME,
        **values,
        tenant_id=tx.caller.tenant_id,
        is_outbound=outbound,
        kind=kind.value,
        created_at=tx.now,
    )


def bounded(rows: Sequence[Row]) -> list[Frame]:
    """As many frames as fit in one answer; the first in any case."""
    found: list[Frame] = []
    size = 0
    for row in rows:
        size += len(row.body or "")
        if found and size > MOST_TAKEN:
            break
        found.append(Frame(row.id, row.channel_id, FrameKind(row.kind), row.body))
    return found
