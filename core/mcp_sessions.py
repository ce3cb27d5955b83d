"""Sessions of MCP clients that shake hands (revisions up to 2025-11-25), as rows: a restart ends none.

A session carries what was agreed and nothing else. Its id is no credential: every request proves its
principal by itself, and a session is found only by the principal that opened it.
"""

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from core import access
from core.errors import Conflict, NotFound, TooMany
from core.fencing import P_NOW
from core.store import tables as t
from core.store.statement import Row, Statement
from core.store.tx import Tx
from core.store.types import Instant, Json

MOST: Final = 100
"""Sessions that one principal may have."""
IDLE: Final = timedelta(minutes=30)
"""After so long without a request a session has ended."""
NOTED_EVERY: Final = timedelta(minutes=1)
"""How often the use of a session is written down."""
MOST_SUBSCRIPTIONS: Final = 1_000


@dataclass(frozen=True)
class McpSession:
    """What was agreed with a client. `key` names the session inside the hub; the client knows another id."""

    key: str
    server: str
    protocol_version: str
    client: Mapping[str, Any]
    capabilities: Mapping[str, Any]
    subscriptions: Sequence[str]
    log_level: str | None
    last_used_at: datetime

    @classmethod
    def of(cls, row: Row) -> "McpSession":
        """The value of an `mcp_session` row."""
        return cls(
            row.id,
            row.server,
            row.protocol_version,
            row.client,
            row.capabilities,
            row.subscriptions,
            row.log_level,
            row.last_used_at,
        )


@dataclass(frozen=True)
class OpenSession:
    """What was agreed. `session_id` is a fresh secret of `new_session_id`."""

    session_id: str
    server: str
    protocol_version: str
    client: Mapping[str, Any] = field(default_factory=dict)
    capabilities: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SessionOf:
    """The session that a client names at one of the hub's servers."""

    session_id: str
    server: str


@dataclass(frozen=True)
class Subscribe:
    """Let a session hear of a resource, or no longer."""

    session_id: str
    server: str
    uri: str
    wanted: bool = True


@dataclass(frozen=True)
class SetLevel:
    """From which level on the session wants to hear log messages."""

    session_id: str
    server: str
    level: str


def new_session_id() -> str:
    """A session id that nobody can guess."""
    return secrets.token_urlsafe(32)


def topic(key: str) -> str:
    """What is woken when a session, by its name inside the hub, wants to hear of something else."""
    return f"mcp_session:{key}"


def key_of(session_id: str) -> str:
    """The name of a session inside the hub. The database does not hold what a client presents."""
    return hashlib.sha256(session_id.encode()).hexdigest()


_P_KEY = sa.bindparam("p_key", type_=sa.String())
_P_SERVER = sa.bindparam("p_server", type_=sa.String())
_P_SINCE = sa.bindparam("p_since", type_=Instant())
_c = t.mcp_session.c
_MINE = (_c.tenant_id == access.TENANT, _c.principal_id == access.ME)
_THIS = (_c.id == _P_KEY, _c.server == _P_SERVER, *_MINE, _c.last_used_at >= _P_SINCE)
_INSERT = Statement(sa.insert(t.mcp_session))
_FIND = Statement(sa.select(t.mcp_session).where(*_THIS))
_LOCK = Statement(sa.select(t.mcp_session).where(*_THIS).with_for_update())
_USE = Statement(sa.update(t.mcp_session).where(*_THIS).values(last_used_at=P_NOW))
_SET_LEVEL = Statement(
    sa.update(t.mcp_session)
    .where(*_THIS)
    .values(log_level=sa.bindparam("p_level", type_=sa.String()), last_used_at=P_NOW)
)
_CLOSE = Statement(sa.delete(t.mcp_session).where(*_THIS))
_COUNT = Statement(sa.select(sa.func.count().label("n")).select_from(t.mcp_session).where(*_MINE))
_FORGET_MINE = Statement(sa.delete(t.mcp_session).where(*_MINE, _c.last_used_at < _P_SINCE))
_FORGET = Statement(sa.delete(t.mcp_session).where(_c.last_used_at < _P_SINCE))
_SUBSCRIBE = Statement(
    sa.update(t.mcp_session)
    .where(_c.id == _P_KEY, *_MINE)
    .values(subscriptions=sa.bindparam("p_subscriptions", type_=Json()), last_used_at=P_NOW)
)


