"""Sessions of tokens: opened with a key, continued by refresh tokens that work once, closed by logging out.

All refresh tokens that come from one opening are a *family*. A refresh token that comes twice was stolen, by
the first user or by the second, so the family ends (RFC 9700 §4.14.2). Token texts: `core/tokens.py`.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa

from core.credentials import CREDENTIALS, FindTokenKey, Identity, find_token_key
from core.store import tables as t
from core.store.statement import Statement
from core.store.tx import Tx
from core.store.types import Id, Instant
from core.tokens import REFRESH_LIFE


@dataclass(frozen=True, slots=True)
class OpenSession:
    """Begin a family for a key that was just proven. `persistent` outlives the browser's window."""

    key_id: UUID
    persistent: bool = True


@dataclass(frozen=True, slots=True)
class Session:
    """One link of a family: the next refresh token."""

    id: UUID
    family_id: UUID
    key_id: UUID
    persistent: bool
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class UseRefresh:
    """Exchange a refresh token for its successor."""

    session_id: UUID


@dataclass(frozen=True, slots=True)
class Continued:
    """A session's next link, and what its key proves now."""

    session: Session
    identity: Identity


@dataclass(frozen=True, slots=True)
class CloseFamily:
    """Log out."""

    family_id: UUID


_s = t.refresh_session.c
_ID = sa.bindparam("p_id", type_=Id())
_FAMILY = sa.bindparam("p_family", type_=Id())
_NOW = sa.bindparam("p_now", type_=Instant())
INSERT = Statement(sa.insert(t.refresh_session))
USE = Statement(
    sa.update(t.refresh_session)
    .where(_s.id == _ID, _s.used_at.is_(None), _s.revoked_at.is_(None), _s.expires_at > _NOW)
    .values(used_at=_NOW)
    .returning(_s.family_id, _s.key_id, _s.persistent)
)
USED = Statement(sa.select(_s.family_id).where(_s.id == _ID, _s.used_at.is_not(None)))
CLOSE = Statement(
    sa.update(t.refresh_session)
    .where(_s.family_id == _FAMILY, _s.revoked_at.is_(None))
    .values(revoked_at=_NOW)
)


async def open_session(tx: Tx, command: OpenSession) -> Session:
    """Begin a family."""
    return await _link(tx, tx.new_id(), command.key_id, command.persistent)


async def use_refresh(tx: Tx, command: UseRefresh) -> Continued | None:
    """Exchange a refresh token. Of calls that race, one gets the successor and the family ends for all.

    None is a refusal: unknown, ended, used before, or its key is gone. It is no error, because the end of the
    family has to be committed.
    """
    used = await tx.one(USE, p_id=command.session_id, p_now=tx.now)
    if used is None:
        stolen = await tx.one(USED, p_id=command.session_id)
        if stolen is not None and await tx.run(CLOSE, p_family=stolen.family_id, p_now=tx.now):
            tx.event(
                "session.reused",
                entity_type="session",
                entity_id=stolen.family_id,
                data={"family_id": str(stolen.family_id)},
            )
            tx.wake(CREDENTIALS)
        return None
    identity = await find_token_key(tx, FindTokenKey(used.key_id, used.family_id))
    if identity is None:
        return None
    return Continued(await _link(tx, used.family_id, used.key_id, used.persistent), identity)


async def close_family(tx: Tx, command: CloseFamily) -> None:
    """End a family: its refresh tokens and its access tokens. Doing it again changes nothing."""
    if await tx.run(CLOSE, p_family=command.family_id, p_now=tx.now):
        tx.wake(CREDENTIALS)


async def _link(tx: Tx, family_id: UUID, key_id: UUID, persistent: bool) -> Session:
    session = Session(tx.new_id(), family_id, key_id, persistent, tx.now, tx.now + REFRESH_LIFE)
    await tx.run(  # not `add`: a second use in the same transaction must see it, to end it
        INSERT,
        id=session.id,
        tenant_id=tx.caller.tenant_id,
        family_id=family_id,
        key_id=key_id,
        persistent=persistent,
        expires_at=session.expires_at,
        used_at=None,
        revoked_at=None,
        created_at=tx.now,
    )
    return session
