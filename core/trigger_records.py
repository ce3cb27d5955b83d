"""A trigger and what it started as values, and the statements that its sides share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.errors import NotFound
from core.sealing import Place
from core.store.statement import Row, Statement, insert
from core.store.tables.triggers import trigger, trigger_start
from core.store.tx import Tx
from core.store.types import Id
from schemas.occasions import HookAuth, RunStatus, TriggerKind

CALLED: Final = "triggers"
"""The topic that is woken when something may be to be started."""
P_TRIGGER = sa.bindparam("p_trigger_id", type_=Id())


@dataclass(frozen=True)
class Trigger:
    """A trigger as operators see it. `secret` is there once: when it was made or replaced."""

    id: UUID
    name: str
    description: str | None
    kind: TriggerKind
    event_types: Sequence[str]
    filters: Mapping[str, Any]
    auth: HookAuth | None
    action: Mapping[str, Any]
    is_active: bool
    created_by: UUID
    created_at: datetime
    updated_at: datetime
    secret: str | None = field(default=None, repr=False, metadata={"secret": True})

    @classmethod
    def of(cls, row: Row) -> "Trigger":
        """From its row, without the secret."""
        values = {name: getattr(row, name) for name in cls.__dataclass_fields__ if name != "secret"}
        auth = None if row.auth is None else HookAuth(row.auth)
        return cls(**{**values, "kind": TriggerKind(row.kind), "auth": auth})


@dataclass(frozen=True)
class Occasion:
    """One event or call, and what was started for it."""

    id: UUID
    trigger_id: UUID
    key: str
    depth: int
    status: RunStatus
    reason: str | None
    error: Mapping[str, Any] | None
    task_id: UUID | None
    workflow_id: UUID | None
    created_at: datetime
    started_at: datetime | None

    @classmethod
    def of(cls, row: Row) -> "Occasion":
        """From its row."""
        values = {name: getattr(row, name) for name in cls.__dataclass_fields__}
        return cls(**{**values, "status": RunStatus(row.status)})


@dataclass(frozen=True)
class OneTrigger:
    """A trigger by its id."""

    trigger_id: UUID


_ONE = Statement(sa.select(*trigger.c).where(trigger.c.id == P_TRIGGER, access.within_tenant(trigger)))
_LOCKED = Statement(
    sa.select(*trigger.c).where(trigger.c.id == P_TRIGGER, access.within_tenant(trigger)).with_for_update()
)
ENQUEUE = Statement(insert(trigger_start).on_conflict_do_nothing(index_elements=["trigger_id", "key"]))


async def trigger_row(tx: Tx, trigger_id: UUID, *, locked: bool = False) -> Row:
    """The row of a trigger of the tenant.

    Raises:
        NotFound: there is none.
    """
    row = await tx.one(_LOCKED if locked else _ONE, p_trigger_id=trigger_id)
    if row is None:
        raise NotFound("no such trigger")
    return row


def occasion_columns(tx: Tx, row: Row, key: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """A new occasion, which waits to be started."""
    return {
        "id": tx.new_id(),
        "tenant_id": row.tenant_id,
        "trigger_id": row.id,
        "key": key,
        "given": dict(given),
        "depth": 0,
        "status": RunStatus.QUEUED.value,
        "reason": None,
        "error": None,
        "task_id": None,
        "workflow_id": None,
        "created_at": tx.now,
        "started_at": None,
    }


def place_of(tenant_id: UUID, trigger_id: UUID) -> Place:
    """Where a trigger's secret is sealed to."""
    return Place(tenant_id, trigger.name, trigger_id, "secret")


def tell(tx: Tx, kind: str, row: Row, data: Mapping[str, Any]) -> None:
    """Write an event of a trigger. No trigger ever hears of these."""
    tx.event(kind, entity_type="trigger", entity_id=row.id, data={"name": row.name, **data})
