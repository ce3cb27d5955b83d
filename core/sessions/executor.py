"""The executor's side of a turn: what it needs to know of the session, and what it tells while it works.

All of it is fenced by the lease of the turn's task. What an agent says is kept word by word.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.errors import Conflict, NotFound
from core.fencing import P_NOW, P_TASK, check_lease
from core.journal import tell
from core.lifecycle import Who, touch
from core.sessions.choices import RESUMED
from core.sessions.session import P_SESSION, announce, unsealed
from core.store import tables as t
from core.store.engine import in_step
from core.store.statement import Row, Statement
from core.store.tx import Tx
from core.store.types import Id
from core.transitions import Fence
from schemas.vocabulary import TaskState

_WORKING: Final = frozenset(
    {TaskState.CLAIMED, TaskState.IN_PROGRESS, TaskState.INPUT_REQUIRED, TaskState.AUTH_REQUIRED}
)


@dataclass(frozen=True)
class PostUpdates:
    """What an agent said, in order: `session/update` notifications by their parameters."""

    task_id: UUID
    lease_id: UUID
    updates: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Posted:
    """The task's version that the updates took."""

    version: int


@dataclass(frozen=True)
class TurnLease:
    """A turn, and the lease of whoever does it."""

    task_id: UUID
    lease_id: UUID


@dataclass(frozen=True)
class ReportSession:
    """What the executor knows of its own session with the agent. It replaces what was said before."""

    task_id: UUID
    lease_id: UUID
    agent_session_id: str | None = None
    can_resume: bool = False
    config_options: Sequence[Mapping[str, Any]] = ()
    modes: Mapping[str, Any] | None = None
    commands: Sequence[Mapping[str, Any]] = ()
    agent_info: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Brief:
    """What the executor of a turn is told of its session. It exists while the lease does."""

    session_id: str
    cwd: str
    additional_directories: Sequence[str]
    autonomy: str
    config: Mapping[str, Any]
    mcp_servers: Sequence[Any] | None = field(repr=False, metadata={"secret": True})
    agent_session_id: str | None
    """The agent's own session of the turn before, when this agent did it."""
    forked_from: str | None
    """The same of the session that this one was forked from, while it has none of its own."""
    turn: int
    """How many turns came before this one."""


_s = t.acp_session.c
_TASK = Statement(sa.select(*t.task.c).where(t.task.c.id == P_TASK, access.readable()))
_OF_TASK = sa.and_(
    _s.tenant_id == access.TENANT,
    _s.owner_id == sa.bindparam("p_owner", type_=Id()),
    _s.session_id == P_SESSION,
)
_SESSION = Statement(sa.select(*_s).where(_OF_TASK))
_PARENT = Statement(
    sa.select(_s.executor).where(_s.tenant_id == access.TENANT, _s.id == sa.bindparam("p_row_id", type_=Id()))
)
_REPORT = Statement(
    sa.update(t.acp_session)
    .where(_OF_TASK)
    .values(executor=sa.bindparam("p_executor", type_=_s.executor.type), updated_at=P_NOW)
    .returning(*_s)
)
_ATTEMPTS = Statement(
    sa.update(t.task)
    .where(t.task.c.id == P_TASK)
    .values(policy=sa.bindparam("p_policy", type_=t.task.c.policy.type))
)
_TITLE = Statement(
    sa.update(t.acp_session)
    .where(_OF_TASK)
    .values(title=sa.bindparam("p_title", type_=sa.String()), updated_at=P_NOW)
)
_BEFORE = Statement(
    sa.select(sa.func.count().label("n")).where(
        t.task.c.tenant_id == access.TENANT,
        t.task.c.context_id == P_SESSION,
        t.task.c.submitter_id == sa.bindparam("p_owner", type_=Id()),
        t.task.c.id < P_TASK,
    )
)


