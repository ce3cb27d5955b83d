"""How long a tenant keeps what is over, and what is held from being cleared away at all.

A hold on a task, a workflow or a workspace covers what belongs to it. `core/retention.py` clears away by what
stands here; nothing here removes anything.
"""

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Final
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.errors import NotFound
from core.store import tables as t
from core.store.statement import Statement, insert
from core.store.tables import records, workflows
from core.store.tx import Tx
from core.store.types import Id

DAYS: Final = 30
"""How long each kind of thing is kept where the tenant says nothing else."""


@dataclass(frozen=True)
class Policy:
    """Days after which something goes: counted from the end of what ends, else from when it was written."""

    task_prune_after_days: int = DAYS
    workflow_delete_after_days: int = DAYS
    execution_log_retention_days: int = DAYS
    event_retention_days: int = DAYS
    """Of events whose task and workflow are gone; others stay as long as those."""
    artifact_retention_days: int = DAYS
    """Of artifacts that are files."""


NAMES: Final = tuple(one.name for one in fields(Policy))


@dataclass(frozen=True)
class ChangePolicy:
    """What is to be different; None stays."""

    task_prune_after_days: int | None = None
    workflow_delete_after_days: int | None = None
    execution_log_retention_days: int | None = None
    event_retention_days: int | None = None
    artifact_retention_days: int | None = None


@dataclass(frozen=True)
class Held:
    """Whether something is held."""

    entity_type: str
    entity_id: UUID
    legal_hold: bool
    set_at: datetime | None = None


@dataclass(frozen=True)
class SetHold:
    """Hold something, or let it go."""

    entity_type: str
    entity_id: UUID
    enabled: bool


_r, _h = records.retention_policy.c, records.legal_hold.c
_POLICY = Statement(sa.select(*_r).where(access.within_tenant(records.retention_policy)))


def _put() -> sa.Executable:
    made = insert(records.retention_policy)
    return made.on_conflict_do_update(
        index_elements=["tenant_id"], set_={name: made.excluded[name] for name in (*NAMES, "updated_at")}
    )


_PUT = Statement(_put())
_P_ENTITY = sa.bindparam("p_entity_id", type_=Id())
_TABLES: Final = {"task": t.task, "workflow": workflows.workflow, "workspace": workflows.workspace}
_EXISTS: Final = {
    name: Statement(sa.select(table.c.id).where(table.c.id == _P_ENTITY, access.within_tenant(table)))
    for name, table in _TABLES.items()
}
_HOLD = Statement(insert(records.legal_hold).on_conflict_do_nothing(index_elements=["entity_id"]))
_LET_GO = Statement(
    sa.delete(records.legal_hold).where(_h.entity_id == _P_ENTITY, access.within_tenant(records.legal_hold))
)
_ONE = Statement(
    sa.select(_h.set_at).where(_h.entity_id == _P_ENTITY, access.within_tenant(records.legal_hold))
)


async def get_policy(tx: Tx, _: None) -> Policy:
    """The tenant's policy."""
    row = await tx.one(_POLICY)
    return Policy() if row is None else Policy(**{name: getattr(row, name) for name in NAMES})


async def change_policy(tx: Tx, command: ChangePolicy) -> Policy:
    """Keep things for another time. It counts from the next time that things are cleared away."""
    present = await get_policy(tx, None)
    said = {name: getattr(command, name) for name in NAMES}
    policy = Policy(**{n: getattr(present, n) if value is None else value for n, value in said.items()})
    values = {name: getattr(policy, name) for name in NAMES}
    await tx.run(_PUT, tenant_id=tx.caller.tenant_id, updated_at=tx.now, **values)
    tx.event(
        "governance.retention_policy_updated",
        entity_type="system",
        entity_id=tx.caller.tenant_id,
        data=values,
    )
    return policy


async def set_hold(tx: Tx, command: SetHold) -> Held:
    """Hold a thing, or let it go; doing either again changes nothing.

    Raises:
        NotFound: no such task, workflow or workspace.
    """
    statement = _EXISTS.get(command.entity_type)
    if statement is None or await tx.one(statement, p_entity_id=command.entity_id) is None:
        raise NotFound(f"no such {command.entity_type}")
    before = await tx.one(_ONE, p_entity_id=command.entity_id)
    if command.enabled and before is None:
        await tx.run(
            _HOLD,
            entity_id=command.entity_id,
            tenant_id=tx.caller.tenant_id,
            entity_type=command.entity_type,
            set_by=tx.caller.principal_id,
            set_at=tx.now,
        )
    elif not command.enabled and before is not None:
        await tx.run(_LET_GO, p_entity_id=command.entity_id)
    if command.enabled is (before is None):
        tx.event(
            "governance.legal_hold_set" if command.enabled else "governance.legal_hold_released",
            entity_type="system",
            entity_id=command.entity_id,
            data={"entity_type": command.entity_type, "entity_id": str(command.entity_id)},
        )
    since = (before.set_at if before is not None else tx.now) if command.enabled else None
    return Held(command.entity_type, command.entity_id, command.enabled, since)


@dataclass(frozen=True)
class Which:
    """A task, workflow or workspace."""

    entity_type: str
    entity_id: UUID


async def get_hold(tx: Tx, query: Which) -> Held:
    """Whether a thing is held.

    Raises:
        NotFound: no such task, workflow or workspace.
    """
    statement = _EXISTS.get(query.entity_type)
    if statement is None or await tx.one(statement, p_entity_id=query.entity_id) is None:
        raise NotFound(f"no such {query.entity_type}")
    row = await tx.one(_ONE, p_entity_id=query.entity_id)
    return Held(query.entity_type, query.entity_id, row is not None, None if row is None else row.set_at)


def held(*ids: sa.ColumnElement[UUID | None]) -> sa.ColumnElement[bool]:
    """Whether one of these ids is held."""
    hold = records.legal_hold.alias("its_hold")
    return sa.exists().where(sa.or_(*(hold.c.entity_id == one for one in ids)))
