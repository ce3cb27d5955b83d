"""Playbooks: how something is done, in versions. An edit makes the next version; workflows keep theirs."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.errors import Conflict, Invalid, NotFound
from core.roles import unknown_roles
from core.store.statement import Row, Statement
from core.store.tables import workflows as w
from core.store.tx import Tx
from core.store.types import Id
from schemas.playbook import Definition
from schemas.playbook_reading import InvalidDefinition, Problem, read_definition
from schemas.vocabulary import Lifecycle

MOST: Final = 500
"""How many playbooks a list has at most."""


@dataclass(frozen=True)
class CreatePlaybook:
    """A new playbook. Without a slug it is made of the name; without a definition it has one plain stage."""

    name: str
    outcome: str
    definition: Mapping[str, Any] | None = None
    slug: str | None = None
    description: str | None = None
    lifecycle: Lifecycle | None = None


@dataclass(frozen=True)
class ChangePlaybook:
    """What the next version says differently, by field."""

    playbook_id: UUID
    changes: Mapping[str, Any]


@dataclass(frozen=True)
class ArchivePlaybook:
    """Take a playbook out of use, or back into it."""

    playbook_id: UUID
    archived: bool


@dataclass(frozen=True)
class PlaybookId:
    """Which version of which playbook."""

    playbook_id: UUID


@dataclass(frozen=True)
class Playbook:
    """One version of a playbook."""

    id: UUID
    tenant_id: UUID
    slug: str
    version: int
    name: str
    description: str | None
    outcome: str
    lifecycle: Lifecycle
    definition: Mapping[str, Any]
    is_active: bool
    archived_at: datetime | None
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, row: Row) -> "Playbook":
        """The value of a `playbook` row."""
        fields = {name: getattr(row, name) for name in cls.__dataclass_fields__}
        return cls(**{**fields, "lifecycle": Lifecycle(row.lifecycle)})


_c = w.playbook.c
_MINE = access.within_tenant(w.playbook)
_P_PLAYBOOK = sa.bindparam("p_playbook_id", type_=Id())
_P_SLUG = sa.bindparam("p_slug", type_=sa.String())
_ONE = Statement(sa.select(*_c).where(_c.id == _P_PLAYBOOK, _MINE))
_FAMILY = Statement(
    sa.select(_c.id, _c.version).where(_c.slug == _P_SLUG, _MINE).order_by(_c.version).with_for_update()
)
_ACTIVE = Statement(sa.select(*_c).where(_MINE, _c.is_active).order_by(_c.id.desc()).limit(MOST))
_NAMED = Statement(sa.select(*_c).where(_MINE, _c.slug == _P_SLUG, _c.is_active))
_INSERT = Statement(sa.insert(w.playbook))
_RETIRE = Statement(
    sa.update(w.playbook).where(_c.slug == _P_SLUG, _MINE, _c.is_active).values(is_active=False)
)
_DELETE = Statement(sa.delete(w.playbook).where(_c.id == _P_PLAYBOOK))
_USED = Statement(sa.select(sa.func.count().label("n")).where(w.workflow.c.playbook_id == _P_PLAYBOOK))


async def create_playbook(tx: Tx, command: CreatePlaybook) -> Playbook:
    """Make a playbook, in its first version.

    Raises:
        Conflict: there is one with this slug.
        Invalid: its definition is not accepted; `details.issues` say where and what.
    """
    slug = command.slug or _slug_of(command.name)
    if await tx.all(_FAMILY, p_slug=slug):
        raise Conflict(
            "there is a playbook with this slug", details={"reason_code": "slug_taken", "slug": slug}
        )
    return await _insert(tx, slug, 1, vars(command))


async def get_playbook(tx: Tx, query: PlaybookId) -> Playbook:
    """One version of a playbook.

    Raises:
        NotFound: no such playbook.
    """
    row = await tx.one(_ONE, p_playbook_id=query.playbook_id)
    if row is None:
        raise NotFound("no such playbook")
    return Playbook.of(row)


async def playbook_named(tx: Tx, slug: str) -> Playbook | None:
    """The version in use of the playbook with that slug."""
    row = await tx.one(_NAMED, p_slug=slug)
    return None if row is None else Playbook.of(row)


async def list_playbooks(tx: Tx, _: None) -> Sequence[Playbook]:
    """The versions in use, newest first."""
    return [Playbook.of(row) for row in await tx.all(_ACTIVE)]


async def change_playbook(tx: Tx, command: ChangePlaybook) -> Playbook:
    """Make the next version from this one, whichever it is; from then on it is the one in use.

    Raises:
        NotFound: no such playbook.
        Invalid: as `create_playbook`.
        Conflict: the slug is another playbook's.
    """
    base = await get_playbook(tx, PlaybookId(command.playbook_id))
    family = await tx.all(_FAMILY, p_slug=base.slug)
    slug = command.changes.get("slug") or base.slug
    if slug != base.slug and await tx.all(_FAMILY, p_slug=slug):
        raise Conflict(
            "there is a playbook with this slug", details={"reason_code": "slug_taken", "slug": slug}
        )
    await tx.run(_RETIRE, p_slug=base.slug)
    said = {**vars(base), **command.changes}
    if "definition" in command.changes and "lifecycle" not in command.changes:
        said["lifecycle"] = None  # the new definition says it
    return await _insert(tx, slug, family[-1].version + 1, said)


async def archive_playbook(tx: Tx, command: ArchivePlaybook) -> Playbook:
    """Take a version out of use, or make it the one in use. Workflows that run go on.

    Raises:
        NotFound: no such playbook.
    """
    found = await get_playbook(tx, PlaybookId(command.playbook_id))
    await tx.all(_FAMILY, p_slug=found.slug)
    if not command.archived:
        await tx.run(_RETIRE, p_slug=found.slug)
    sets = {"is_active": not command.archived, "archived_at": tx.now if command.archived else None}
    await tx.run(sa.update(w.playbook).where(_c.id == found.id).values(**sets, updated_at=tx.now))
    return await _told(tx, found.id, "playbook.archived" if command.archived else "playbook.restored")


async def remove_playbook(tx: Tx, command: PlaybookId) -> None:
    """Remove one version.

    Raises:
        NotFound: no such playbook.
        Conflict: workflows were made from it.
    """
    found = await get_playbook(tx, command)
    used = await tx.one(_USED, p_playbook_id=found.id)
    if used is not None and used.n:
        raise Conflict(
            f"{used.n} workflows were made from it",
            details={"reason_code": "playbook_in_use", "workflows": used.n},
            hint="archive it instead",
        )
    await tx.run(_DELETE, p_playbook_id=found.id)
    _tell(tx, found, "playbook.deleted")


def definition_of(playbook: Playbook) -> Definition:
    """The definition, read. It was checked when it was stored."""
    return read_definition(playbook.definition)


async def _insert(tx: Tx, slug: str, version: int, said: Mapping[str, Any]) -> Playbook:
    given = dict(said["definition"] or {})
    wished = said["lifecycle"] or given.get("lifecycle") or Lifecycle.PLANNED
    try:
        definition = read_definition({**given, "lifecycle": wished})
    except InvalidDefinition as error:
        raise refused(error.problems) from None
    assert definition.lifecycle is not None
    unknown = await unknown_roles(tx, definition.roles)
    if unknown:
        raise refused(
            [
                Problem(f"/roles/{definition.roles.index(name)}", f"there is no active role {name!r}")
                for name in unknown
            ]
        )
    playbook_id = tx.new_id()
    await tx.run(
        _INSERT,
        id=playbook_id,
        tenant_id=tx.caller.tenant_id,
        slug=slug,
        version=version,
        name=said["name"],
        description=said["description"],
        outcome=said["outcome"],
        lifecycle=definition.lifecycle.value,
        definition={**given, "lifecycle": definition.lifecycle.value},
        is_active=True,
        archived_at=None,
        created_at=tx.now,
        updated_at=tx.now,
    )
    return await _told(tx, playbook_id, "playbook.created" if version == 1 else "playbook.updated")


def refused(problems: Sequence[Problem]) -> Invalid:
    """The refusal of a definition: where and what."""
    first = problems[0]
    return Invalid(
        f"the definition is not accepted: {first.path or '/'}: {first.message}",
        details={
            "reason_code": "invalid_definition",
            "issues": {"fieldErrors": {p.path or "/": [p.message] for p in problems}, "formErrors": []},
        },
        hint="GET /api/v1/schemas/playbook has the JSON Schema",
    )


def _slug_of(name: str) -> str:
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:80].strip("-")
    if not slug:
        raise Invalid("the name gives no slug: say one", details={"field": "slug"})
    return slug


async def _told(tx: Tx, playbook_id: UUID, kind: str) -> Playbook:
    found = await get_playbook(tx, PlaybookId(playbook_id))
    _tell(tx, found, kind)
    return found


def _tell(tx: Tx, found: Playbook, kind: str) -> None:
    data = {"playbook_id": str(found.id), "slug": found.slug, "version": found.version, "name": found.name}
    tx.event(kind, entity_type="system", entity_id=found.id, data=data)
