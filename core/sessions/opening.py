"""Sessions begin: opened, forked from another, or taken up again by whoever owns them."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import sqlalchemy as sa

from core import access
from core.errors import Invalid, TooMany
from core.fencing import P_NOW
from core.sessions.choices import AUTONOMY, check_agent
from core.sessions.moves import SessionMove, move_session
from core.sessions.session import (
    OWN,
    P_SESSION,
    McpServers,
    Session,
    announce,
    change,
    find,
    sealed,
    unsealed,
)
from core.store import tables as t
from core.store.statement import Statement, insert
from core.store.tx import Tx
from schemas.vocabulary import SessionStatus

MOST: Final = 1_000
"""Sessions of one owner that are not closed."""


@dataclass(frozen=True)
class OpenSession:
    """A new session in a directory of its owner's machine."""

    cwd: str
    transport: str = "websocket"
    additional_directories: Sequence[str] = ()
    mcp_servers: McpServers = field(default=(), repr=False)
    required_tags: Sequence[str] = ()
    agent: str | None = None
    autonomy: str = "ask"


@dataclass(frozen=True)
class AttachSession:
    """Go on with a session. What is None stays as it is; `cwd` never changes."""

    session_id: str
    cwd: str | None = None
    additional_directories: Sequence[str] | None = None
    mcp_servers: McpServers | None = field(default=None, repr=False)


@dataclass(frozen=True)
class ForkSession:
    """A session with the same past and a future of its own."""

    session_id: str
    cwd: str | None = None
    additional_directories: Sequence[str] | None = None
    mcp_servers: McpServers | None = field(default=None, repr=False)


_s = t.acp_session.c
_INSERT = Statement(sa.insert(t.acp_session))
_NAME_CONVERSATION = Statement(
    insert(t.conversation)
    .values(
        tenant_id=access.TENANT,
        owner_id=access.ME,
        context_id=P_SESSION,
        title=sa.bindparam("p_title", type_=sa.String()),
        created_at=P_NOW,
    )
    .on_conflict_do_nothing(index_elements=["tenant_id", "owner_id", "context_id"])
)
_COUNT = Statement(
    sa.select(sa.func.count().label("n")).where(
        OWN, _s.status != sa.literal_column(f"'{SessionStatus.CLOSED.value}'")
    )
)
_HEAD = Statement(sa.select(sa.func.coalesce(sa.func.max(t.event.c.pos), 0).label("pos")))


async def open_session(tx: Tx, command: OpenSession) -> Session:
    """Open a session. With a replay key, opening it again returns the first.

    Raises:
        TooMany: the caller has as many as it may.
        Invalid: no such agent.
    """
    config = {}
    if command.agent is not None:
        await check_agent(tx, command.agent)
        config["agent"] = command.agent
    return await _birth(
        tx,
        cwd=command.cwd,
        transport=command.transport,
        additional_directories=list(command.additional_directories),
        title=None,
        autonomy=command.autonomy if command.autonomy in AUTONOMY else "ask",
        config=config,
        required_tags=sorted(set(command.required_tags)),
        mcp_servers=command.mcp_servers,
    )


async def _birth(tx: Tx, *, mcp_servers: McpServers, **said: Any) -> Session:
    count = await tx.one(_COUNT)
    if count is not None and count.n >= MOST:
        raise TooMany(f"you have {MOST} open sessions; close or delete one", details={"limit": MOST})
    caller, row_id = tx.caller, tx.new_id()
    session_id = f"sess_{secrets.token_urlsafe(24)}"
    columns: dict[str, Any] = {
        "id": row_id,
        "tenant_id": caller.tenant_id,
        "owner_id": caller.principal_id,
        "session_id": session_id,
        "status": SessionStatus.INITIALIZING.value,
        "mode": "session",
        "executor": {},
        "parent_id": None,
        "forked_at": None,
        "agent_id": None,
        "worker_id": None,
        "workflow_id": None,
        "attributes": {},
        "last_heartbeat_at": None,
        "archived_at": None,
        "deleted_at": None,
        "created_at": tx.now,
        "updated_at": tx.now,
        **said,
        "mcp_servers": sealed(tx, row_id, mcp_servers),
    }
    tx.add(_INSERT, **columns)
    tx.add(_NAME_CONVERSATION, p_session=session_id, p_title=said["title"], p_now=tx.now)
    await tx.flush()
    row = await move_session(tx, SessionMove.SETTLE, await find(tx, session_id))
    announce(
        tx, row, "acp.session_created", {"cwd": row.cwd, "forked_from": row.parent_id and str(row.parent_id)}
    )
    return Session.of(row)


async def attach(tx: Tx, command: AttachSession) -> Session:
    """Go on with a session: a closed one opens again, and what its client brings replaces what it had.

    Raises:
        NotFound: unknown, foreign or deleted.
        Invalid: it lives in another directory.
    """
    row = await find(tx, command.session_id, lock=True)
    if command.cwd is not None and command.cwd != row.cwd:
        raise Invalid("the session lives in another directory", details={"field": "cwd"})
    if row.status == SessionStatus.CLOSED:
        row = await move_session(tx, SessionMove.REOPEN, row)
        announce(tx, row, "acp.session_reopened", {})
    if command.additional_directories is not None:
        directories = list(command.additional_directories)
        if directories != list(row.additional_directories):
            row = await change(tx, row, "additional_directories", directories)
    if command.mcp_servers is not None:
        row = await change(tx, row, "mcp_servers", sealed(tx, row.id, command.mcp_servers))
    return Session.of(row)


async def fork(tx: Tx, command: ForkSession) -> Session:
    """A new session with the past of another one, up to now.

    Raises:
        NotFound: unknown, foreign or deleted.
        TooMany: the caller has as many as it may.
    """
    row = await find(tx, command.session_id)
    head = await tx.one(_HEAD)
    servers = unsealed(tx, row) if command.mcp_servers is None else command.mcp_servers
    directories = command.additional_directories
    return await _birth(
        tx,
        cwd=row.cwd if command.cwd is None else command.cwd,
        transport=row.transport,
        additional_directories=list(row.additional_directories if directories is None else directories),
        title=row.title,
        autonomy=row.autonomy,
        config=dict(row.config),
        required_tags=list(row.required_tags),
        mcp_servers=servers,
        parent_id=row.id,
        forked_at=0 if head is None else head.pos,
    )
