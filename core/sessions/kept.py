"""Sessions that an executor keeps over REST: where an ACP agent works, and how it does. No editor has them.

They are rows beside those of editors, of the agent instead of an owner. Each command is one transaction, so
that no session is made twice, and no task is started whose session could not be made.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.caller import Caller
from core.errors import Conflict, Forbidden, Invalid, NotFound
from core.fencing import P_NOW
from core.sessions.moves import P_ROW
from core.sessions.session import announce
from core.store import tables as t
from core.store.statement import Row, Statement
from core.store.tx import Tx
from core.store.types import Id, Instant
from core.tasks.claim import ClaimTasks, claim
from core.tasks.report import CompleteTask, complete
from core.tasks.task import Claimed, Task
from schemas.vocabulary import AgentProtocol, SessionStatus

LEASE_SECONDS: Final = 3600
"""Such executors know no leases: each heartbeat of their session renews them."""


@dataclass(frozen=True)
class KeepSession:
    """Where an agent works. In `session` mode the newest open one of the same workflow is used again."""

    agent_id: UUID
    transport: str
    mode: str
    worker_id: UUID | None = None
    workflow_id: UUID | None = None
    workspace_path: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class KeptId:
    """One of them."""

    id: UUID


@dataclass(frozen=True)
class BeatSession:
    """How it is doing. Metadata are merged into what was said before."""

    session_id: UUID
    status: SessionStatus | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ClaimTurn:
    """Claim and start a task, and keep a session for it."""

    claim: ClaimTasks
    session: KeepSession


@dataclass(frozen=True)
class GiveOutput:
    """Complete a task with what the agent brought. `session_id` must be a session that is the caller's."""

    task_id: UUID
    complete: CompleteTask
    session_id: UUID | None = None


@dataclass(frozen=True)
class KeptSession:
    """A session as its agent sees it."""

    id: UUID
    agent_id: UUID
    worker_id: UUID | None
    workflow_id: UUID | None
    transport: str
    mode: str
    status: SessionStatus
    workspace_path: str | None
    metadata: Mapping[str, Any]
    last_heartbeat_at: datetime | None
    created_at: datetime
    updated_at: datetime
    reused: bool = False

    @classmethod
    def of(cls, row: Row, *, reused: bool = False) -> "KeptSession":
        """The value of a row."""
        return cls(
            row.id,
            row.agent_id,
            row.worker_id,
            row.workflow_id,
            row.transport,
            row.mode,
            SessionStatus(row.status),
            row.cwd,
            row.attributes,
            row.last_heartbeat_at,
            row.created_at,
            row.updated_at,
            reused,
        )


@dataclass(frozen=True)
class Turn:
    """A started task and its session; neither when there is nothing to do."""

    session: KeptSession | None = None
    claimed: Claimed | None = None

    @property
    def void(self) -> bool:
        """Whether it brought nothing, so that a repeat is free to bring something."""
        return self.claimed is None


_s = t.acp_session.c
_P_AGENT = sa.bindparam("p_agent_id", type_=Id())
# Locked, so that of two who ask at once one makes the session and the other finds it.
_AGENT = Statement(
    sa.select(t.agent).where(t.agent.c.id == _P_AGENT, access.within_tenant(t.agent)).with_for_update()
)
_KEPT = sa.and_(access.within_tenant(t.acp_session), _s.agent_id.is_not(None))
_ONE = Statement(sa.select(*_s).where(_KEPT, _s.id == P_ROW))
_OPEN = Statement(
    sa.select(*_s)
    .where(
        _KEPT,
        _s.agent_id == _P_AGENT,
        _s.mode == sa.literal_column("'session'"),
        _s.status != sa.literal_column("'closed'"),
    )
    .order_by(_s.id.desc())
)
_INSERT = Statement(sa.insert(t.acp_session).returning(*_s))
_BEAT = Statement(
    sa.update(t.acp_session)
    .where(_KEPT, _s.id == P_ROW)
    .values(
        status=sa.bindparam("p_status", type_=sa.String()),
        attributes=sa.bindparam("p_attributes", type_=_s.attributes.type),
        last_heartbeat_at=P_NOW,
        updated_at=P_NOW,
    )
    .returning(*_s)
)
_RENEW = Statement(
    sa.update(t.lease)
    .where(t.lease.c.agent_id == _P_AGENT, t.lease.c.until > P_NOW)
    .values(until=sa.bindparam("p_until", type_=Instant()))
)


def _check_mine(caller: Caller, agent: Row) -> None:
    if caller.principal_id not in (agent.id, agent.worker_id) and not caller.operator:
        raise Forbidden("this agent is not yours")


async def _agent(tx: Tx, agent_id: UUID) -> Row:
    agent = await tx.one(_AGENT, p_agent_id=agent_id)
    if agent is None:
        raise NotFound("no such agent")
    _check_mine(tx.caller, agent)
    if agent.protocol != AgentProtocol.ACP.value:
        raise Invalid("this agent was not registered with the protocol acp", details={"field": "agent_id"})
    return agent


