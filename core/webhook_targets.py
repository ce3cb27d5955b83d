"""Webhooks as a channel of notifications: which of them an event concerns, and what it takes to tell them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from core.fencing import P_NOW
from core.push import Seals
from core.sealing import Place, Secret
from core.store import tables as t
from core.store.statement import Row, Statement
from core.store.tables.operations import webhook
from core.store.tx import Tx
from core.targets import OVERFLOW, P_TARGET, Match

TESTED: Final = "webhook.tested"
"""An event that only the webhook hears that it is about."""
PATTERN: Final = re.compile(r"[a-z0-9_.*]{1,100}")
"""What an event type, or a pattern of some, looks like."""


@dataclass(frozen=True)
class WebhookTarget:
    """Everything that it takes to tell one webhook, its secrets opened. Newest secret first."""

    url: str
    is_active: bool
    secrets: Sequence[Secret] = field(repr=False)


_h = webhook.c
_e = t.event.c
_ANY = Statement(sa.select(_h.id).where(_h.is_active).limit(sa.literal_column("1")))
_MATCHES = Statement(
    sa.select(
        _h.tenant_id,
        _h.id.label("target_id"),
        _h.endpoint,
        _h.event_types,
        _h.workspace_id,
        _e.pos,
        _e.kind,
        _e.entity_id,
        sa.case((_h.workspace_id.is_not(None), _e.data)).label("data"),
    )
    .select_from(sa.join(t.event, webhook, _h.tenant_id == _e.tenant_id))
    .where(
        _e.pos > sa.bindparam("p_after", type_=sa.BigInteger()),
        _e.pos <= sa.bindparam("p_upto", type_=sa.BigInteger()),
        _e.at > _h.since,
        _h.is_active,
        sa.or_(_h.workflow_id.is_(None), _h.workflow_id == _e.workflow_id),
    )
    .order_by(_h.id, _e.pos)
)
_TARGET = Statement(sa.select(*_h).where(_h.id == P_TARGET))
_DISABLE = Statement(
    sa.update(webhook)
    .where(_h.id == P_TARGET)
    .values(is_active=sa.false(), disabled=sa.bindparam("p_why", type_=sa.String()), updated_at=P_NOW)
)
_ENDPOINT = Statement(sa.select(_h.endpoint).where(_h.id == P_TARGET))


def wants(patterns: Sequence[str], kind: str) -> bool:
    """Whether one of the patterns names this type of event."""
    return any(pattern == kind or fnmatchcase(kind, pattern) for pattern in patterns)


def _concerns(row: Row) -> bool:
    if row.kind == TESTED:
        return bool(row.entity_id == row.target_id)
    if row.workspace_id is not None and (row.data or {}).get("workspace_id") != str(row.workspace_id):
        return False
    return wants(row.event_types, row.kind)


class WebhookTargets:
    """Every active webhook hears of its tenant's events, in order for each thing that they are about."""

    name = "webhook"

    async def any_live(self, tx: Tx) -> bool:
        """Whether any webhook is active."""
        return await tx.one(_ANY) is not None

    async def matches(self, tx: Tx, after: int, upto: int) -> Sequence[Match]:
        """The webhooks that asked for the events' types."""
        return [
            Match(row.tenant_id, row.target_id, row.entity_id or row.tenant_id, row.endpoint, row.pos)
            for row in await tx.all(_MATCHES, p_after=after, p_upto=upto)
            if _concerns(row)
        ]

    async def retire(self, tx: Tx, after: int, upto: int) -> None:
        """There is always more to hear."""

    async def disable(self, tx: Tx, target_id: UUID, why: str) -> None:
        """The webhook stays readable, and says why nothing comes."""
        await tx.run(_DISABLE, p_target_id=target_id, p_why=why, p_now=tx.now)

    async def endpoint_of(self, tx: Tx, target_id: UUID) -> str | None:
        """The origin of the webhook's URL."""
        row = await tx.one(_ENDPOINT, p_target_id=target_id)
        return None if row is None else str(row.endpoint)


WEBHOOKS: Final = WebhookTargets()


def place_of(tenant_id: UUID, row_id: UUID, column: str) -> Place:
    """Where a webhook's secret is sealed to."""
    return Place(tenant_id, webhook.name, row_id, column)


async def open_webhook(tx: Tx, target_id: UUID) -> WebhookTarget | None:
    """A webhook with its secrets, for the dispatch; None when it was deleted.

    Raises:
        Unsealable: its secrets cannot be opened any more.
    """
    row = await tx.one(_TARGET, p_target_id=target_id)
    if row is None:
        return None
    sealer = tx.memory(Seals).sealer
    secrets = [sealer.open(row.secret, place_of(row.tenant_id, row.id, "secret"))]
    if row.previous_secret is not None and _still(row.previous_until, tx.now):
        secrets.append(sealer.open(row.previous_secret, place_of(row.tenant_id, row.id, "previous_secret")))
    # What waited when it was paused is still told.
    return WebhookTarget(row.url, row.is_active or row.disabled == OVERFLOW, secrets)


def _still(until: Any, now: datetime) -> bool:
    return until is not None and until > now
