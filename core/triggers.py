"""Triggers: something is started when an event happens, or when somebody outside calls.

Only operators make and see them; what they start is started in the name of whoever made them. What came in is
kept as an occasion in the transaction that acknowledges it; `core/jobs/triggers.py` starts it, once.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.errors import Conflict, Invalid, NotFound
from core.push import Seals
from core.sealing import Secret, Unsealable
from core.store.statement import Row, Statement
from core.store.tables.triggers import trigger, trigger_start
from core.store.tx import Tx
from core.tasks.read import Page
from core.trigger_records import (
    CALLED,
    ENQUEUE,
    P_TRIGGER,
    Occasion,
    OneTrigger,
    Trigger,
    occasion_columns,
    place_of,
    tell,
    trigger_row,
)
from core.webhooks import new_secret
from schemas.occasions import HookAuth, TriggerKind
from schemas.starting import check_paths

MOST: Final = 200
"""Triggers of a tenant."""
WAITING: Final = 1_000
"""Calls of one webhook that may wait to be started."""
ROOTS: Final[Mapping[TriggerKind, frozenset[str]]] = {
    TriggerKind.EVENT: frozenset({"trigger", "event"}),
    TriggerKind.WEBHOOK: frozenset({"trigger", "payload"}),
}
"""What the templates of a trigger begin with."""


@dataclass(frozen=True)
class CreateTrigger:
    """A new one."""

    name: str
    kind: TriggerKind
    action: Mapping[str, Any]
    description: str | None = None
    event_types: Sequence[str] = ()
    filters: Mapping[str, Any] = field(default_factory=dict)
    auth: HookAuth | None = None
    secret: str | None = field(default=None, repr=False)
    is_active: bool = True


@dataclass(frozen=True)
class ChangeTrigger:
    """What changes, by column; `new_secret` makes one that replaces the old one at once."""

    trigger_id: UUID
    changes: tuple[tuple[str, Any], ...]
    new_secret: bool = False


@dataclass(frozen=True)
class ListTriggers:
    """A page of the tenant's triggers."""

    page: int = 1
    per_page: int = 20


@dataclass(frozen=True)
class ListOccasions:
    """What a trigger was called for, newest first."""

    trigger_id: UUID
    page: int = 1
    per_page: int = 20


@dataclass(frozen=True)
class Hook:
    """What it takes to judge a call of a webhook."""

    trigger_id: UUID
    tenant_id: UUID
    auth: HookAuth
    is_active: bool
    secret: Secret = field(repr=False)


@dataclass(frozen=True)
class TakeCall:
    """A call that has proved itself. `key` makes it one call, however often it comes."""

    trigger_id: UUID
    key: str
    payload: Any


_g, _o = trigger.c, trigger_start.c
_INSERT = Statement(sa.insert(trigger))
_COUNT = Statement(sa.select(sa.func.count().label("n")).where(access.within_tenant(trigger)))
_DELETE = Statement(sa.delete(trigger).where(_g.id == P_TRIGGER, access.within_tenant(trigger)))
_DELETE_OCCASIONS = Statement(
    sa.delete(trigger_start).where(_o.trigger_id == P_TRIGGER, access.within_tenant(trigger_start))
)
_ANYWHERE = Statement(sa.select(*_g).where(_g.id == P_TRIGGER, _g.kind == sa.literal_column("'webhook'")))
_KEYED = Statement(
    sa.select(*_o).where(_o.trigger_id == P_TRIGGER, _o.key == sa.bindparam("p_key", type_=sa.String()))
)
_QUEUED = Statement(
    sa.select(sa.func.count().label("n")).where(
        _o.trigger_id == P_TRIGGER, _o.status == sa.literal_column("'queued'")
    )
)


async def create_trigger(tx: Tx, command: CreateTrigger) -> Trigger:
    """Make a trigger. It hears of what happens from now on. A repeated creation no longer shows the secret.

    Raises:
        Invalid: a template cannot be read, or names what will not be there.
        Conflict: the tenant has as many as it may.
    """
    count = await tx.one(_COUNT)
    if count is not None and count.n >= MOST:
        raise Conflict(f"a tenant has at most {MOST} triggers")
    _check_action(command.kind, command.action)
    row_id, secret = tx.new_id(), None
    if command.auth is not None:
        secret = command.secret or _new_secret(command.auth)
    tx.add(
        _INSERT,
        id=row_id,
        tenant_id=tx.caller.tenant_id,
        name=command.name,
        description=command.description,
        kind=command.kind.value,
        event_types=list(command.event_types),
        filters=dict(command.filters),
        auth=None if command.auth is None else command.auth.value,
        secret=None if secret is None else _sealed(tx, row_id, secret),
        action=dict(command.action),
        is_active=command.is_active,
        since=tx.now,
        created_by=tx.caller.principal_id,
        created_at=tx.now,
        updated_at=tx.now,
    )
    await tx.flush()
    row = await trigger_row(tx, row_id)
    tell(tx, "trigger.created", row, {"kind": row.kind})
    return replace(Trigger.of(row), secret=secret)


async def get_trigger(tx: Tx, query: OneTrigger) -> Trigger:
    """One trigger.

    Raises:
        NotFound: no such trigger.
    """
    return Trigger.of(await trigger_row(tx, query.trigger_id))


