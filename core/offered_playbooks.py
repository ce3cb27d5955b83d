"""Playbooks that are exposed, as every face offers them: an A2A agent, an MCP tool, an ACP command.

One exposure makes all three. What it says of itself, whether it is active and where it runs is the
exposure's; what may be given is the version's in use. Nothing here knows a protocol.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from core import access
from core.store.statement import Row, Statement
from core.store.tables import workflows as w
from core.store.tables.exposures import exposure as exposures
from core.store.tx import Tx
from core.workflows.arguments import parameters_schema
from core.workflows.fronts import Play
from schemas.playbook import Definition
from schemas.playbook_reading import read_definition
from schemas.vocabulary import ExposureKind

MOST: Final = 100
"""How many a face offers."""


@dataclass(frozen=True)
class Offered:
    """A playbook that may be run by whoever may address an exposed agent."""

    slug: str
    name: str
    description: str
    play: Play
    definition: Definition

    @property
    def schema(self) -> Mapping[str, Any]:
        """The JSON Schema of its arguments."""
        return parameters_schema(self.definition)

    @property
    def hint(self) -> str:
        """Its parameters in one line."""
        told = [p.slug if p.required else f"[{p.slug}]" for p in self.definition.parameters]
        return " ".join(told) or "what is to be done"

    @classmethod
    def of(cls, row: Row) -> "Offered":
        """From its exposure and its version in use."""
        return cls(
            row.slug,
            row.name,
            row.description,
            Play(row.target, row.workspace_id),
            read_definition(row.definition),
        )


_e, _p = exposures.c, w.playbook.c
_OFFERED = (
    sa.select(_e.slug, _e.name, _e.description, _e.target, _e.workspace_id, _p.definition)
    .join_from(
        exposures,
        w.playbook,
        sa.and_(_p.tenant_id == _e.tenant_id, _p.slug == _e.target, _p.is_active),
    )
    .where(
        access.within_tenant(exposures),
        _e.kind == sa.literal_column(f"'{ExposureKind.PLAYBOOK.value}'"),
        _e.is_active,
        _e.workspace_id.is_not(None),
    )
)
_ALL = Statement(_OFFERED.order_by(_e.slug).limit(sa.literal_column(str(MOST))))
_ONE = Statement(_OFFERED.where(_e.slug == sa.bindparam("p_slug", type_=sa.String())))


async def offered_playbooks(tx: Tx, _: None) -> Sequence[Offered]:
    """Those of the tenant, by slug."""
    return [Offered.of(row) for row in await tx.all(_ALL)]


async def offered_playbook(tx: Tx, slug: str) -> Offered | None:
    """The one under a slug."""
    row = await tx.one(_ONE, p_slug=slug)
    return None if row is None else Offered.of(row)
