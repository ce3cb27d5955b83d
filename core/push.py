"""Where the notifications about one task go: rows keyed by the task and the id that the client gave.

Written and read by whoever may read the task; on A2A that is its submitter alone. Credentials and tokens are
sealed at rest and never read back: only the dispatch opens them. This module sends nothing.
"""

from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.errors import Conflict, NotFound
from core.fencing import P_TASK
from core.keyring import Keyring
from core.sealing import Place, Sealer
from core.store import tables as t
from core.store.statement import Row, Statement, insert
from core.store.tx import Tx
from core.targets import P_TARGET, TARGETS, forget_target, redirect_target
from core.tasks.submit import SubmitTask, submit_view
from core.tasks.task import TaskView
from core.transitions import FINAL
from schemas.vocabulary import Face, TaskState

MOST: Final = 10
"""Configurations of one task."""
FINAL_FOR_GOOD: Final = frozenset({Face.A2A.value, Face.ACP.value, Face.MCP.value})
"""A task that came in by one of these is never reopened."""


@dataclass(frozen=True)
class Notify:
    """What a client asks for. The URL was judged, and is as it was parsed."""

    url: str
    endpoint: str
    """The URL's origin."""
    config_id: str | None = None
    """Its name for it; one is made when there is none."""
    scheme: str | None = None
    credentials: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    protocol_version: str = "1.0"
    """Whose payload the receiver expects."""


@dataclass(frozen=True)
class PushConfig:
    """A configuration as its readers see it: without its secrets."""

    id: UUID
    task_id: UUID
    config_id: str
    url: str
    scheme: str | None
    has_credentials: bool
    has_token: bool
    protocol_version: str
    live: bool
    disabled: str | None

    @classmethod
    def of(cls, row: Row) -> "PushConfig":
        """From its row."""
        return cls(
            row.id,
            row.task_id,
            row.config_id,
            row.url,
            row.scheme,
            row.credentials is not None,
            row.token is not None,
            row.protocol_version,
            row.live,
            row.disabled,
        )


@dataclass(frozen=True)
class PutConfig:
    """Tell about this task from now on; under an id that exists it replaces what was there."""

    task_id: UUID
    notify: Notify


@dataclass(frozen=True)
class SubmitNotified:
    """A new task, and who is told about it from its first event on, if anybody."""

    task: SubmitTask
    notify: Notify | None = None


@dataclass(frozen=True)
class OneConfig:
    """One configuration of a task."""

    task_id: UUID
    config_id: str


@dataclass(frozen=True)
class ListConfigs:
    """The configurations of a task by their ids, `after` one of them."""

    task_id: UUID
    after: str = ""
    limit: int = MOST


class Seals:
    """What this process seals with. Kept beside the store, since a command sees nothing else."""

    def __init__(self) -> None:
        self._sealer: Sealer | None = None

    def install(self, keyring: Keyring) -> None:
        """Use the keys of this keyring from now on."""
        self._sealer = Sealer(keyring)

    @property
    def sealer(self) -> Sealer:
        """Seals and opens."""
        if self._sealer is None:
            raise RuntimeError("no keyring: run core.bootstrap.prepare first")
        return self._sealer


_c = t.push_config.c
_CONFIG = sa.bindparam("p_config_id", type_=sa.String())
_TASK = Statement(
    sa.select(t.task.c.version, t.task.c.state, t.task.c.face).where(t.task.c.id == P_TASK, access.readable())
)
_ONE = Statement(sa.select(_c.id).where(_c.task_id == P_TASK, _c.config_id == _CONFIG))
_GET = Statement(
    sa.select(*_c).where(
        _c.task_id == P_TASK, _c.config_id == _CONFIG, access.of_readable_task(t.push_config)
    )
)
_COUNT = Statement(sa.select(sa.func.count().label("n")).where(_c.task_id == P_TASK))
_LIST = Statement(
    sa.select(*_c)
    .where(_c.task_id == P_TASK, _c.config_id > sa.bindparam("p_after", type_=sa.String()))
    .order_by(_c.config_id)
    .limit(sa.bindparam("p_limit", type_=sa.Integer()))
)
_new = insert(t.push_config)
_REPLACED = ("principal_id", "scope", "protocol_version", "url", "endpoint", "scheme", "credentials", "token")
_PUT = Statement(
    _new.on_conflict_do_update(
        index_elements=["task_id", "config_id"],
        set_={
            **{name: _new.excluded[name] for name in (*_REPLACED, "live", "updated_at")},
            "disabled": sa.null(),
        },
    ).returning(*_c)
)
_INSERT = Statement(sa.insert(t.push_config))
_DELETE = Statement(sa.delete(t.push_config).where(_c.id == P_TARGET))


