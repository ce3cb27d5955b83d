"""Sessions end: closed, which keeps their history, or deleted. Either way their turns are cancelled."""

from core.errors import NotFound
from core.sessions.moves import SessionMove, move_session
from core.sessions.session import OneSession, Session, announce, change, find
from core.sessions.turns import stop_open
from core.store.tx import Tx
from schemas.vocabulary import SessionStatus


async def close(tx: Tx, command: OneSession) -> Session:
    """Put a session away: its turns are cancelled, and what its MCP servers need is forgotten. Repeatable.

    Raises:
        NotFound: unknown, foreign or deleted.
    """
    row = await find(tx, command.session_id, lock=True)
    if row.status == SessionStatus.CLOSED:
        return Session.of(row)
    await stop_open(tx, row.session_id, reason="the session was closed")
    row = await move_session(tx, SessionMove.CLOSE, row)
    row = await change(tx, row, "mcp_servers", None)
    announce(tx, row, "acp.session_closed", {})
    return Session.of(row)


async def delete(tx: Tx, command: OneSession) -> bool:
    """Close a session and forget that it was there; tell whether there was one."""
    try:
        await close(tx, command)
    except NotFound:
        return False
    row = await find(tx, command.session_id)
    row = await change(tx, row, "deleted_at", tx.now)
    announce(tx, row, "acp.session_deleted", {})
    return True
