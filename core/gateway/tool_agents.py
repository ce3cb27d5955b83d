"""Agents that are tools: their metadata names one, and the hub does their tasks by calling it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import sqlalchemy as sa

from core.caller import Caller
from core.fencing import P_TASK
from core.principals import OwnerType
from core.store import tables as t
from core.store.statement import Statement
from core.store.tables import mcp_calls
from core.store.tx import Tx
from schemas.vocabulary import AgentProtocol, CallState, Scope

KEY: Final = "mcp_tool"
"""The member of an agent's metadata that makes it a tool: `{"server": slug, "tool": name}`."""


@dataclass(frozen=True)
class ToolAgent:
    """A tool that does tasks."""

    id: UUID
    tenant_id: UUID
    server: str
    tool: str

    @property
    def caller(self) -> Caller:
        """The agent, as the hub acts for it."""
        kind = OwnerType.AGENT.value
        return Caller(self.id, self.tenant_id, Scope.AGENT, kind, str(self.id))


_a, _c = t.agent.c, mcp_calls.call.c
_ALL = Statement(
    sa.select(_a.id, _a.tenant_id, _a.attributes).where(
        _a.protocol == sa.literal_column(f"'{AgentProtocol.MCP.value}'")
    )
)
_OPEN = Statement(
    sa.select(_c.id)
    .where(
        _c.task_id == P_TASK,
        _c.approval_id.is_(None),
        _c.state.in_([sa.literal_column(f"'{s.value}'") for s in (CallState.STARTED, CallState.UNKNOWN)]),
    )
    .limit(sa.literal_column("1"))
)


async def tool_agents(tx: Tx, _: None) -> Sequence[ToolAgent]:
    """The tools of every tenant that do tasks."""
    found = []
    for row in await tx.all(_ALL):
        named = row.attributes.get(KEY)
        server, tool = (named.get("server"), named.get("tool")) if isinstance(named, dict) else (None, None)
        if isinstance(server, str) and isinstance(tool, str):
            found.append(ToolAgent(row.id, row.tenant_id, server, tool))
    return found


async def may_have_called(tx: Tx, task_id: UUID) -> bool:
    """Whether a call of an earlier attempt may have happened without anybody knowing what came of it."""
    return await tx.one(_OPEN, p_task_id=task_id) is not None
