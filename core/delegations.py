"""What became of a task that was given to a remote agent: the row that survives a restart, and its moves.

Before anything is sent the intent is written, and with every answer what it means for our task, in one
transaction under the task's lease. So whoever holds the task next knows what was sent, where it runs and what
was taken over. Nothing here calls the remote agent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.errors import Conflict, NotFound
from core.fencing import P_NOW, P_TASK, check_lease, fenced
from core.journal import tell
from core.lifecycle import Who, touch
from core.store import tables as t
from core.store.statement import Row, Statement
from core.store.tx import Tx
from core.store.types import Id
from core.transitions import Fence
from schemas.vocabulary import DelegationState, TaskState

S = DelegationState


class Move(StrEnum):
    """How a delegation changes its state."""

    SEND = "send"
    UNSEND = "unsend"
    ATTACH = "attach"
    ASK = "ask"
    SETTLE = "settle"
    LOSE = "lose"


@dataclass(frozen=True)
class Arc:
    """One move: where it leads, and from where."""

    target: DelegationState
    sources: frozenset[DelegationState]


OPEN: Final = frozenset({S.UNSENT, S.SENDING, S.ACTIVE, S.ASKED})
"""The others are final."""
MOVES: Final[Mapping[Move, Arc]] = MappingProxyType(
    {
        Move.SEND: Arc(S.SENDING, frozenset({S.UNSENT, S.SENDING})),
        Move.UNSEND: Arc(S.UNSENT, frozenset({S.SENDING})),
        Move.ATTACH: Arc(S.ACTIVE, frozenset({S.SENDING, S.ACTIVE, S.ASKED})),
        Move.ASK: Arc(S.ASKED, frozenset({S.ACTIVE, S.ASKED})),
        Move.SETTLE: Arc(S.DONE, OPEN),
        Move.LOSE: Arc(S.LOST, OPEN),
    }
)
"""Every move there is."""


@dataclass(frozen=True)
class Delegation:
    """Where a delegation stands."""

    id: UUID
    tenant_id: UUID
    task_id: UUID
    remote_agent_id: UUID
    attempt: int
    state: DelegationState
    context_id: str | None
    remote_task_id: str | None
    sent_n: int
    sending_n: int | None
    asked: Sequence[str]
    error: str | None

    @classmethod
    def of(cls, row: Row) -> "Delegation":
        """From its row."""
        return cls(
            row.id,
            row.tenant_id,
            row.task_id,
            row.remote_agent_id,
            row.attempt,
            DelegationState(row.state),
            row.context_id,
            row.remote_task_id,
            row.sent_n,
            row.sending_n,
            row.asked,
            row.error,
        )


@dataclass(frozen=True)
class Held:
    """A task that the remote agent's delegator holds, and the delegation of it."""

    task_id: UUID
    lease_id: UUID
    delegation_id: UUID


@dataclass(frozen=True)
class Begin:
    """Go on with what was begun for this task, or begin. `context_id`: what the conversation is called."""

    task_id: UUID
    lease_id: UUID
    remote_agent_id: UUID
    context_id: str


@dataclass(frozen=True)
class Sending(Held):
    """The history up to `n` is about to be sent."""

    n: int


@dataclass(frozen=True)
class Unsent(Held):
    """What was about to be sent has certainly not arrived."""


@dataclass(frozen=True)
class Attached(Held):
    """What was sent has arrived, and this is the remote agent's task for it."""

    remote_task_id: str
    context_id: str | None


@dataclass(frozen=True)
class Drop:
    """Nobody waits for it any more, or what is left of it cannot be known."""

    delegation_id: UUID
    lost: str | None = None
    """Why it cannot be known."""


@dataclass(frozen=True)
class LookAgain:
    """Leave it alone for some seconds."""

    delegation_id: UUID
    seconds: float


_d = t.delegation.c
P_DELEGATION = sa.bindparam("p_delegation_id", type_=Id())
_P_REMOTE = sa.bindparam("p_remote_id", type_=Id())
_INSERT = Statement(sa.insert(t.delegation))
_FIND = Statement(
    sa.select(*_d).where(
        _d.task_id == P_TASK, _d.remote_agent_id == _P_REMOTE, _d.state.in_(sorted(s.value for s in OPEN))
    )
)
_HELD = Statement(
    sa.select(*t.task.c)
    .where(t.task.c.id == P_TASK, access.executing(), *fenced(Fence.OWN, presented=True))
    .with_for_update(of=t.task)
)
_READ = Statement(sa.select(*t.task.c).where(t.task.c.id == P_TASK, access.readable()))
_ONE = Statement(sa.select(*_d).where(_d.id == P_DELEGATION, access.within_tenant(t.delegation)))


def _write(*columns: str) -> Statement:
    """Set columns of a delegation that is in one of the states a move starts from."""
    return Statement(
        sa.update(t.delegation)
        .where(
            _d.id == P_DELEGATION,
            access.within_tenant(t.delegation),
            _d.state.in_(sa.bindparam("p_states", expanding=True, type_=sa.String())),
        )
        .values(
            {
                "state": sa.bindparam("p_state", type_=sa.String()),
                "updated_at": P_NOW,
                **{name: sa.bindparam(f"p_{name}", type_=_d[name].type) for name in columns},
            }
        )
        .returning(*_d)
    )


_SHAPES: Final[Mapping[tuple[str, ...], Statement]] = MappingProxyType(
    {
        shape: _write(*shape)
        for shape in (
            (),
            ("attempt",),
            ("sending_n",),
            ("context_id", "remote_task_id", "sending_n", "sent_n"),
            ("asked", "look_at"),
            ("error",),
            ("look_at",),
        )
    }
)


