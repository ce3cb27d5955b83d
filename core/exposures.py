"""Exposed agents: an agent, a role or a playbook that callers of other protocols address by a name.

What is sent to one becomes a task that asks for its tag. Tasks remember through which exposure they came
(`Caller.exposure_id`); `access.py` sees to it that nothing else exists there. Nothing here knows a protocol.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.errors import Conflict, NotFound
from core.fencing import P_NOW
from core.playbooks import playbook_named
from core.routing import agent_tag, role_tag
from core.signing_keys import ensure_signing_key
from core.store.statement import Row, Statement
from core.store.tables import agent as agents
from core.store.tables.exposures import exposure as exposures
from core.store.tx import Tx
from core.store.types import Id
from core.tasks.read import Page
from core.workflows.fronts import Play
from core.workspaces import workspace_row
from schemas.vocabulary import ExposureKind

PLAIN_MODES: Final = ("text/plain", "application/json")


@dataclass(frozen=True)
class Target:
    """Who does the work: an agent by its id, whoever offers a role, or a playbook by its slug."""

    kind: ExposureKind
    name: str
    workspace_id: UUID | None = None
    """Where a playbook runs."""

    @property
    def tag(self) -> str:
        """What a task for it asks for."""
        return agent_tag(UUID(self.name)) if self.kind is ExposureKind.AGENT else role_tag(self.name)

    @property
    def play(self) -> Play | None:
        """What is to run for a task for it, where it is a playbook."""
        if self.kind is not ExposureKind.PLAYBOOK or self.workspace_id is None:
            return None
        return Play(self.name, self.workspace_id)


@dataclass(frozen=True)
class Expose:
    """A new exposure. Without a name it is called as its target."""

    slug: str
    target: Target
    name: str | None = None
    description: str | None = None
    skills: Sequence[Mapping[str, Any]] = ()
    input_modes: Sequence[str] = PLAIN_MODES
    output_modes: Sequence[str] = PLAIN_MODES
    required_extensions: Sequence[str] = ()
    """URIs of protocol extensions that a caller must name."""
    is_active: bool = True


@dataclass(frozen=True)
class ChangeExposure:
    """What is to be different. None leaves a member as it is; the slug is an address, and stays."""

    exposure_id: UUID
    target: Target | None = None
    name: str | None = None
    description: str | None = None
    skills: Sequence[Mapping[str, Any]] | None = None
    input_modes: Sequence[str] | None = None
    output_modes: Sequence[str] | None = None
    required_extensions: Sequence[str] | None = None
    is_active: bool | None = None


@dataclass(frozen=True)
class ExposureId:
    """Which exposure."""

    exposure_id: UUID


@dataclass(frozen=True)
class ListExposures:
    """A page of the tenant's exposures, newest first; `active` only those that can be addressed."""

    page: int = 1
    per_page: int = 20
    active: bool = False


@dataclass(frozen=True)
class Exposure:
    """An exposure as its readers see it."""

    id: UUID
    tenant_id: UUID
    slug: str
    target: Target
    name: str
    description: str
    skills: Sequence[Mapping[str, Any]] = field(hash=False)
    input_modes: Sequence[str] = field(hash=False)
    output_modes: Sequence[str] = field(hash=False)
    required_extensions: Sequence[str] = field(hash=False)
    is_active: bool
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, row: Row) -> "Exposure":
        """From its row."""
        return cls(
            row.id,
            row.tenant_id,
            row.slug,
            Target(ExposureKind(row.kind), row.target, row.workspace_id),
            row.name,
            row.description,
            row.skills,
            row.input_modes,
            row.output_modes,
            row.required_extensions,
            row.is_active,
            row.created_at,
            row.updated_at,
        )


_c = exposures.c
_P_ID = sa.bindparam("p_exposure_id", type_=Id())
_P_SLUG = sa.bindparam("p_slug", type_=sa.String())
_P_TARGET = sa.bindparam("p_target", type_=sa.String())
_MINE = access.within_tenant(exposures)
_INSERT = Statement(sa.insert(exposures))
_ONE = Statement(sa.select(*_c).where(_c.id == _P_ID, _MINE))
_AT = Statement(sa.select(*_c).where(_c.slug == _P_SLUG, _c.is_active))
_TAKEN = Statement(sa.select(_c.id).where(_c.slug == _P_SLUG))
_AGENT = Statement(
    sa.select(agents.c.name).where(
        agents.c.id == sa.bindparam("p_agent_id", type_=Id()), access.within_tenant(agents)
    )
)
_CHANGED: Final = (
    "kind",
    "target",
    "workspace_id",
    "name",
    "description",
    "skills",
    "input_modes",
    "output_modes",
    "required_extensions",
    "is_active",
)
_UPDATE = Statement(
    sa.update(exposures)
    .where(_c.id == _P_ID, _MINE)
    .values(
        {name: sa.bindparam(f"p_{name}", type_=_c[name].type) for name in _CHANGED} | {"updated_at": P_NOW}
    )
    .returning(*_c)
)
_DELETE = Statement(sa.delete(exposures).where(_c.id == _P_ID, _MINE).returning(*_c))
_OF_AGENT = Statement(
    sa.delete(exposures)
    .where(_MINE, _c.kind == ExposureKind.AGENT.value, _c.target == _P_TARGET)
    .returning(*_c)
)


