"""Workspaces: what workflows have in common. Their memory, and the versions of what they offer.

What is secret in a workspace's settings is sealed in a column of its own and never read back.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.errors import Conflict, Invalid, NotFound
from core.fencing import P_NOW
from core.governance import held
from core.push import Seals
from core.sealing import Place
from core.store.statement import Row, Statement
from core.store.tables import records
from core.store.tables import workflows as w
from core.store.tables.operations import stored_file
from core.store.tx import Tx
from core.store.types import Id
from core.tasks.read import Page
from schemas.strict_json import dump_json
from schemas.vocabulary import WorkflowState

MEMORY_MOST: Final = 1024 * 1024
"""Bytes that a workspace may remember, as JSON."""
EMPTY_SPEC: Final[Mapping[str, Any]] = {
    "resources": {},
    "documents": {},
    "tools": {"available": [], "blocked": []},
    "config": {},
    "instructions": {},
}
LIVE: Final = (WorkflowState.PENDING.value, WorkflowState.ACTIVE.value, WorkflowState.PAUSED.value)


@dataclass(frozen=True)
class CreateWorkspace:
    """A new workspace. `git_token` is kept sealed."""

    name: str
    slug: str
    description: str | None = None
    repository_url: str | None = None
    settings: Mapping[str, Any] | None = None
    git_token: str | None = None
    memory: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class ChangeWorkspace:
    """What is to be different, by column; what is not named stays."""

    workspace_id: UUID
    changes: Mapping[str, Any]
    git_token: str | None = None


@dataclass(frozen=True)
class WorkspaceId:
    """Which workspace."""

    workspace_id: UUID


@dataclass(frozen=True)
class RemoveWorkspace:
    """Remove a workspace; with `cascade` what is over in it, too."""

    workspace_id: UUID
    cascade: bool = False


@dataclass(frozen=True)
class ListWorkspaces:
    """A page of the tenant's workspaces, newest first; `q` is looked for in name and slug."""

    q: str | None = None
    is_active: bool | None = None
    page: int = 1
    per_page: int = 20


@dataclass(frozen=True)
class Remember:
    """Set keys of the memory; a key of `forget` is dropped."""

    workspace_id: UUID
    values: Mapping[str, Any]
    forget: Sequence[str] = ()


@dataclass(frozen=True)
class PutSpec:
    """The next version of what a workspace offers."""

    workspace_id: UUID
    spec: Mapping[str, Any]


@dataclass(frozen=True)
class GetSpec:
    """One version of the spec; of None the present one."""

    workspace_id: UUID
    version: int | None = None


@dataclass(frozen=True)
class Workspace:
    """A workspace as its readers see it: without its secrets."""

    id: UUID
    tenant_id: UUID
    name: str
    slug: str
    description: str | None
    repository_url: str | None
    settings: Mapping[str, Any]
    has_git_token: bool
    git_webhook_provider: str | None
    memory: Mapping[str, Any]
    memory_size_bytes: int
    current_spec_version: int
    is_active: bool
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, row: Row) -> "Workspace":
        """The value of a `workspace` row."""
        names = [name for name in cls.__dataclass_fields__ if name != "has_git_token"]
        return cls(**{name: getattr(row, name) for name in names}, has_git_token=row.git_token is not None)


@dataclass(frozen=True)
class Spec:
    """One version of a workspace's spec. Version 0 is the empty one that every workspace begins with."""

    workspace_id: UUID
    version: int
    spec: Mapping[str, Any]
    created_at: datetime


_c = w.workspace.c
P_WORKSPACE = sa.bindparam("p_workspace_id", type_=Id())
_ONE = Statement(sa.select(*_c).where(_c.id == P_WORKSPACE, access.within_tenant(w.workspace)))
_LOCKED = Statement(
    sa.select(*_c).where(_c.id == P_WORKSPACE, access.within_tenant(w.workspace)).with_for_update()
)
_INSERT = Statement(sa.insert(w.workspace))
_INSERT_SPEC = Statement(sa.insert(w.workspace_spec))
_IN_USE = Statement(
    sa.select(
        sa.func.count().label("n"),
        sa.func.coalesce(sa.func.sum(sa.case((w.workflow.c.state.in_(LIVE), 1), else_=0)), 0).label("live"),
    ).where(w.workflow.c.workspace_id == P_WORKSPACE)
)
_files_of = sa.select(records.workspace_file.c.file_id).where(
    records.workspace_file.c.workspace_id == P_WORKSPACE
)
_DISMISS_FILES = Statement(
    sa.update(stored_file)
    .where(stored_file.c.id.in_(_files_of), stored_file.c.remove_at.is_(None))
    .values(remove_at=P_NOW)
)
_HELD = Statement(sa.select(_c.id).where(_c.id == P_WORKSPACE, held(_c.id)))
_DROP = (
    Statement(sa.delete(records.workspace_file).where(records.workspace_file.c.workspace_id == P_WORKSPACE)),
    Statement(sa.delete(w.workspace_spec).where(w.workspace_spec.c.workspace_id == P_WORKSPACE)),
    Statement(sa.delete(w.workspace).where(_c.id == P_WORKSPACE)),
)