@in_step
async def post_updates(tx: Tx, command: PostUpdates) -> Posted:
    """Keep what the agent said, as one event. A repeat is recognised by its replay key.

    Raises:
        NotFound, Forbidden, Conflict, InvalidTransition: as `lifecycle.touch`.
    """
    row = await touch(
        tx,
        command.task_id,
        who=Who.EXECUTOR,
        states=_WORKING,
        lease_id=command.lease_id,
        fence=Fence.OWN,
        doing="tell what the agent said",
    )
    tell(tx, row, "acp.update", {"task_id": str(row.id), "updates": [dict(u) for u in command.updates]})
    title = _title_in(command.updates)
    if title is not None:
        tx.add(_TITLE, p_owner=row.submitter_id, p_session=row.context_id, p_title=title[:500], p_now=tx.now)
    return Posted(row.version)


def _title_in(updates: Sequence[Mapping[str, Any]]) -> str | None:
    for said in reversed(updates):
        update = said.get("update", said)
        if isinstance(update, Mapping) and update.get("sessionUpdate") == "session_info_update":
            title = update.get("title")
            if isinstance(title, str) and title:
                return title
    return None


async def brief(tx: Tx, query: TurnLease) -> Brief:
    """What the turn's executor needs, the credentials of the client's MCP servers included.

    Raises:
        NotFound: no such task, or it is no turn of a session.
        Forbidden, Conflict: the lease is somebody else's, or has ended.
    """
    task, row = await _found(tx, query)
    own = row.executor if row.executor.get("agent_id") == str(task.agent_id) else {}
    parent = None
    if not own and row.parent_id is not None:
        parent = await tx.one(_PARENT, p_row_id=row.parent_id)
    forked = (
        {} if parent is None or parent.executor.get("agent_id") != str(task.agent_id) else parent.executor
    )
    before = await tx.one(_BEFORE, p_session=row.session_id, p_owner=row.owner_id, p_task_id=task.id)
    return Brief(
        session_id=row.session_id,
        cwd=row.cwd or "",
        additional_directories=row.additional_directories,
        autonomy=row.autonomy,
        config=row.config,
        mcp_servers=unsealed(tx, row),
        agent_session_id=own.get("session_id"),
        forked_from=forked.get("session_id"),
        turn=0 if before is None else before.n,
    )


async def report_session(tx: Tx, command: ReportSession) -> None:
    """Keep what the executor knows of its own session, for the turns to come, and for this one's retry.

    Raises:
        NotFound: no such task, or it is no turn of a session.
        Forbidden, Conflict: the lease is somebody else's, or has ended.
    """
    task, row = await _found(tx, TurnLease(command.task_id, command.lease_id))
    executor = {
        "agent_id": str(task.agent_id),
        "session_id": command.agent_session_id,
        "can_resume": command.can_resume,
        "config_options": [dict(option) for option in command.config_options],
        "modes": command.modes,
        "commands": [dict(offered) for offered in command.commands],
        "agent_info": command.agent_info,
    }
    attempts = RESUMED if command.can_resume else 1
    if task.policy["retry"]["max_attempts"] != attempts:
        # What the turn was asked with was known of another agent, or of none.
        retry = {**task.policy["retry"], "max_attempts": attempts}
        tx.add(_ATTEMPTS, p_task_id=task.id, p_policy={**task.policy, "retry": retry})
    if executor == row.executor:
        return
    changed = await tx.one(
        _REPORT, p_owner=row.owner_id, p_session=row.session_id, p_executor=executor, p_now=tx.now
    )
    assert changed is not None, "a session that was found in this transaction"
    announce(tx, changed, "acp.session_configured", {"option": None, "value": None})


async def _found(tx: Tx, lease: TurnLease) -> tuple[Row, Row]:
    task = await tx.one(_TASK, p_task_id=lease.task_id)
    if task is None:
        raise NotFound("no such task")
    await check_lease(tx, task, lease.lease_id)
    if task.lease_id != lease.lease_id:
        raise Conflict("the lease has ended", details={"reason_code": "lease_expired"})
    row = await tx.one(_SESSION, p_owner=task.submitter_id, p_session=task.context_id)
    if row is None:
        raise NotFound("this task is no turn of a session")
    return task, row