async def expose(tx: Tx, command: Expose) -> Exposure:
    """Give an agent, a role or a playbook an address of its own. A replay key makes one.

    Raises:
        NotFound: the agent, the playbook or its workspace does not exist. A role is a name only.
        Conflict: the slug is taken, here or in another tenant.
    """
    called = await _called(tx, command.target)
    if await tx.one(_TAKEN, p_slug=command.slug) is not None:
        raise Conflict("this slug is taken", details={"reason_code": "slug_taken"})
    name = command.name or called
    made = Exposure(
        id=tx.new_id(),
        tenant_id=tx.caller.tenant_id,
        slug=command.slug,
        target=command.target,
        name=name,
        description=command.description or f"Does what is sent to {name}.",
        skills=[dict(skill) for skill in command.skills],
        input_modes=list(command.input_modes),
        output_modes=list(command.output_modes),
        required_extensions=list(command.required_extensions),
        is_active=command.is_active,
        created_at=tx.now,
        updated_at=tx.now,
    )
    columns = {name: getattr(made, name) for name in made.__dataclass_fields__ if name != "target"}
    await ensure_signing_key(tx)
    await tx.run(
        _INSERT,
        **columns,
        kind=made.target.kind.value,
        target=made.target.name,
        workspace_id=made.target.workspace_id,
    )
    _tell(tx, made, "exposure.created")
    return made


async def change_exposure(tx: Tx, command: ChangeExposure) -> Exposure:
    """Change what an exposure says of itself, who does its work, or whether it can be addressed at all.

    Raises:
        NotFound: no such exposure, or the new agent does not exist.
    """
    known = await get_exposure(tx, ExposureId(command.exposure_id))
    if command.target is not None:
        await _called(tx, command.target)
    given = {name: getattr(command, name) for name in ChangeExposure.__dataclass_fields__}
    target = command.target or known.target
    columns: dict[str, Any] = {
        "kind": target.kind.value,
        "target": target.name,
        "workspace_id": target.workspace_id,
    }
    for name in _CHANGED[len(columns) :]:
        value = getattr(known, name) if given[name] is None else given[name]
        columns[name] = [*value] if isinstance(value, tuple) else value
    row = await tx.one(
        _UPDATE,
        p_exposure_id=known.id,
        p_now=tx.now,
        **{f"p_{name}": value for name, value in columns.items()},
    )
    if row is None:
        raise NotFound("no such exposure")
    changed = Exposure.of(row)
    _tell(tx, changed, "exposure.updated")
    return changed


async def conceal(tx: Tx, command: ExposureId) -> None:
    """Remove an exposure. Tasks that came through it go on, and are seen through the hub's own face.

    Raises:
        NotFound: no such exposure.
    """
    row = await tx.one(_DELETE, p_exposure_id=command.exposure_id)
    if row is None:
        raise NotFound("no such exposure")
    _tell(tx, Exposure.of(row), "exposure.deleted")


async def conceal_agent(tx: Tx, agent_id: UUID) -> None:
    """Remove every exposure of an agent that is no more."""
    for row in await tx.all(_OF_AGENT, p_target=str(agent_id)):
        _tell(tx, Exposure.of(row), "exposure.deleted")


async def get_exposure(tx: Tx, query: ExposureId) -> Exposure:
    """One exposure of the tenant.

    Raises:
        NotFound: no such exposure.
    """
    row = await tx.one(_ONE, p_exposure_id=query.exposure_id)
    if row is None:
        raise NotFound("no such exposure")
    return Exposure.of(row)


async def list_exposures(tx: Tx, query: ListExposures) -> Page[Exposure]:
    """The tenant's exposures."""
    wanted = [_MINE, _c.is_active] if query.active else [_MINE]
    total = await tx.one(sa.select(sa.func.count().label("n")).select_from(exposures).where(*wanted))
    rows = await tx.all(
        sa.select(*_c)
        .where(*wanted)
        .order_by(_c.id.desc())
        .limit(query.per_page)
        .offset((query.page - 1) * query.per_page)
    )
    return Page([Exposure.of(row) for row in rows], 0 if total is None else total.n)


async def exposure_at(tx: Tx, slug: str) -> Exposure | None:
    """What can be addressed under a slug, of whatever tenant; its card is for everybody."""
    row = await tx.one(_AT, p_slug=slug)
    return None if row is None else Exposure.of(row)


async def _called(tx: Tx, target: Target) -> str:
    """The name of a target, which must exist."""
    if target.kind is ExposureKind.ROLE:
        return target.name
    if target.kind is ExposureKind.PLAYBOOK:
        playbook = await playbook_named(tx, target.name)
        if playbook is None:
            raise NotFound("no such playbook")
        assert target.workspace_id is not None, "a playbook runs somewhere"
        await workspace_row(tx, target.workspace_id)
        return playbook.name
    row = await tx.one(_AGENT, p_agent_id=UUID(target.name))
    if row is None:
        raise NotFound("no such agent")
    return str(row.name)


def _tell(tx: Tx, made: Exposure, kind: str) -> None:
    data = {
        "exposure_id": str(made.id),
        "slug": made.slug,
        "name": made.name,
        "target": {"kind": made.target.kind.value, "name": made.target.name},
        "is_active": made.is_active,
    }
    tx.event(kind, entity_type="exposure", entity_id=made.id, data=data)
