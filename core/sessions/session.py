"""A session: a conversation that an editor opened, with where it works and what its owner chose.

Only its owner knows that it exists; unknown, foreign and deleted are the same `NotFound`. What its clients'
MCP servers need to be reached is sealed, and goes to the executor of its turns alone.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.errors import NotFound
from core.fencing import P_NOW
from core.push import Seals
from core.sealing import Place, Secret
from core.sessions.moves import P_ROW
from core.store import tables as t
from core.store.statement import Row, Statement
from core.store.tx import Tx
from core.store.types import Instant
from schemas.vocabulary import SessionStatus


@dataclass(frozen=True)
class Session:
    """A session as its owner sees it."""

    id: UUID
    tenant_id: UUID
    owner_id: UUID
    session_id: str
    status: SessionStatus
    transport: str
    cwd: str
    additional_directories: Sequence[str]
    title: str | None
    autonomy: str
    config: Mapping[str, Any]
    required_tags: Sequence[str]
    executor: Mapping[str, Any]
    parent_id: UUID | None
    forked_at: int | None
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, row: Row) -> "Session":
        """The value of a row."""
        return cls(
            row.id,
            row.tenant_id,
            row.owner_id,
            row.session_id,
            SessionStatus(row.status),
            row.transport,
            row.cwd or "",
            row.additional_directories,
            row.title,
            row.autonomy,
            row.config,
            row.required_tags,
            row.executor,
            row.parent_id,
            row.forked_at,
            row.created_at,
            row.updated_at,
        )


McpServers = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class OneSession:
    """Which session."""

    session_id: str


@dataclass(frozen=True)
class ListSessions:
    """The owner's sessions, those that changed last first; `before` is the last one of the page before."""

    cwd: str | None = None
    before: tuple[datetime, UUID] | None = None
    limit: int = 50


_s = t.acp_session.c
P_SESSION = sa.bindparam("p_session", type_=sa.String())
OWN = sa.and_(access.owned(t.acp_session), _s.deleted_at.is_(None), _s.agent_id.is_(None))
_FIND = Statement(sa.select(*_s).where(OWN, _s.session_id == P_SESSION))
_LOCK = Statement(sa.select(*_s).where(OWN, _s.session_id == P_SESSION).with_for_update())
_SETS = {
    name: Statement(
        sa.update(t.acp_session)
        .where(_s.id == P_ROW)
        .values({name: sa.bindparam("p_value", type_=_s[name].type), "updated_at": P_NOW})
        .returning(*_s)
    )
    for name in ("autonomy", "config", "additional_directories", "mcp_servers", "title", "deleted_at")
}


async def find(tx: Tx, session_id: str, *, lock: bool = False) -> Row:
    """The row of the caller's session; locked, where several may change it at once.

    Raises:
        NotFound: unknown, foreign or deleted.
    """
    row = await tx.one(_LOCK if lock else _FIND, p_session=session_id)
    if row is None:
        raise NotFound("no such session")
    return row


def sealed(tx: Tx, row_id: UUID, servers: McpServers) -> str | None:
    """MCP servers as they lie in the database; none as None."""
    if not servers:
        return None
    text = json.dumps([dict(server) for server in servers], separators=(",", ":"), ensure_ascii=False)
    return tx.memory(Seals).sealer.seal(Secret(text), _place(tx.caller.tenant_id, row_id))


def unsealed(tx: Tx, row: Row) -> list[Any]:
    """The MCP servers of a session.

    Raises:
        Unsealable: the hub no longer has the secret that sealed them.
    """
    if row.mcp_servers is None:
        return []
    servers: list[Any] = json.loads(
        tx.memory(Seals).sealer.open(row.mcp_servers, _place(row.tenant_id, row.id)).reveal()
    )
    return servers


def _place(tenant_id: UUID, row_id: UUID) -> Place:
    return Place(tenant_id, "acp_session", row_id, "mcp_servers")


def announce(tx: Tx, row: Row, kind: str, data: Mapping[str, Any]) -> None:
    """Write an event of a session, which its owner may see."""
    tx.event(
        kind,
        entity_type="acp_session",
        entity_id=row.id,
        context_id=row.session_id,
        submitter_id=row.owner_id,
        workflow_id=row.workflow_id,
        data={"session_id": row.session_id, "status": row.status, **data},
    )


async def get_session(tx: Tx, query: OneSession) -> Session:
    """The session.

    Raises:
        NotFound: unknown, foreign or deleted.
    """
    return Session.of(await find(tx, query.session_id))


async def list_sessions(tx: Tx, query: ListSessions) -> list[Session]:
    """A page of the caller's sessions, closed ones too."""
    wanted: list[sa.ColumnElement[bool]] = [OWN]
    if query.cwd is not None:
        wanted.append(_s.cwd == query.cwd)
    if query.before is not None:
        at, row_id = query.before
        moment = sa.literal(at, Instant())
        wanted.append(sa.or_(_s.updated_at < moment, sa.and_(_s.updated_at == moment, _s.id < row_id)))
    rows = await tx.all(
        sa.select(*_s).where(*wanted).order_by(_s.updated_at.desc(), _s.id.desc()).limit(query.limit)
    )
    return [Session.of(row) for row in rows]


async def change(tx: Tx, row: Row, column: str, value: Any) -> Row:
    """Set one column of a session that was found in this transaction."""
    changed = await tx.one(_SETS[column], p_row_id=row.id, p_value=value, p_now=tx.now)
    return row if changed is None else changed