async def keep_session(tx: Tx, command: KeepSession) -> KeptSession:
    """Make a session, or find the one that is open.

    Raises:
        NotFound: no such agent.
        Forbidden: it is not the caller's.
        Invalid: it speaks no ACP.
        Conflict: `worker_id` is another worker's.
    """
    agent = await _agent(tx, command.agent_id)
    if command.worker_id is not None and command.worker_id != agent.worker_id and not tx.caller.operator:
        raise Conflict("this agent belongs to another worker")
    if command.mode == "session":
        for row in await tx.all(_OPEN, p_agent_id=agent.id):
            if row.workflow_id == command.workflow_id:
                return KeptSession.of(row, reused=True)
    row_id = tx.new_id()
    attributes = {**command.metadata, "protocol": "acp", "capabilities": _capabilities(agent)}
    made = await tx.one(
        _INSERT,
        id=row_id,
        tenant_id=tx.caller.tenant_id,
        owner_id=agent.id,
        session_id=str(row_id),
        status=SessionStatus.INITIALIZING.value,
        transport=command.transport,
        mode=command.mode,
        cwd=command.workspace_path,
        additional_directories=[],
        title=None,
        autonomy="ask",
        config={},
        required_tags=[],
        mcp_servers=None,
        executor={},
        parent_id=None,
        forked_at=None,
        agent_id=agent.id,
        worker_id=command.worker_id or agent.worker_id,
        workflow_id=command.workflow_id,
        attributes=attributes,
        last_heartbeat_at=tx.now,
        archived_at=None,
        deleted_at=None,
        created_at=tx.now,
        updated_at=tx.now,
    )
    assert made is not None, "it was inserted"
    announce(tx, made, "acp.session_created", {"cwd": made.cwd, "forked_from": None})
    return KeptSession.of(made)


def _capabilities(agent: Row) -> Any:
    profile = agent.attributes.get("acp")
    return profile.get("capabilities", {}) if isinstance(profile, Mapping) else {}


async def _mine(tx: Tx, row_id: UUID) -> tuple[Row, Row]:
    row = await tx.one(_ONE, p_row_id=row_id)
    agent = None if row is None else await tx.one(_AGENT, p_agent_id=row.agent_id)
    caller = tx.caller
    if row is None or agent is None:
        raise NotFound("no such session")
    if caller.principal_id not in (agent.id, agent.worker_id) and not caller.operator:
        raise NotFound("no such session")  # another agent's looks like none
    return row, agent


async def get_kept(tx: Tx, query: KeptId) -> KeptSession:
    """The session.

    Raises:
        NotFound: unknown, or another agent's.
    """
    row = await tx.one(_ONE, p_row_id=query.id)
    agent = None if row is None else await tx.one(_READ_AGENT, p_agent_id=row.agent_id)
    mine = agent is not None and tx.caller.principal_id in (agent.id, agent.worker_id)
    if row is None or not (mine or tx.caller.operator):
        raise NotFound("no such session")
    return KeptSession.of(row)


_READ_AGENT = Statement(sa.select(t.agent).where(t.agent.c.id == _P_AGENT, access.within_tenant(t.agent)))


async def beat(tx: Tx, command: BeatSession) -> KeptSession:
    """Hear from a session: its status is what its agent says, and what the agent holds stays its own.

    Raises:
        NotFound: unknown, or another agent's.
    """
    row, agent = await _mine(tx, command.session_id)
    status = row.status if command.status is None else command.status.value
    attributes = {**row.attributes, **command.metadata}
    beaten = await tx.one(_BEAT, p_row_id=row.id, p_status=status, p_attributes=attributes, p_now=tx.now)
    assert beaten is not None, "a session that was found in this transaction"
    if status != SessionStatus.CLOSED:
        until = tx.now + timedelta(seconds=LEASE_SECONDS)
        tx.add(_RENEW, p_agent_id=agent.id, p_now=tx.now, p_until=until)
    elif row.status != SessionStatus.CLOSED:
        announce(tx, beaten, "acp.session_closed", {})
    return KeptSession.of(beaten)


async def claim_turn(tx: Tx, command: ClaimTurn) -> Turn:
    """A started task and the session for it, both or neither.

    Raises as `keep_session` and `core.tasks.claim.claim`.
    """
    await _agent(tx, command.claim.agent_id)
    claims = await claim(tx, command.claim)
    if not claims.items:
        return Turn()
    return Turn(await keep_session(tx, command.session), claims.items[0])


async def give_output(tx: Tx, command: GiveOutput) -> Task:
    """Complete the task.

    Raises:
        NotFound: no such task, or no such session of the agent that did it.
        Forbidden, Conflict, InvalidTransition: as `core.tasks.report.complete`.
    """
    if command.session_id is not None:
        await _mine(tx, command.session_id)
    return await complete(tx, command.complete)
