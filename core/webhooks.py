"""Webhooks: somebody outside is told of a tenant's events, signed with a secret that is shown once.

Only operators make and see them. What a webhook is told, and whether it arrived, is in the record of its
deliveries (`core/deliveries.py`). This module sends nothing.
"""

import base64
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.errors import Conflict, NotFound
from core.push import Seals
from core.store.statement import Row, Statement
from core.store.tables.operations import webhook
from core.store.tx import Tx
from core.store.types import Id
from core.targets import TARGETS, forget_target, redirect_target
from core.webhook_targets import TESTED, place_of

MOST: Final = 100
"""Webhooks of a tenant."""
OVERLAP: Final = timedelta(hours=24)
"""How long the secret before still signs beside a new one."""
PREFIX: Final = "whsec_"


@dataclass(frozen=True)
class Webhook:
    """A webhook as operators see it. `secret` is there once: when it was made or replaced."""

    id: UUID
    url: str
    event_types: Sequence[str]
    workspace_id: UUID | None
    workflow_id: UUID | None
    description: str | None
    is_active: bool
    disabled: str | None
    created_at: datetime
    updated_at: datetime
    secret: str | None = field(default=None, repr=False, metadata={"secret": True})

    @classmethod
    def of(cls, row: Row) -> "Webhook":
        """From its row."""
        return cls(
            row.id,
            row.url,
            row.event_types,
            row.workspace_id,
            row.workflow_id,
            row.description,
            row.is_active,
            row.disabled,
            row.created_at,
            row.updated_at,
        )


@dataclass(frozen=True)
class CreateWebhook:
    """A new one. The URL was judged, and is as it was parsed; `endpoint` is its origin."""

    url: str
    endpoint: str
    event_types: Sequence[str]
    workspace_id: UUID | None = None
    workflow_id: UUID | None = None
    description: str | None = None
    is_active: bool = True
    secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class ChangeWebhook:
    """What changes, by column; `secret` replaces the secret, and of None makes a new one."""

    webhook_id: UUID
    changes: tuple[tuple[str, Any], ...] = ()
    new_secret: bool = False
    secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class OneWebhook:
    """A webhook by its id."""

    webhook_id: UUID


@dataclass(frozen=True)
class ListWebhooks:
    """A page of the tenant's webhooks."""

    page: int = 1
    per_page: int = 20


@dataclass(frozen=True)
class WebhookPage:
    """Some webhooks, newest first, and how many there are."""

    items: Sequence[Webhook]
    total: int


_h = webhook.c
_P_ID = sa.bindparam("p_webhook_id", type_=Id())
_INSERT = Statement(sa.insert(webhook))
_ONE = Statement(sa.select(*_h).where(_h.id == _P_ID, access.within_tenant(webhook)))
_LOCKED = Statement(sa.select(*_h).where(_h.id == _P_ID, access.within_tenant(webhook)).with_for_update())
_DELETE = Statement(sa.delete(webhook).where(_h.id == _P_ID, access.within_tenant(webhook)))
_COUNT = Statement(sa.select(sa.func.count().label("n")).where(access.within_tenant(webhook)))


def new_secret() -> str:
    """A secret in the form of Standard Webhooks."""
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


async def create_webhook(tx: Tx, command: CreateWebhook) -> Webhook:
    """Tell somebody of what happens from now on. A repeated creation no longer shows the secret.

    Raises:
        Conflict: the tenant has as many as it may.
    """
    count = await tx.one(_COUNT)
    if count is not None and count.n >= MOST:
        raise Conflict(f"a tenant has at most {MOST} webhooks")
    secret, row_id = command.secret or new_secret(), tx.new_id()
    tx.add(
        _INSERT,
        id=row_id,
        tenant_id=tx.caller.tenant_id,
        url=command.url,
        endpoint=command.endpoint,
        event_types=list(command.event_types),
        workspace_id=command.workspace_id,
        workflow_id=command.workflow_id,
        secret=_sealed(tx, row_id, "secret", secret),
        previous_secret=None,
        previous_until=None,
        description=command.description,
        is_active=command.is_active,
        disabled=None,
        since=tx.now,
        created_at=tx.now,
        updated_at=tx.now,
    )
    await tx.flush()
    tx.event("webhook.created", entity_type="webhook", entity_id=row_id, data={"url": command.url})
    tx.wake(TARGETS)
    return replace(await get_webhook(tx, OneWebhook(row_id)), secret=secret)