async def put_config(tx: Tx, command: PutConfig) -> PushConfig:
    """Tell somebody about a task from its next event on. Doing it again with the same id replaces it.

    Raises:
        NotFound: no such task, or not yours to see.
        Conflict: the task has as many configurations as it may.
    """
    task_id, notify, row_id = command.task_id, command.notify, tx.new_id()
    task = await tx.one(_TASK, p_task_id=task_id)
    if task is None:
        raise NotFound("no such task")
    config_id = notify.config_id or str(row_id)
    known = await tx.one(_ONE, p_task_id=task_id, p_config_id=config_id)
    if known is not None:
        row_id = known.id
        await redirect_target(tx, row_id, notify.endpoint)
    else:
        count = await tx.one(_COUNT, p_task_id=task_id)
        if count is not None and count.n >= MOST:
            raise Conflict(
                f"a task has at most {MOST} push configurations", details={"reason_code": "too_many"}
            )
    over = TaskState(task.state) in FINAL and task.face in FINAL_FOR_GOOD
    columns = _columns(tx, task_id, row_id, config_id, notify)
    row = await tx.one(_PUT, **columns, after_version=task.version, live=not over)
    assert row is not None, "an upsert returns its row"
    tx.wake(TARGETS)
    return PushConfig.of(row)


async def submit_notified(tx: Tx, command: SubmitNotified) -> TaskView:
    """Submit a task with a configuration in place before anybody can take it.

    Raises: as `core.tasks.submit.submit`.
    """
    view, row_id, notify = await submit_view(tx, command.task), tx.new_id(), command.notify
    if notify is None:
        return view
    columns = _columns(tx, view.task.id, row_id, notify.config_id or str(row_id), notify)
    tx.add(_INSERT, **columns, after_version=0, live=True)
    tx.wake(TARGETS)
    return view


def _columns(tx: Tx, task_id: UUID, row_id: UUID, config_id: str, notify: Notify) -> dict[str, Any]:
    caller, sealer = tx.caller, tx.memory(Seals).sealer
    sealed = {
        name: text and sealer.seal(text, place_of(caller.tenant_id, row_id, name))
        for name, text in (("credentials", notify.credentials), ("token", notify.token))
    }
    return {
        "id": row_id,
        "tenant_id": caller.tenant_id,
        "task_id": task_id,
        "config_id": config_id,
        "principal_id": caller.principal_id,
        "scope": caller.scope.value,
        "protocol_version": notify.protocol_version,
        "url": notify.url,
        "endpoint": notify.endpoint,
        "scheme": notify.scheme,
        **sealed,
        "disabled": None,
        "created_at": tx.now,
        "updated_at": tx.now,
    }


def place_of(tenant_id: UUID, row_id: UUID, column: str) -> Place:
    """Where a secret of a configuration is sealed to."""
    return Place(tenant_id, t.push_config.name, row_id, column)


async def get_config(tx: Tx, query: OneConfig) -> PushConfig:
    """One configuration.

    Raises:
        NotFound: no such task or configuration, or not yours to see.
    """
    row = await tx.one(_GET, p_task_id=query.task_id, p_config_id=query.config_id)
    if row is None:
        raise NotFound("no such push configuration")
    return PushConfig.of(row)


async def list_configs(tx: Tx, query: ListConfigs) -> list[PushConfig]:
    """The configurations of a task, by their ids.

    Raises:
        NotFound: no such task, or not yours to see.
    """
    if await tx.one(_TASK, p_task_id=query.task_id) is None:
        raise NotFound("no such task")
    rows = await tx.all(_LIST, p_task_id=query.task_id, p_after=query.after, p_limit=query.limit)
    return [PushConfig.of(row) for row in rows]


async def delete_config(tx: Tx, command: OneConfig) -> None:
    """Tell nothing more there, and forget what was told. One that does not exist is deleted already.

    Raises:
        NotFound: no such task, or not yours to see.
    """
    if await tx.one(_TASK, p_task_id=command.task_id) is None:
        raise NotFound("no such task")
    known = await tx.one(_ONE, p_task_id=command.task_id, p_config_id=command.config_id)
    if known is not None:
        await forget_target(tx, known.id)
        await tx.run(_DELETE, p_target_id=known.id)
