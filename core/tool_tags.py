"""Tool tags: the words for tools that workspaces and roles speak of. They grant nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from core import access
from core.errors import Conflict, NotFound
from core.store.statement import Row, Statement
from core.store.tables import workflows as w
from core.store.tx import Tx


@dataclass(frozen=True)
class CreateTag:
    """A new tag."""

    tool_id: str
    name: str
    description: str | None = None
    category: str | None = None


@dataclass(frozen=True)
class ChangeTag:
    """What is to be different, by column."""

    tool_id: str
    changes: Mapping[str, Any]


@dataclass(frozen=True)
class TagId:
    """Which tag."""

    tool_id: str


@dataclass(frozen=True)
class ToolTag:
    """A tag."""

    tool_id: str
    name: str
    description: str | None
    category: str | None
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, row: Row) -> "ToolTag":
        """The value of a `tool_tag` row."""
        return cls(**{name: getattr(row, name) for name in cls.__dataclass_fields__})


_c = w.tool_tag.c
_MINE = access.within_tenant(w.tool_tag)
_P_TAG = sa.bindparam("p_tag", type_=sa.String())
_ONE = Statement(sa.select(*_c).where(_c.tool_id == _P_TAG, _MINE))
_ALL = Statement(sa.select(*_c).where(_MINE).order_by(_c.tool_id))
_INSERT = Statement(sa.insert(w.tool_tag))
_DELETE = Statement(sa.delete(w.tool_tag).where(_c.tool_id == _P_TAG, _MINE))


async def create_tag(tx: Tx, command: CreateTag) -> ToolTag:
    """Make a tag.

    Raises:
        Conflict: there is one with this id.
    """
    if await tx.one(_ONE, p_tag=command.tool_id) is not None:
        raise Conflict("there is a tool with this id", details={"reason_code": "id_taken"})
    tag = ToolTag(command.tool_id, command.name, command.description, command.category, tx.now, tx.now)
    await tx.run(_INSERT, tenant_id=tx.caller.tenant_id, **vars(tag))
    return tag


async def list_tags(tx: Tx, _: None) -> Sequence[ToolTag]:
    """The tenant's tags, by id."""
    return [ToolTag.of(row) for row in await tx.all(_ALL)]


async def change_tag(tx: Tx, command: ChangeTag) -> ToolTag:
    """Change a tag.

    Raises:
        NotFound: no such tag.
    """
    await _tag(tx, command.tool_id)
    sets = {**command.changes, "updated_at": tx.now}
    await tx.run(sa.update(w.tool_tag).where(_c.tool_id == command.tool_id, _MINE).values(**sets))
    return await _tag(tx, command.tool_id)


async def remove_tag(tx: Tx, command: TagId) -> None:
    """Remove a tag.

    Raises:
        NotFound: no such tag.
    """
    await _tag(tx, command.tool_id)
    await tx.run(_DELETE, p_tag=command.tool_id)


async def _tag(tx: Tx, tool_id: str) -> ToolTag:
    row = await tx.one(_ONE, p_tag=tool_id)
    if row is None:
        raise NotFound("no such tool")
    return ToolTag.of(row)