async def create_workspace(tx: Tx, command: CreateWorkspace) -> Workspace:
    """Make a workspace.

    Raises:
        Conflict: another one has this slug.
        Invalid: its memory is too large.
    """
    await _check_slug(tx, command.slug)
    memory = dict(command.memory or {})
    workspace_id = tx.new_id()
    await tx.run(
        _INSERT,
        id=workspace_id,
        tenant_id=tx.caller.tenant_id,
        name=command.name,
        slug=command.slug,
        description=command.description,
        repository_url=command.repository_url,
        settings=dict(command.settings or {}),
        git_token=_sealed(tx, workspace_id, command.git_token),
        git_webhook_provider=None,
        git_webhook_secret=None,
        memory=memory,
        memory_size_bytes=_size(memory),
        current_spec_version=0,
        is_active=True,
        created_at=tx.now,
        updated_at=tx.now,
    )
    return await _told(tx, workspace_id, "workspace.created")


async def get_workspace(tx: Tx, query: WorkspaceId) -> Workspace:
    """One workspace of the tenant.

    Raises:
        NotFound: no such workspace.
    """
    return Workspace.of(await workspace_row(tx, query.workspace_id))


async def list_workspaces(tx: Tx, query: ListWorkspaces) -> Page[Workspace]:
    """A page of the tenant's workspaces."""
    wanted = [access.within_tenant(w.workspace)]
    if query.q is not None:
        wanted.append(
            sa.or_(_c.name.icontains(query.q, autoescape=True), _c.slug.icontains(query.q, autoescape=True))
        )
    if query.is_active is not None:
        wanted.append(_c.is_active == (sa.true() if query.is_active else sa.false()))
    total = await tx.one(sa.select(sa.func.count().label("n")).select_from(w.workspace).where(*wanted))
    rows = await tx.all(
        sa.select(*_c)
        .where(*wanted)
        .order_by(_c.id.desc())
        .limit(query.per_page)
        .offset((query.page - 1) * query.per_page)
    )
    return Page([Workspace.of(row) for row in rows], 0 if total is None else total.n)


async def change_workspace(tx: Tx, command: ChangeWorkspace) -> Workspace:
    """Change a workspace.

    Raises:
        NotFound: no such workspace.
        Conflict: another one has the slug.
        Invalid: the memory is too large.
    """
    row = await workspace_row(tx, command.workspace_id, locked=True)
    sets = dict(command.changes)
    if sets.get("slug", row.slug) != row.slug:
        await _check_slug(tx, sets["slug"])
    if "memory" in sets:
        sets["memory_size_bytes"] = _size(sets["memory"])
    if command.git_token is not None:
        sets["git_token"] = _sealed(tx, row.id, command.git_token)
    await _update(tx, row.id, sets)
    return await _told(tx, row.id, "workspace.updated")


async def remove_workspace(tx: Tx, command: RemoveWorkspace) -> None:
    """Remove a workspace.

    Raises:
        NotFound: no such workspace.
        Conflict: it is held; or workflows use it; with `cascade` only those that go on are in the way.
    """
    row = await workspace_row(tx, command.workspace_id, locked=True)
    use = await tx.one(_IN_USE, p_workspace_id=row.id)
    assert use is not None
    if use.live or (use.n and not command.cascade):
        raise Conflict(
            f"{use.n} workflows use the workspace, {use.live} of them go on",
            details={"reason_code": "workspace_in_use", "workflows": int(use.n), "live": int(use.live)},
            hint="cancel what goes on, then delete with cascade=true",
        )
    if use.n:
        from core.workflows.removing import remove_all_of  # workflows know their workspace

        await remove_all_of(tx, row.id)
    if await tx.one(_HELD, p_workspace_id=row.id) is not None:
        raise Conflict("the workspace is held", details={"reason_code": "legal_hold"})
    await tx.run(_DISMISS_FILES, p_workspace_id=row.id, p_now=tx.now)
    for statement in _DROP:
        await tx.run(statement, p_workspace_id=row.id)
    _tell(tx, row.id, "workspace.deleted", {"slug": row.slug})