async def open_session(tx: Tx, command: OpenSession) -> McpSession:
    """Open a session for the caller.

    Raises:
        TooMany: the caller has as many as it may.
    """
    await tx.run(_FORGET_MINE, p_since=tx.now - IDLE)
    counted = await tx.one(_COUNT)
    if counted is not None and counted.n >= MOST:
        raise TooMany(
            f"you have {counted.n} open MCP sessions, and that is the limit",
            retry_after=60,
            hint="End sessions with DELETE when you are done with them.",
        )
    session = McpSession(
        key_of(command.session_id),
        command.server,
        command.protocol_version,
        dict(command.client),
        dict(command.capabilities),
        [],
        None,
        tx.now,
    )
    tx.add(
        _INSERT,
        id=session.key,
        tenant_id=tx.caller.tenant_id,
        principal_id=tx.caller.principal_id,
        server=session.server,
        protocol_version=session.protocol_version,
        client=session.client,
        capabilities=session.capabilities,
        subscriptions=[],
        log_level=None,
        created_at=tx.now,
        last_used_at=tx.now,
    )
    return session


async def find_session(tx: Tx, query: SessionOf) -> McpSession:
    """The caller's session of that id.

    Raises:
        NotFound: unknown, ended, of another server or of somebody else.
    """
    return McpSession.of(await _found(tx, _FIND, query))


async def use_session(tx: Tx, command: SessionOf) -> None:
    """Note that the session is in use. Of one that has ended nothing is noted."""
    tx.add(_USE, **_named(tx, command), p_now=tx.now)


async def close_session(tx: Tx, command: SessionOf) -> None:
    """End a session.

    Raises:
        NotFound: as `find_session`.
    """
    if not await tx.run(_CLOSE, **_named(tx, command)):
        raise NotFound("no such session")


async def subscribe(tx: Tx, command: Subscribe) -> None:
    """Begin or end to want news of a resource. Saying it again changes nothing.

    Raises:
        NotFound: as `find_session`.
        Conflict: the session wants as many as it may.
    """
    row = await _found(tx, _LOCK, SessionOf(command.session_id, command.server))
    kept = [uri for uri in row.subscriptions if uri != command.uri]
    if command.wanted:
        if len(kept) >= MOST_SUBSCRIPTIONS:
            raise Conflict(f"a session subscribes to {MOST_SUBSCRIPTIONS} resources at most")
        kept.append(command.uri)
    tx.add(_SUBSCRIBE, p_key=row.id, p_subscriptions=kept, p_now=tx.now)
    tx.wake(topic(row.id))


async def set_level(tx: Tx, command: SetLevel) -> None:
    """Remember the level of a session's log. Of one that has ended nothing is noted."""
    which = SessionOf(command.session_id, command.server)
    tx.add(_SET_LEVEL, **_named(tx, which), p_now=tx.now, p_level=command.level)


async def forget_idle(tx: Tx, _: None) -> None:
    """Drop the sessions of everybody that have ended by themselves."""
    tx.add(_FORGET, p_since=tx.now - IDLE)


def _named(tx: Tx, which: SessionOf) -> dict[str, Any]:
    return {"p_key": key_of(which.session_id), "p_server": which.server, "p_since": tx.now - IDLE}


async def _found(tx: Tx, statement: Statement, which: SessionOf) -> Row:
    row = await tx.one(statement, **_named(tx, which))
    if row is None:
        raise NotFound("no such session")
    return row
