"""Push configurations as targets of the delivery engine: whom an event concerns, and how it is addressed.

The only place where the secrets of a configuration are opened. It renders nothing and sends nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import sqlalchemy as sa

from core.caller import Caller
from core.fencing import P_NOW
from core.push import FINAL_FOR_GOOD, PushConfig, Seals, place_of
from core.sealing import Secret
from core.store import tables as t
from core.store.statement import Statement
from core.store.tx import Tx
from core.targets import P_TARGET, Match
from core.transitions import FINAL
from schemas.vocabulary import Face, Scope

TOLD: Final = (
    "approval.decided",
    "approval.requested",
    "task.artifact_updated",
    "task.created",
    "task.message_sent",
    "task.state_changed",
)
"""The kinds of events that may say something to a target."""


@dataclass(frozen=True)
class PushTarget:
    """Everything that it takes to tell one target, its secrets opened."""

    config: PushConfig
    viewer: Caller
    """Whose view of the task is told."""
    credentials: Secret | None
    token: Secret | None


_c = t.push_config.c
_TARGET = Statement(sa.select(*_c).where(_c.id == P_TARGET))


async def open_target(tx: Tx, target_id: UUID) -> PushTarget | None:
    """A target with its secrets, for the dispatch; None when it was deleted.

    Raises:
        Unsealable: its secrets cannot be opened any more.
    """
    row = await tx.one(_TARGET, p_target_id=target_id)
    if row is None:
        return None
    scope = Scope(row.scope)
    viewer = Caller(row.principal_id, row.tenant_id, scope, "system", None, face=Face.A2A.value)
    sealer = tx.memory(Seals).sealer
    secrets: Mapping[str, Secret | None] = {
        column: sealed and sealer.open(sealed, place_of(row.tenant_id, row.id, column))
        for column, sealed in (("credentials", row.credentials), ("token", row.token))
    }
    return PushTarget(PushConfig.of(row), viewer, secrets["credentials"], secrets["token"])


_e = t.event.c
_AFTER = sa.bindparam("p_after", type_=sa.BigInteger())
_UPTO = sa.bindparam("p_upto", type_=sa.BigInteger())
_LIVE: sa.ColumnElement[bool] = sa.literal_column("live")
_ANY = Statement(sa.select(_c.id).where(_LIVE).limit(sa.literal_column("1")))
_MATCHES = Statement(
    sa.select(_c.tenant_id, _c.id.label("target_id"), _c.task_id.label("entity_id"), _c.endpoint, _e.pos)
    .select_from(sa.join(t.event, t.push_config, _c.task_id == _e.task_id))
    .where(
        _e.pos > _AFTER,
        _e.pos <= _UPTO,
        _LIVE,
        _e.version > _c.after_version,
        _e.kind.in_([sa.literal_column(f"'{kind}'") for kind in TOLD]),
    )
    .order_by(_c.id, _e.pos)
)
_last = t.push_config.alias("ending")
_RETIRE = Statement(
    sa.update(t.push_config)
    .where(
        _LIVE,
        _c.task_id.in_(
            sa.select(t.task.c.id)
            .select_from(
                sa.join(
                    t.event, _last, sa.and_(_last.c.task_id == _e.task_id, sa.literal_column("ending.live"))
                ).join(t.task, t.task.c.id == _e.task_id)
            )
            .where(
                _e.pos > _AFTER,
                _e.pos <= _UPTO,
                _e.version == t.task.c.version,
                t.task.c.state.in_([sa.literal_column(str(int(s))) for s in sorted(FINAL)]),
                t.task.c.face.in_([sa.literal_column(f"'{face}'") for face in sorted(FINAL_FOR_GOOD)]),
            )
        ),
    )
    .values(live=sa.false(), updated_at=P_NOW)
)
_DISABLE = Statement(
    sa.update(t.push_config)
    .where(_c.id == P_TARGET)
    .values(live=sa.false(), disabled=sa.bindparam("p_why", type_=sa.String()), updated_at=P_NOW)
)
_ENDPOINT = Statement(sa.select(_c.endpoint).where(_c.id == P_TARGET))


class PushTargets:
    """The channel of A2A push notifications: every configuration is a target, and hears of its task."""

    name = "a2a.push"

    async def any_live(self, tx: Tx) -> bool:
        """Whether any configuration waits for events."""
        return await tx.one(_ANY) is not None

    async def matches(self, tx: Tx, after: int, upto: int) -> Sequence[Match]:
        """The configurations of the events' tasks, for those events that came after them."""
        return [
            Match(row.tenant_id, row.target_id, row.entity_id, row.endpoint, row.pos)
            for row in await tx.all(_MATCHES, p_after=after, p_upto=upto)
        ]

    async def retire(self, tx: Tx, after: int, upto: int) -> None:
        """Configurations of a task that is final for good have heard everything."""
        await tx.run(_RETIRE, p_after=after, p_upto=upto, p_now=tx.now)

    async def disable(self, tx: Tx, target_id: UUID, why: str) -> None:
        """The configuration stays readable, and says why nothing comes."""
        await tx.run(_DISABLE, p_target_id=target_id, p_why=why, p_now=tx.now)

    async def endpoint_of(self, tx: Tx, target_id: UUID) -> str | None:
        """The origin of the configuration's URL."""
        row = await tx.one(_ENDPOINT, p_target_id=target_id)
        return None if row is None else str(row.endpoint)


PUSH: Final = PushTargets()