async def remember(tx: Tx, command: Remember) -> Workspace:
    """Change the memory of a workspace, key by key.

    Raises:
        NotFound: no such workspace, or no such key to forget.
        Invalid: it would be too large.
    """
    row = await workspace_row(tx, command.workspace_id, locked=True)
    memory = dict(row.memory)
    for key in command.forget:
        if key not in memory:
            raise NotFound("the workspace remembers no such key")
        del memory[key]
    memory |= command.values
    await _update(tx, row.id, {"memory": memory, "memory_size_bytes": _size(memory)})
    forgets = bool(command.forget)
    keys = [*command.forget] if forgets else sorted(command.values)
    _tell(tx, row.id, "workspace.memory_deleted" if forgets else "workspace.memory_updated", {"keys": keys})
    return Workspace.of(await workspace_row(tx, row.id))


async def put_spec(tx: Tx, command: PutSpec) -> Spec:
    """Make the next version of the spec.

    Raises:
        NotFound: no such workspace.
    """
    row = await workspace_row(tx, command.workspace_id, locked=True)
    made = Spec(row.id, row.current_spec_version + 1, {**EMPTY_SPEC, **command.spec}, tx.now)
    await tx.run(
        _INSERT_SPEC,
        workspace_id=row.id,
        version=made.version,
        tenant_id=row.tenant_id,
        spec=dict(made.spec),
        created_by=tx.caller.principal_id,
        created_at=tx.now,
    )
    await _update(tx, row.id, {"current_spec_version": made.version})
    _tell(tx, row.id, "workspace.spec_updated", {"version": made.version})
    return made


async def get_spec(tx: Tx, query: GetSpec) -> Spec:
    """A version of the spec.

    Raises:
        NotFound: no such workspace, or no such version.
    """
    row = await workspace_row(tx, query.workspace_id)
    version = row.current_spec_version if query.version is None else query.version
    if version == 0:
        return Spec(row.id, 0, EMPTY_SPEC, row.created_at)
    c = w.workspace_spec.c
    found = await tx.one(sa.select(*c).where(c.workspace_id == row.id, c.version == version))
    if found is None:
        raise NotFound("the spec has no such version")
    return Spec(row.id, found.version, found.spec, found.created_at)


async def workspace_row(tx: Tx, workspace_id: UUID, *, locked: bool = False) -> Row:
    """The row of a workspace of the tenant.

    Raises:
        NotFound: no such workspace.
    """
    row = await tx.one(_LOCKED if locked else _ONE, p_workspace_id=workspace_id)
    if row is None:
        raise NotFound("no such workspace")
    return row


async def _check_slug(tx: Tx, slug: str) -> None:
    if await tx.one(sa.select(_c.id).where(access.within_tenant(w.workspace), _c.slug == slug)) is not None:
        raise Conflict("another workspace has this slug", details={"reason_code": "slug_taken", "slug": slug})


def _size(memory: Mapping[str, Any]) -> int:
    size = len(dump_json(memory))
    if size > MEMORY_MOST:
        raise Invalid(
            f"the memory would be {size} bytes; at most {MEMORY_MOST} are possible",
            details={"reason_code": "memory_too_large", "memory_max_bytes": MEMORY_MOST},
        )
    return size


def _sealed(tx: Tx, workspace_id: UUID, secret: str | None) -> str | None:
    if secret is None:
        return None
    place = Place(tx.caller.tenant_id, w.workspace.name, workspace_id, "git_token")
    return tx.memory(Seals).sealer.seal(secret, place)


async def _update(tx: Tx, workspace_id: UUID, sets: Mapping[str, Any]) -> None:
    await tx.run(sa.update(w.workspace).where(_c.id == workspace_id).values(**sets, updated_at=tx.now))


def _tell(tx: Tx, workspace_id: UUID, kind: str, said: Mapping[str, Any]) -> None:
    data = {"workspace_id": str(workspace_id), **said}
    tx.event(kind, entity_type="workspace", entity_id=workspace_id, data=data)


async def _told(tx: Tx, workspace_id: UUID, kind: str) -> Workspace:
    found = Workspace.of(await workspace_row(tx, workspace_id))
    _tell(tx, found.id, kind, {"name": found.name, "slug": found.slug, "is_active": found.is_active})
    return found