async def begin(tx: Tx, command: Begin) -> Delegation:
    """The open delegation of a task to this agent, made if there is none.

    Raises:
        NotFound, Forbidden, Conflict: the task is not held under this lease.
    """
    row = await _held(tx, command.task_id, command.lease_id)
    known = await tx.one(_FIND, p_task_id=row.id, p_remote_id=command.remote_agent_id)
    if known is not None:
        return await _set(tx, known, S(known.state), attempt=row.attempt)
    made = Delegation(
        id=tx.new_id(),
        tenant_id=row.tenant_id,
        task_id=row.id,
        remote_agent_id=command.remote_agent_id,
        attempt=row.attempt,
        state=S.UNSENT,
        context_id=command.context_id,
        remote_task_id=None,
        sent_n=0,
        sending_n=None,
        asked=[],
        error=None,
    )
    columns = {name: getattr(made, name) for name in made.__dataclass_fields__}
    columns |= {"state": made.state.value, "look_at": None, "created_at": tx.now, "updated_at": tx.now}
    await tx.run(_INSERT, **columns)
    return made


async def sending(tx: Tx, command: Sending) -> Delegation:
    """Write down what is about to be sent, before it is. Raises as `mine`."""
    row = await mine(tx, command)
    target = S(row.state) if row.remote_task_id is not None else MOVES[Move.SEND].target
    return await _set(tx, row, target, sending_n=command.n)


async def unsent(tx: Tx, command: Unsent) -> Delegation:
    """Take back what was about to be sent. Raises as `mine`."""
    row = await mine(tx, command)
    target = S(row.state) if row.remote_task_id is not None else MOVES[Move.UNSEND].target
    return await _set(tx, row, target, sending_n=None)


async def attached(tx: Tx, command: Attached) -> Delegation:
    """Note that what was sent has arrived, and where it runs. Raises as `mine`."""
    row = await mine(tx, command)
    if row.remote_task_id is None:
        task = await touch(
            tx,
            command.task_id,
            who=Who.EXECUTOR,
            states=frozenset({TaskState.CLAIMED, TaskState.IN_PROGRESS}),
            lease_id=command.lease_id,
            fence=Fence.OWN,
            doing="delegate it",
        )
        data = {
            "task_id": str(task.id),
            "agent_id": str(row.remote_agent_id),
            "remote_task_id": command.remote_task_id,
            "remote_context_id": command.context_id,
        }
        tell(tx, task, "task.delegated", data)
    return await moved(
        tx,
        row,
        Move.ATTACH,
        remote_task_id=command.remote_task_id,
        context_id=command.context_id or row.context_id,
        sent_n=row.sent_n if row.sending_n is None else row.sending_n,
        sending_n=None,
    )


async def drop(tx: Tx, command: Drop) -> None:
    """End a delegation whose task has gone on without it. One that has ended is left as it is."""
    row = await tx.one(_ONE, p_delegation_id=command.delegation_id)
    if row is None or S(row.state) not in OPEN:
        return
    if command.lost is None:
        await moved(tx, row, Move.SETTLE)
    else:
        await moved(tx, row, Move.LOSE, error=command.lost)


async def look_again(tx: Tx, command: LookAgain) -> None:
    """Look at a delegation later."""
    row = await tx.one(_ONE, p_delegation_id=command.delegation_id)
    if row is not None and S(row.state) in OPEN:
        await _set(tx, row, S(row.state), look_at=tx.now + timedelta(seconds=command.seconds))


async def _held(tx: Tx, task_id: UUID, lease_id: UUID) -> Row:
    row = await tx.one(_HELD, p_task_id=task_id, p_lease_id=lease_id, p_now=tx.now)
    if row is not None:
        return row
    row = await tx.one(_READ, p_task_id=task_id)
    if row is None:
        raise NotFound("no such task")
    await check_lease(tx, row, lease_id)
    raise Conflict("the lease has ended", details={"reason_code": "lease_expired"})


async def mine(tx: Tx, command: Held) -> Row:
    """The delegation, while its task is held under the lease.

    Raises:
        NotFound, Forbidden, Conflict: it is not, or the delegation is over.
    """
    await _held(tx, command.task_id, command.lease_id)
    row = await tx.one(_ONE, p_delegation_id=command.delegation_id)
    if row is None or S(row.state) not in OPEN:
        raise Conflict("the delegation has ended", details={"reason_code": "delegation_over"})
    return row


async def moved(tx: Tx, row: Row, move: Move, **columns: Any) -> Delegation:
    """Make one move of `MOVES`.

    Raises:
        Conflict: the state does not allow it.
    """
    arc = MOVES[move]
    return await _set(tx, row, arc.target, arc.sources, **columns)


async def _set(
    tx: Tx,
    row: Row,
    target: DelegationState,
    sources: frozenset[DelegationState] | None = None,
    **columns: Any,
) -> Delegation:
    states = sorted(state.value for state in (frozenset({S(row.state)}) if sources is None else sources))
    params = {f"p_{name}": value for name, value in columns.items()}
    written = await tx.one(
        _SHAPES[tuple(sorted(columns))],
        p_delegation_id=row.id,
        p_now=tx.now,
        p_state=target.value,
        p_states=states,
        **params,
    )
    if written is None:
        raise Conflict(
            f"the delegation is {row.state}, which does not lead to {target.value}",
            details={"reason_code": "delegation_over"},
        )
    return Delegation.of(written)