async def list_triggers(tx: Tx, query: ListTriggers) -> Page[Trigger]:
    """The tenant's triggers, newest first."""
    found = (
        sa.select(*_g)
        .where(access.within_tenant(trigger))
        .order_by(_g.id.desc())
        .limit(query.per_page)
        .offset((query.page - 1) * query.per_page)
    )
    count = await tx.one(_COUNT)
    return Page([Trigger.of(row) for row in await tx.all(found)], 0 if count is None else count.n)


async def change_trigger(tx: Tx, command: ChangeTrigger) -> Trigger:
    """Change some of it. What happens while it is not active it never hears of.

    Raises:
        NotFound: no such trigger.
        Invalid: as `create_trigger`; or what is changed does not belong to its kind.
    """
    row = await trigger_row(tx, command.trigger_id, locked=True)
    changes, kind = dict(command.changes), TriggerKind(row.kind)
    if "action" in changes:
        _check_action(kind, changes["action"])
    if kind is TriggerKind.WEBHOOK and changes.keys() & {"event_types", "filters"}:
        raise Invalid("a webhook has neither event_types nor filters", details={"field": "event_types"})
    secret = None
    if command.new_secret:
        if row.auth is None:
            raise Invalid("an event trigger has no secret", details={"field": "rotate_secret"})
        secret = _new_secret(HookAuth(row.auth))
        changes["secret"] = _sealed(tx, row.id, secret)
    if changes.get("is_active") and not row.is_active:
        changes["since"] = tx.now
    update = sa.update(trigger).where(_g.id == row.id, access.within_tenant(trigger))
    changed = await tx.one(update.values(**changes, updated_at=tx.now).returning(*_g))
    assert changed is not None, "it is locked"
    tell(tx, "trigger.updated", changed, {"changed": sorted(changes.keys() - {"since"})})
    return replace(Trigger.of(changed), secret=secret)


async def delete_trigger(tx: Tx, command: OneTrigger) -> None:
    """Remove a trigger and the record of what it was called for; what still waits is not started.

    Raises:
        NotFound: no such trigger.
    """
    row = await trigger_row(tx, command.trigger_id, locked=True)
    await tx.run(_DELETE_OCCASIONS, p_trigger_id=row.id)
    await tx.run(_DELETE, p_trigger_id=row.id)
    tell(tx, "trigger.deleted", row, {})


async def list_occasions(tx: Tx, query: ListOccasions) -> Page[Occasion]:
    """What it was called for, newest first. Kept for 30 days.

    Raises:
        NotFound: no such trigger.
    """
    await trigger_row(tx, query.trigger_id)
    mine = sa.and_(_o.trigger_id == query.trigger_id, access.within_tenant(trigger_start))
    count = await tx.one(sa.select(sa.func.count().label("n")).select_from(trigger_start).where(mine))
    rows: Sequence[Row] = await tx.all(
        sa.select(*_o)
        .where(mine)
        .order_by(_o.id.desc())
        .limit(query.per_page)
        .offset((query.page - 1) * query.per_page)
    )
    return Page([Occasion.of(row) for row in rows], 0 if count is None else count.n)


async def open_hook(tx: Tx, query: OneTrigger) -> Hook:
    """A webhook of any tenant with its secret, for whoever judges a call of it.

    Raises:
        NotFound: no such webhook, or its secret cannot be opened any more.
    """
    row = await tx.one(_ANYWHERE, p_trigger_id=query.trigger_id)
    if row is None:
        raise NotFound("no such webhook")
    try:
        secret = tx.memory(Seals).sealer.open(row.secret, place_of(row.tenant_id, row.id))
    except Unsealable:
        raise NotFound("no such webhook") from None
    return Hook(row.id, row.tenant_id, HookAuth(row.auth), row.is_active, secret)


async def take_call(tx: Tx, command: TakeCall) -> Occasion:
    """Keep a call until it is started. One that was taken before is answered as it stands.

    Raises:
        NotFound: the webhook is gone.
        Conflict: it is paused, or too many of its calls wait.
    """
    row = await trigger_row(tx, command.trigger_id)
    known = await tx.one(_KEYED, p_trigger_id=row.id, p_key=command.key)
    if known is None:
        if not row.is_active:
            raise Conflict("the webhook is paused", details={"reason_code": "trigger_paused"})
        waiting = await tx.one(_QUEUED, p_trigger_id=row.id)
        if waiting is not None and waiting.n >= WAITING:
            raise Conflict("too many calls wait", details={"reason_code": "queue_full"})
        await tx.run(ENQUEUE, **occasion_columns(tx, row, command.key, {"payload": command.payload}))
        tx.wake(CALLED)
        known = await tx.one(_KEYED, p_trigger_id=row.id, p_key=command.key)
        assert known is not None, "it was just made, here or beside us"
    return Occasion.of(known)


def _new_secret(auth: HookAuth) -> str:
    return new_secret() if auth is HookAuth.STANDARD_WEBHOOKS else secrets.token_urlsafe(32)


def _sealed(tx: Tx, row_id: UUID, secret: str) -> str:
    return tx.memory(Seals).sealer.seal(Secret(secret), place_of(tx.caller.tenant_id, row_id))


def _check_action(kind: TriggerKind, action: Mapping[str, Any]) -> None:
    try:
        check_paths(action, ROOTS[kind])
    except ValueError as error:
        raise Invalid(str(error), details={"field": "task" if "task" in action else "workflow"}) from error
