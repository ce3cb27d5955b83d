"""What an owner may choose about a session's turns: how freely an agent acts, and which agent it is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.errors import Conflict, Invalid
from core.sessions.session import P_SESSION, Session, announce, change, find
from core.store import tables as t
from core.store.statement import Row, Statement
from core.store.tx import Tx
from core.store.types import Instant
from core.transitions import FINAL
from schemas.vocabulary import SessionStatus

AUTONOMY: Final = ("plan", "ask", "auto")
"""How freely an agent acts: it changes nothing, it asks first, or it goes ahead."""
AGENT_TAG: Final = "acp"
"""What agents offer that take turns of any session."""
ANY_AGENT: Final = "any"
EVERYBODY: Final = "everybody"
"""The choice of agent by which a turn asks for no tag at all."""

RESUMED: Final = 3
"""How often a turn is tried whose agent can take its session up again; another agent tries it once."""


@dataclass(frozen=True)
class Configure:
    """Choose something. `autonomy` and `agent` mean something here, other options are the executor's."""

    session_id: str
    option: str
    value: Any


@dataclass(frozen=True)
class AgentChoice:
    """An agent that may be chosen for a session's turns."""

    id: str
    name: str


async def configure(tx: Tx, command: Configure) -> Session:
    """Choose how the session's turns are done from now on. The same choice again says nothing.

    Raises:
        NotFound: unknown, foreign or deleted.
        Invalid: no such option or value.
        Conflict: the session is closed.
    """
    row = await find(tx, command.session_id, lock=True)
    if row.status == SessionStatus.CLOSED:
        raise Conflict("the session is closed", details={"reason_code": "session_closed"})
    if command.option == "autonomy":
        if command.value not in AUTONOMY:
            raise Invalid("no such mode", details={"field": "modeId"})
        if command.value == row.autonomy:
            return Session.of(row)
        row = await change(tx, row, "autonomy", command.value)
    else:
        if command.option == "agent":
            await check_agent(tx, command.value)
        else:
            _check_offered(row, command)
        if row.config.get(command.option) == command.value:
            return Session.of(row)
        row = await change(tx, row, "config", {**row.config, command.option: command.value})
    announce(tx, row, "acp.session_configured", {"option": command.option, "value": command.value})
    await _tell_executor(tx, row)
    return Session.of(row)


_LEASED = Statement(
    sa.select(t.task.c.id).where(
        t.task.c.tenant_id == access.TENANT,
        t.task.c.context_id == P_SESSION,
        t.task.c.submitter_id == access.ME,
        t.task.c.state.not_in([sa.literal_column(str(int(s)), sa.SmallInteger) for s in sorted(FINAL)]),
        t.task.c.lease_id.is_not(None),
    )
)


async def _tell_executor(tx: Tx, row: Row) -> None:
    for task in await tx.all(_LEASED, p_session=row.session_id):
        tx.wake(f"task:{task.id}")


def _check_offered(row: Row, command: Configure) -> None:
    for option in row.executor.get("config_options", ()):
        if option.get("id") != command.option:
            continue
        if option.get("type") == "boolean":
            if isinstance(command.value, bool):
                return
        elif command.value in _values(option.get("options", ())):
            return
        raise Invalid("this value is not offered", details={"field": "value"})
    raise Invalid("no such option", details={"field": "configId"})


def _values(options: Sequence[Mapping[str, Any]]) -> list[Any]:
    found: list[Any] = []
    for option in options:
        found += _values(option["options"]) if "options" in option else [option.get("value")]
    return found


_AGENTS = Statement(
    sa.select(t.agent.c.id, t.agent.c.name, t.agent.c.protocol, t.agent.c.routing_tags)
    .where(access.within_tenant(t.agent), t.agent.c.last_seen_at > sa.bindparam("p_since", type_=Instant()))
    .order_by(t.agent.c.last_seen_at.desc())
    .limit(sa.literal_column("200"))
)
_AGENT = Statement(
    sa.select(t.agent.c.id, t.agent.c.name).where(
        access.within_tenant(t.agent), t.agent.c.id == sa.bindparam("p_agent_id", type_=t.agent.c.id.type)
    )
)


async def agent_choices(tx: Tx, since: datetime) -> list[AgentChoice]:
    """The agents that take turns and were heard of since then."""
    return [
        AgentChoice(str(row.id), row.name)
        for row in await tx.all(_AGENTS, p_since=since)
        if row.protocol == AGENT_TAG or AGENT_TAG in row.routing_tags
    ]


async def check_agent(tx: Tx, choice: Any) -> None:
    if choice in (ANY_AGENT, EVERYBODY):
        return
    agent_id = _uuid(choice)
    if agent_id is None or await tx.one(_AGENT, p_agent_id=agent_id) is None:
        raise Invalid("no such agent", details={"field": "value"})


def _uuid(text: Any) -> UUID | None:
    if isinstance(text, str) and len(text) == 36:
        try:
            return UUID(text)
        except ValueError:
            return None
    return None
