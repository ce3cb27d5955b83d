"""Hosted servers: a worker runs their program, and the hub speaks with it through that worker.

The worker holds a lease, which fences it: who has lost it is refused, and ends every program that it runs.
Each session has a channel of its own (`channels.py`), and so a program of its own. What is said goes through
rows, so that the worker may be connected to one replica and the session live on another.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.errors import Conflict, NotFound
from core.mcp.channels import (
    CHANNELS,
    DROP_FRAMES,
    HOSTING,
    MOST_FRAMES,
    P_CHANNEL,
    P_LEASE,
    P_UNTIL,
    Frame,
    FrameKind,
    bounded,
    close_channel,
    for_session,
    for_worker,
    put,
)
from core.mcp.parameters import open_values
from core.mcp.records import CHANGED, P_SERVER, McpServer, ServerId, get_server, row_of
from core.mcp.registration import REVERIFY_SECONDS, RegisterServer, check_slug, slug_of
from core.mcp.registry import Add, add
from core.mcp.words import Placement, ServerKind
from core.store.replay import Beside
from core.store.statement import Row, Statement
from core.store.tables.mcp_registry import mcp_channel, mcp_frame, mcp_hosting, mcp_server
from core.store.tx import Tx
from core.store.types import Id, Instant

LEASE_SECONDS: Final = 30
FORGET_SECONDS: Final = 3600


@dataclass(frozen=True)
class Host:
    """Host a server: the one of that name if this principal registered it, else a new one."""

    name: str
    slug: str | None = None
    description: str | None = None
    call_timeout_seconds: int = 300
    places: int = 4


@dataclass(frozen=True)
class Hosting:
    """A server and the lease of its host."""

    server: McpServer
    lease_id: UUID
    expires_at: datetime


@dataclass(frozen=True)
class Take:
    """What is for the worker. `taken` are the frames that it has got; they are given no more."""

    server_id: UUID
    lease_id: UUID
    taken: Sequence[UUID] = ()


@dataclass(frozen=True)
class Taken:
    """What is for the worker now. `environment` is what its programs need to know, of OPEN frames."""

    frames: Sequence[Frame]
    expires_at: datetime
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Give:
    """What the programs of a worker have said. In each channel ids grow: no frame is taken twice."""

    server_id: UUID
    lease_id: UUID
    frames: Sequence[Frame]


@dataclass(frozen=True)
class Release:
    """A worker hosts a server no longer."""

    server_id: UUID
    lease_id: UUID


_h, _c, _f = mcp_hosting.c, mcp_channel.c, mcp_frame.c
_HOSTED = Statement(
    sa.select(mcp_server.c.id, mcp_server.c.kind, mcp_server.c.registered_by).where(
        mcp_server.c.name == sa.bindparam("p_name", type_=sa.String()), access.within_tenant(mcp_server)
    )
)
_DROP_HOSTING = Statement(sa.delete(mcp_hosting).where(_h.server_id == P_SERVER))
_INSERT_HOSTING = Statement(sa.insert(mcp_hosting))
_RENEW = Statement(sa.update(mcp_hosting).where(_h.lease_id == P_LEASE).values(expires_at=P_UNTIL))
_DUE = Statement(
    sa.update(mcp_server)
    .where(mcp_server.c.id == P_SERVER, mcp_server.c.is_archived == sa.false())
    .values(verify_at=sa.bindparam("p_now", type_=Instant()))
)
_ENDED = Statement(
    sa.update(mcp_channel).where(_c.id == P_CHANNEL).values(error=sa.bindparam("p_error", type_=sa.String()))
)
_OUTBOUND = Statement(
    sa.select(*_f)
    .where(_f.lease_id == P_LEASE, _f.is_outbound == sa.true())
    .order_by(_f.id)
    .limit(MOST_FRAMES)
)
_GIVEN = Statement(
    sa.update(mcp_channel).where(_c.id == P_CHANNEL).values(given_id=sa.bindparam("p_frame_id", type_=Id()))
)
_FORGET_FRAMES = Statement(sa.delete(mcp_frame).where(_f.created_at < P_UNTIL))
_FORGET_CHANNELS = Statement(sa.delete(mcp_channel).where(_c.needed_until < P_UNTIL))
_DROP_OF_LEASE = tuple(
    Statement(sa.delete(table).where(table.c.lease_id == P_LEASE)) for table in (mcp_frame, mcp_channel)
)


async def host(tx: Tx, command: Host) -> Hosting:
    """Take up the hosting of a server. Whoever hosted it before has lost its lease, and its programs end.

    Raises:
        Conflict: another server has this name, or this slug.
        Invalid: it cannot have this name or this slug.
    """
    known = await tx.one(_HOSTED, p_name=command.name)
    if known is None:
        check_slug(command.slug or slug_of(command.name))
        wanted = RegisterServer(
            name=command.name,
            slug=command.slug,
            description=command.description,
            endpoint_url="",
            kind=ServerKind.HOSTED,
            call_timeout_seconds=command.call_timeout_seconds,
            reverify_seconds=REVERIFY_SECONDS,
            worker_id=tx.caller.principal_id,
        )
        server_id = (await add(tx, Add(wanted, Beside(None)))).id
    elif known.kind != ServerKind.HOSTED.value or known.registered_by != tx.caller.principal_id:
        raise Conflict("another MCP server has this name", details={"reason_code": "name_taken"})
    else:
        server_id = known.id
        before = await tx.one(HOSTING, p_server_id=server_id)
        if before is not None:
            await _end(tx, before)
    lease_id, expires_at = tx.new_id(), tx.now + timedelta(seconds=LEASE_SECONDS)
    await tx.run(
        _INSERT_HOSTING,
        server_id=server_id,
        tenant_id=tx.caller.tenant_id,
        lease_id=lease_id,
        holder_id=tx.caller.principal_id,
        places=command.places,
        expires_at=expires_at,
        started_at=tx.now,
    )
    await tx.run(_DUE, p_server_id=server_id, p_now=tx.now)
    tx.wake(CHANGED)
    return Hosting(await get_server(tx, ServerId(server_id)), lease_id, expires_at)


async def take(tx: Tx, command: Take) -> Taken:
    """What is for a worker, whose lease is renewed. A frame is given again until it is among `taken`.

    Raises:
        NotFound: the server was removed.
        Conflict: the lease is lost.
    """
    hosting = await _held(tx, command.server_id, command.lease_id)
    if command.taken:
        await tx.run(DROP_FRAMES, p_ids=list(command.taken))
    await _close_unneeded(tx, hosting)
    await tx.flush()
    until = tx.now + timedelta(seconds=LEASE_SECONDS)
    await tx.run(_RENEW, p_lease_id=hosting.lease_id, p_until=until)
    frames = bounded(await tx.all(_OUTBOUND, p_lease_id=hosting.lease_id))
    environment: dict[str, str] = {}
    if any(frame.kind is FrameKind.OPEN for frame in frames):
        values = await open_values(tx, hosting.server_id)
        environment = {
            one.key: one.text.reveal() for one in values.values() if one.placement is Placement.ENVIRONMENT
        }
    return Taken(frames, until, environment)


async def give(tx: Tx, command: Give) -> None:
    """What the programs of a worker have said, in order. Repeating it changes nothing.

    Raises:
        Conflict: the lease is lost.
    """
    hosting = await _held(tx, command.server_id, command.lease_id)
    channels = {row.id: row for row in await tx.all(CHANNELS, p_lease_id=hosting.lease_id)}
    given = {row.id: row.given_id for row in channels.values()}
    for frame in command.frames:
        before = given.get(frame.channel_id)
        if frame.channel_id not in channels or (before is not None and frame.id.int <= before.int):
            continue
        given[frame.channel_id] = frame.id
        if frame.kind is FrameKind.CLOSE:
            await tx.run(_ENDED, p_channel_id=frame.channel_id, p_error=frame.body or "its program has ended")
        else:
            put(tx, hosting.lease_id, frame.channel_id, frame.kind, frame.body, frame.id, outbound=False)
        tx.wake(for_session(frame.channel_id))
    await tx.flush()
    for channel_id, frame_id in given.items():
        if frame_id != channels[channel_id].given_id:
            await tx.run(_GIVEN, p_channel_id=channel_id, p_frame_id=frame_id)


async def release(tx: Tx, command: Release) -> None:
    """A worker hosts a server no longer; repeating it does nothing."""
    row = await tx.one(HOSTING, p_server_id=command.server_id)
    if row is not None and row.lease_id == command.lease_id and row.holder_id == tx.caller.principal_id:
        await _end(tx, row)


async def forget(tx: Tx, _: None) -> None:
    """Drop what was left behind by workers that went away for good, in every tenant."""
    await tx.run(_FORGET_FRAMES, p_until=tx.now - timedelta(seconds=FORGET_SECONDS))
    await tx.run(_FORGET_CHANNELS, p_until=tx.now - timedelta(seconds=FORGET_SECONDS))


async def _held(tx: Tx, server_id: UUID, lease_id: UUID) -> Row:
    server = await row_of(tx, server_id)
    if server.registered_by != tx.caller.principal_id:
        raise NotFound("no such MCP server")
    row = await tx.one(HOSTING, p_server_id=server_id)
    if row is None or row.lease_id != lease_id:
        raise Conflict("the lease is lost", details={"reason_code": "lease_lost"})
    return row


async def _close_unneeded(tx: Tx, hosting: Row) -> None:
    """Sessions that died without a word need their programs no more."""
    for row in await tx.all(CHANNELS, p_lease_id=hosting.lease_id):
        if row.needed_until <= tx.now:
            await close_channel(tx, row)


async def _end(tx: Tx, hosting: Row) -> None:
    """End a hosting with everything that goes on in it."""
    for row in await tx.all(CHANNELS, p_lease_id=hosting.lease_id):
        tx.wake(for_session(row.id))
    for statement in _DROP_OF_LEASE:
        await tx.run(statement, p_lease_id=hosting.lease_id)
    await tx.run(_DROP_HOSTING, p_server_id=hosting.server_id)
    tx.wake(for_worker(hosting.lease_id))
