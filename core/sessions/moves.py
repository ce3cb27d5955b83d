"""How a session moves, as data, and the one statement that changes its status. Pure but for that."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from types import MappingProxyType

import sqlalchemy as sa

from core.fencing import P_NOW
from core.store import tables as t
from core.store.statement import Row, Statement
from core.store.tx import Tx
from core.store.types import Id
from core.transitions import FINAL
from schemas.vocabulary import SessionStatus as S


class SessionMove(StrEnum):
    """The name of a change of status."""

    SETTLE = "settle"
    """Ready for a prompt: it was opened, or its last queued turn has ended."""
    WORK = "work"
    """A turn was asked for."""
    CLOSE = "close"
    """Its owner puts it away."""
    REOPEN = "reopen"
    """Its owner loads or resumes it."""


@dataclass(frozen=True)
class SessionArc:
    """Where a move may start, and where it ends."""

    target: S
    sources: frozenset[S]


SESSION_MOVES: Mapping[SessionMove, SessionArc] = MappingProxyType(
    {
        SessionMove.SETTLE: SessionArc(S.IDLE, frozenset({S.INITIALIZING, S.ACTIVE})),
        SessionMove.WORK: SessionArc(S.ACTIVE, frozenset({S.INITIALIZING, S.IDLE})),
        SessionMove.CLOSE: SessionArc(S.CLOSED, frozenset({S.INITIALIZING, S.ACTIVE, S.IDLE})),
        SessionMove.REOPEN: SessionArc(S.IDLE, frozenset({S.CLOSED})),
    }
)
"""Every move there is; a session is born INITIALIZING."""

_c = t.acp_session.c
P_ROW = sa.bindparam("p_row_id", type_=Id())
_P_TENANT = sa.bindparam("p_tenant", type_=Id())
_P_OWNER = sa.bindparam("p_owner", type_=Id())
_P_SESSION = sa.bindparam("p_session", type_=sa.String())


def _words(statuses: frozenset[S]) -> list[sa.ColumnElement[str]]:
    return [sa.literal_column(f"'{status.value}'") for status in sorted(statuses)]


@lru_cache(maxsize=8)
def _compare_and_set(move: SessionMove) -> Statement:
    arc = SESSION_MOVES[move]
    return Statement(
        sa.update(t.acp_session)
        .where(_c.id == P_ROW, _c.status.in_(_words(arc.sources)))
        .values(status=sa.literal_column(f"'{arc.target.value}'"), updated_at=P_NOW)
        .returning(*_c)
    )


async def move_session(tx: Tx, move: SessionMove, row: Row) -> Row:
    """Make a move of a session that was found to be the caller's; where it does not apply, none."""
    moved = await tx.one(_compare_and_set(move), p_row_id=row.id, p_now=tx.now)
    return row if moved is None else moved


_FINAL_CODES = [sa.literal_column(str(int(state)), sa.SmallInteger) for state in sorted(FINAL)]
_SETTLE = Statement(
    sa.update(t.acp_session)
    .where(
        _c.tenant_id == _P_TENANT,
        _c.owner_id == _P_OWNER,
        _c.session_id == _P_SESSION,
        _c.status == sa.literal_column(f"'{S.ACTIVE.value}'"),
        ~sa.exists().where(
            t.task.c.tenant_id == _P_TENANT,
            t.task.c.context_id == _P_SESSION,
            t.task.c.submitter_id == _P_OWNER,
            t.task.c.state.not_in(_FINAL_CODES),
        ),
    )
    .values(status=sa.literal_column(f"'{S.IDLE.value}'"), updated_at=P_NOW)
)


def settle_after(tx: Tx, task: Row) -> None:
    """A turn has ended: its session rests when no other turn waits."""
    tx.add(
        _SETTLE, p_tenant=task.tenant_id, p_owner=task.submitter_id, p_session=task.context_id, p_now=tx.now
    )