async def get_webhook(tx: Tx, query: OneWebhook) -> Webhook:
    """One webhook of the tenant.

    Raises:
        NotFound: no such webhook.
    """
    return Webhook.of(await _found(tx, _ONE, query.webhook_id))


async def list_webhooks(tx: Tx, query: ListWebhooks) -> WebhookPage:
    """The tenant's webhooks, newest first."""
    found = (
        sa.select(*_h)
        .where(access.within_tenant(webhook))
        .order_by(_h.id.desc())
        .limit(query.per_page)
        .offset((query.page - 1) * query.per_page)
    )
    count = await tx.one(_COUNT)
    return WebhookPage([Webhook.of(row) for row in await tx.all(found)], 0 if count is None else count.n)


async def change_webhook(tx: Tx, command: ChangeWebhook) -> Webhook:
    """Change some of it. What still waits goes to the new address; a new secret signs beside the old one.

    Raises:
        NotFound: no such webhook.
    """
    changes = dict(command.changes)
    if "endpoint" in changes:
        await redirect_target(tx, command.webhook_id, changes["endpoint"])
    row = await _found(tx, _LOCKED, command.webhook_id)
    secret = None
    if command.new_secret:
        secret = command.secret or new_secret()
        before = tx.memory(Seals).sealer.open(row.secret, place_of(row.tenant_id, row.id, "secret"))
        changes["secret"] = _sealed(tx, row.id, "secret", secret)
        changes["previous_secret"] = _sealed(tx, row.id, "previous_secret", before.reveal())
        changes["previous_until"] = tx.now + OVERLAP
    if changes.get("is_active"):
        changes["disabled"] = None
        if not row.is_active:  # what happened meanwhile it did not ask for
            changes["since"] = tx.now
    update = sa.update(webhook).where(_h.id == command.webhook_id, access.within_tenant(webhook))
    changed = await tx.one(update.values(**changes, updated_at=tx.now).returning(*_h))
    assert changed is not None, "it was found in this transaction"
    told = sorted(name for name in changes if "secret" not in name and name != "since")
    tx.event("webhook.updated", entity_type="webhook", entity_id=row.id, data={"changed": told})
    tx.wake(TARGETS)
    return replace(Webhook.of(changed), secret=secret)


async def delete_webhook(tx: Tx, command: OneWebhook) -> None:
    """Remove a webhook, what it was told, and what it was still to be told.

    Raises:
        NotFound: no such webhook.
    """
    await _found(tx, _ONE, command.webhook_id)
    await forget_target(tx, command.webhook_id)
    if not await tx.run(_DELETE, p_webhook_id=command.webhook_id):
        raise NotFound("no such webhook")
    tx.event("webhook.deleted", entity_type="webhook", entity_id=command.webhook_id, data={})


async def try_webhook(tx: Tx, command: OneWebhook) -> Webhook:
    """Send it an event of type `webhook.tested`, which nobody else hears, whatever types it asks for.

    Raises:
        NotFound: no such webhook.
        Conflict: it is not active.
    """
    row = await _found(tx, _ONE, command.webhook_id)
    if not row.is_active:
        raise Conflict("the webhook is not active")
    tx.event(TESTED, entity_type="webhook", entity_id=row.id, data={"webhook_id": str(row.id)})
    return Webhook.of(row)


async def _found(tx: Tx, statement: Statement, webhook_id: UUID) -> Row:
    row = await tx.one(statement, p_webhook_id=webhook_id)
    if row is None:
        raise NotFound("no such webhook")
    return row


def _sealed(tx: Tx, row_id: UUID, column: str, secret: str) -> str:
    sealed: str = tx.memory(Seals).sealer.seal(secret, place_of(tx.caller.tenant_id, row_id, column))
    return sealed
