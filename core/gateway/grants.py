"""Grants: who may call which tools of which server. Nobody may call anything of a server until one says so.

Only admins give and take them. What they come to for one caller is in `policy.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.errors import Conflict, Forbidden, Invalid, NotFound
from core.gateway.policy import Rule
from core.store import tables as t
from core.store.statement import Row, Statement, insert
from core.store.tables import mcp_calls, mcp_registry
from core.store.tx import Tx
from core.store.types import Id
from core.tasks.read import Page
from schemas.vocabulary import GrantEffect, GrantSubject

CHANGED: Final = "mcp_grants"
"""The topic that is woken when a grant was given or taken: lists of tools may be others now."""


@dataclass(frozen=True)
class Subject:
    """To whom: a role by its name, anything else by its id, agents and principals by a name of theirs too."""

    kind: GrantSubject
    id: UUID | None = None
    name: str | None = None


@dataclass(frozen=True)
class CreateGrant:
    """A new grant. `server` is an id or a slug; `tool` a pattern of the names that the server gives."""

    subject: Subject
    server: str
    tool: str = "*"
    effect: GrantEffect = GrantEffect.ALLOW
    timeout_seconds: int | None = None
    calls_per_minute: int | None = None
    max_result_bytes: int | None = None


@dataclass(frozen=True)
class Grant:
    """A grant as an operator sees it. `subject` is a role's name, or an id as text."""

    id: UUID
    tenant_id: UUID
    subject_kind: GrantSubject
    subject: str
    server_id: UUID
    server: str
    tool: str
    effect: GrantEffect
    timeout_seconds: int | None
    calls_per_minute: int | None
    max_result_bytes: int | None
    created_by: UUID
    created_at: datetime


@dataclass(frozen=True)
class GrantId:
    """Which grant."""

    grant_id: UUID


@dataclass(frozen=True)
class ListGrants:
    """Filters are joined by AND; None means any. Newest first."""

    server: str | None = None
    subject_kind: GrantSubject | None = None
    subject: str | None = None
    page: int = 1
    per_page: int = 20


_g, _s = mcp_calls.grant.c, mcp_registry.mcp_server.c
_P_GRANT = sa.bindparam("p_grant_id", type_=Id())
_TEXT = sa.bindparam("p_text", type_=sa.String())
_SHOWN = sa.select(mcp_calls.grant, _s.slug.label("server")).join(
    mcp_registry.mcp_server, _s.id == _g.server_id
)
_ONE = Statement(_SHOWN.where(_g.id == _P_GRANT, access.within_tenant(mcp_calls.grant)))
_INSERT = insert(mcp_calls.grant)
_ADD = Statement(
    _INSERT.on_conflict_do_update(
        index_elements=["tenant_id", "subject_kind", "subject", "server_id", "tool", "effect"],
        set_={
            name: _INSERT.excluded[name]
            for name in ("timeout_seconds", "calls_per_minute", "max_result_bytes")
        },
    ).returning(_g.id)
)
_DELETE = Statement(
    sa.delete(mcp_calls.grant).where(_g.id == _P_GRANT, access.within_tenant(mcp_calls.grant))
)
_SERVER = Statement(
    sa.select(_s.id).where(
        access.within_tenant(mcp_registry.mcp_server),
        sa.or_(_s.id == sa.bindparam("p_id", type_=Id()), _s.slug == _TEXT),
    )
)
_RULES = Statement(
    sa.select(mcp_calls.grant).where(
        access.within_tenant(mcp_calls.grant),
        sa.or_(
            *(
                sa.and_(
                    _g.subject_kind == sa.literal_column(f"'{kind.value}'"),
                    _g.subject == sa.bindparam(f"p_{kind.value}", type_=sa.String()),
                )
                for kind in GrantSubject
            )
        ),
        sa.or_(
            sa.bindparam("p_every", type_=sa.Boolean()) == sa.true(),
            _g.server_id == sa.bindparam("p_server_id", type_=Id()),
        ),
    )
)
_NOBODY: Final = UUID(int=0)


async def create_grant(tx: Tx, command: CreateGrant) -> Grant:
    """Give a grant. The same grant again changes its limits, and is not a second one.

    Raises:
        Forbidden: the caller is no operator.
        NotFound: no such server, agent, task or principal.
        Invalid: the subject is not named as its kind is.
        Conflict: several agents or principals have that name.
    """
    _require_operator(tx)
    server_id = await server_of(tx, command.server)
    subject = await _subject(tx, command.subject)
    row = await tx.one(
        _ADD,
        id=tx.new_id(),
        tenant_id=tx.caller.tenant_id,
        subject_kind=command.subject.kind.value,
        subject=subject,
        server_id=server_id,
        tool=command.tool,
        effect=command.effect.value,
        timeout_seconds=command.timeout_seconds,
        calls_per_minute=command.calls_per_minute,
        max_result_bytes=command.max_result_bytes,
        created_by=tx.caller.principal_id,
        created_at=tx.now,
    )
    if row is None:
        raise RuntimeError("an upsert returned no row")
    grant = await get_grant(tx, GrantId(row.id))
    _tell(tx, "mcp_grant.created", grant)
    return grant


