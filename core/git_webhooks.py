"""What git servers say about tasks: taken once, for the workspace whose secret it was signed with.

A task is found only within the tenant of that workspace, and only if it belongs to that workspace or to none.
What is said is kept as it came, one row each, so that nothing that came before is overwritten.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.errors import NotFound
from core.fencing import P_TASK
from core.journal import tell
from core.lifecycle import Who, touch
from core.push import Seals
from core.sealing import Place, Secret
from core.store import tables as t
from core.store.statement import Statement, insert
from core.store.tables import records
from core.store.tables.workflows import workspace
from core.store.tx import Tx
from core.store.types import Id
from core.workspaces import Workspace, workspace_row
from schemas.vocabulary import TaskState

COLUMN: Final = "git_webhook_secret"
MOST_HOOKS: Final = 20
"""Workspaces of one repository that are looked at."""
MOST_SHOWN: Final = 200
"""Activities of a task that are read back, the newest."""


@dataclass(frozen=True)
class SetGitWebhook:
    """From which kind of server a workspace hears, and the secret that they share."""

    workspace_id: UUID
    provider: str
    secret: str


@dataclass(frozen=True)
class FindHooks:
    """Which workspaces may hear of a repository: addresses in lower case."""

    provider: str
    addresses: Sequence[str]


@dataclass(frozen=True)
class GitHook:
    """A workspace that listens, and its secret."""

    workspace_id: UUID
    tenant_id: UUID
    secret: Secret


@dataclass(frozen=True)
class TakeGit:
    """Something that a git server said. `keys` are what it is known by when it comes again."""

    workspace_id: UUID
    provider: str
    keys: Sequence[str]
    named: Sequence[UUID]
    """What may be ids of tasks, in the order in which they were found."""
    kind: str | None
    """None when it is nothing to tell of."""
    data: Mapping[str, Any]


@dataclass(frozen=True)
class GitTaken:
    """What became of it."""

    task_id: UUID | None
    duplicate: bool


@dataclass(frozen=True)
class GitActivity:
    """One thing that was said of a task."""

    id: UUID
    provider: str
    kind: str
    data: Mapping[str, Any]
    at: datetime


@dataclass(frozen=True)
class GitOfTask:
    """What the executor and the git servers said of a task; of the latter the newest last."""

    task_id: UUID
    reported: Mapping[str, Any] | None
    activities: Sequence[GitActivity]


_w, _g = workspace.c, records.git_activity.c
_P_WORKSPACE = sa.bindparam("p_workspace_id", type_=Id())
_SET = Statement(
    sa.update(workspace)
    .where(_w.id == _P_WORKSPACE)
    .values(
        git_webhook_provider=sa.bindparam("p_provider", type_=sa.String()),
        git_webhook_secret=sa.bindparam("p_secret", type_=sa.String()),
        updated_at=sa.bindparam("p_now", type_=_w.updated_at.type),
    )
)
_HOOKS = Statement(
    sa.select(_w.id, _w.tenant_id, _w.git_webhook_secret)
    .where(
        _w.git_webhook_secret.is_not(None),
        _w.git_webhook_provider == sa.bindparam("p_provider", type_=sa.String()),
        _w.is_active,
        sa.func.lower(_w.repository_url).in_(sa.bindparam("p_addresses", expanding=True, type_=sa.String())),
    )
    .order_by(_w.id)
    .limit(sa.literal_column(str(MOST_HOOKS)))
)
_TAKE = Statement(insert(records.git_delivery).on_conflict_do_nothing(index_elements=["workspace_id", "key"]))
_TASK = Statement(
    sa.select(t.task.c.id).where(
        t.task.c.id == P_TASK,
        access.within_tenant(t.task),
        sa.or_(t.task.c.workspace_id == _P_WORKSPACE, t.task.c.workspace_id.is_(None)),
    )
)
_INSERT = Statement(sa.insert(records.git_activity))
_READABLE = Statement(sa.select(t.task.c.id, t.task.c.report).where(t.task.c.id == P_TASK, access.readable()))
_ACTIVITIES = Statement(
    sa.select(_g.id, _g.provider, _g.kind, _g.data, _g.at)
    .where(_g.task_id == P_TASK)
    .order_by(_g.id.desc())
    .limit(sa.literal_column(str(MOST_SHOWN)))
)


async def set_git_webhook(tx: Tx, command: SetGitWebhook) -> Workspace:
    """Let a workspace hear of its repository. The secret is kept sealed; another one takes its place.

    Raises:
        NotFound: no such workspace.
    """
    row = await workspace_row(tx, command.workspace_id, locked=True)
    sealed = tx.memory(Seals).sealer.seal(command.secret, _place(row.tenant_id, row.id))
    await tx.run(_SET, p_workspace_id=row.id, p_provider=command.provider, p_secret=sealed, p_now=tx.now)
    tx.event(
        "workspace.git_webhook_set",
        entity_type="workspace",
        entity_id=row.id,
        data={"workspace_id": str(row.id), "provider": command.provider},
    )
    return Workspace.of(await workspace_row(tx, row.id))


async def find_hooks(tx: Tx, query: FindHooks) -> Sequence[GitHook]:
    """Active workspaces of all tenants that listen to a repository. The signature decides between them."""
    rows = await tx.all(_HOOKS, p_provider=query.provider, p_addresses=list(query.addresses))
    sealer = tx.memory(Seals).sealer
    return [
        GitHook(row.id, row.tenant_id, sealer.open(row.git_webhook_secret, _place(row.tenant_id, row.id)))
        for row in rows
    ]


async def take_git(tx: Tx, command: TakeGit) -> GitTaken:
    """Write down what was said of a task, and tell it. What came before, by any of its keys, does nothing.

    The caller is the hub, in the tenant of the workspace.
    """
    fresh = True
    for key in command.keys:
        fresh &= bool(await tx.run(_TAKE, workspace_id=command.workspace_id, key=key, at=tx.now))
    task_id = None
    for named in command.named:
        if await tx.one(_TASK, p_task_id=named, p_workspace_id=command.workspace_id) is not None:
            task_id = named
            break
    if fresh and task_id is not None and command.kind is not None:
        await tx.run(
            _INSERT,
            id=tx.new_id(),
            tenant_id=tx.caller.tenant_id,
            workspace_id=command.workspace_id,
            task_id=task_id,
            provider=command.provider,
            kind=command.kind,
            data=dict(command.data),
            at=tx.now,
        )
        row = await touch(tx, task_id, who=Who.READER, states=frozenset(TaskState), doing="note git activity")
        said = {"task_id": str(task_id), "provider": command.provider, **command.data}
        tell(tx, row, f"task.git.{command.kind}", said)
    return GitTaken(task_id, not fresh)


async def git_of_task(tx: Tx, task_id: UUID) -> GitOfTask:
    """What is known of a task's branches, requests and checks.

    Raises:
        NotFound: no such task, or not yours to see.
    """
    task = await tx.one(_READABLE, p_task_id=task_id)
    if task is None:
        raise NotFound("no such task")
    rows = await tx.all(_ACTIVITIES, p_task_id=task_id)
    found = [GitActivity(row.id, row.provider, row.kind, row.data, row.at) for row in reversed(rows)]
    return GitOfTask(task_id, (task.report or {}).get("git_info"), found)


def _place(tenant_id: UUID, workspace_id: UUID) -> Place:
    return Place(tenant_id, workspace.name, workspace_id, COLUMN)