async def get_grant(tx: Tx, query: GrantId) -> Grant:
    """One grant.

    Raises:
        Forbidden: the caller is no operator.
        NotFound: no such grant.
    """
    _require_operator(tx)
    row = await tx.one(_ONE, p_grant_id=query.grant_id)
    if row is None:
        raise NotFound("no such grant")
    return _grant_of(row)


async def list_grants(tx: Tx, query: ListGrants) -> Page[Grant]:
    """A page of the tenant's grants.

    Raises:
        Forbidden: the caller is no operator.
        NotFound: no such server.
    """
    _require_operator(tx)
    wanted = [access.within_tenant(mcp_calls.grant)]
    if query.server is not None:
        wanted.append(_g.server_id == await server_of(tx, query.server))
    if query.subject_kind is not None:
        wanted.append(_g.subject_kind == query.subject_kind.value)
    if query.subject is not None:
        wanted.append(_g.subject == query.subject)
    total = await tx.one(sa.select(sa.func.count().label("n")).select_from(mcp_calls.grant).where(*wanted))
    rows = await tx.all(
        _SHOWN.where(*wanted)
        .order_by(_g.id.desc())
        .limit(query.per_page)
        .offset((query.page - 1) * query.per_page)
    )
    return Page([_grant_of(row) for row in rows], 0 if total is None else total.n)


async def delete_grant(tx: Tx, command: GrantId) -> None:
    """Take a grant away: the next call is decided without it.

    Raises:
        Forbidden: the caller is no operator.
        NotFound: no such grant.
    """
    grant = await get_grant(tx, command)
    await tx.run(_DELETE, p_grant_id=grant.id)
    _tell(tx, "mcp_grant.deleted", grant)


async def rules_of(
    tx: Tx, subjects: Sequence[tuple[GrantSubject, str]], server_id: UUID | None = None
) -> Sequence[Rule]:
    """The grants of some subjects, of one server or of all: one query."""
    named = {f"p_{kind.value}": None for kind in GrantSubject} | {
        f"p_{kind.value}": s for kind, s in subjects
    }
    every = server_id is None
    rows = await tx.all(_RULES, **named, p_every=every, p_server_id=_NOBODY if every else server_id)
    return [
        Rule(
            row.id,
            row.server_id,
            GrantSubject(row.subject_kind),
            row.tool,
            GrantEffect(row.effect),
            row.timeout_seconds,
            row.calls_per_minute,
            row.max_result_bytes,
        )
        for row in rows
    ]


async def server_of(tx: Tx, text: str) -> UUID:
    """The id of the server with this id or slug.

    Raises:
        NotFound: there is none.
    """
    row = await tx.one(_SERVER, p_id=_uuid(text) or _NOBODY, p_text=text)
    if row is None:
        raise NotFound("no such MCP server")
    found: UUID = row.id
    return found


async def _subject(tx: Tx, subject: Subject) -> str:
    if subject.kind is GrantSubject.ROLE:
        if subject.name is None or subject.id is not None:
            raise Invalid("a role is named by its name", details={"field": "subject.name"})
        return subject.name
    column, table = {
        GrantSubject.AGENT: (t.agent.c.name, t.agent),
        GrantSubject.TASK: (None, t.task),
        GrantSubject.PRINCIPAL: (t.principal.c.owner_id, t.principal),
    }[subject.kind]
    if (subject.id is None) == (subject.name is None) or (subject.name is not None and column is None):
        wanted = "its id" if column is None else "either its id or its name"
        raise Invalid(f"{subject.kind.value}: say {wanted}", details={"field": "subject"})
    which: Any = (
        table.c.id == subject.id if column is None or subject.id is not None else column == subject.name
    )
    rows = await tx.all(sa.select(table.c.id).where(access.within_tenant(table), which).limit(2))
    if not rows:
        raise NotFound(f"no such {subject.kind.value}")
    if len(rows) > 1:
        raise Conflict(f"more than one {subject.kind.value} has this name: say its id")
    return str(rows[0].id)


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text) if len(text) == 36 else None
    except ValueError:
        return None


def _require_operator(tx: Tx) -> None:
    if not tx.caller.operator:
        raise Forbidden("Only operators give grants.")


def _tell(tx: Tx, kind: str, grant: Grant) -> None:
    data = {
        "grant_id": str(grant.id),
        "subject_kind": grant.subject_kind.value,
        "subject": grant.subject,
        "server": grant.server,
        "tool": grant.tool,
        "effect": grant.effect.value,
    }
    tx.event(kind, entity_type="mcp_grant", entity_id=grant.id, data=data)
    tx.wake(CHANGED)


def _grant_of(row: Row) -> Grant:
    return Grant(
        **{name: getattr(row, name) for name in Grant.__dataclass_fields__ if name not in _WORDS},
        subject_kind=GrantSubject(row.subject_kind),
        effect=GrantEffect(row.effect),
    )


_WORDS = {"subject_kind", "effect"}
