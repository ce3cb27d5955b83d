"""The token of a task: whoever executes it reaches the tools that the task was granted, and nothing else.

It is fetched by the claim handle that came with the lease, and dies with that lease, with the key that asked
for it, and when another attempt begins.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import sqlalchemy as sa

from core.caller import Caller
from core.errors import Conflict, Unprocessable
from core.fencing import P_LEASE, P_NOW, P_TASK
from core.journal import tell
from core.lifecycle import Who, touch
from core.principals import OwnerType
from core.store import tables as t
from core.store.statement import Statement
from core.store.tx import Tx
from core.store.types import Id
from core.transitions import FINAL, QUEUED, Fence
from schemas.vocabulary import Scope, TaskState

NO_KEY: Final = UUID(int=0)
"""The key of whoever needs none: the hub itself."""
_HANDLE: Final = "gateway:"


@dataclass(frozen=True)
class ClaimCredentials:
    """What the executor presents: the handle of its claim, and its lease."""

    task_id: UUID
    gateway_claim_handle: str
    lease_id: UUID | None = None


@dataclass(frozen=True)
class Holder:
    """Who holds a task now."""

    agent_id: UUID
    lease_id: UUID
    lease_expires_at: datetime


@dataclass(frozen=True)
class FindTaskToken:
    """What a task token says."""

    lease_id: UUID
    key_id: UUID


_UNTIL = Statement(sa.select(t.lease.c.until).where(t.lease.c.task_id == P_TASK))
_KEY = sa.bindparam("p_key_id", type_=Id())
_BEHIND = Statement(
    sa.select(t.task.c.id, t.task.c.tenant_id, t.task.c.agent_id)
    .select_from(
        t.attempt.join(t.task, t.task.c.id == t.attempt.c.task_id)
        .join(t.lease, sa.and_(t.lease.c.task_id == t.task.c.id, t.lease.c.lease_id == t.task.c.lease_id))
        .join(t.tenant, t.tenant.c.id == t.task.c.tenant_id)
    )
    .where(
        t.attempt.c.lease_id == P_LEASE,
        t.task.c.lease_id == P_LEASE,
        t.lease.c.until > P_NOW,
        t.tenant.c.is_active == sa.true(),
        sa.or_(
            sa.bindparam("p_no_key", type_=Id()) == _KEY,
            sa.exists().where(
                t.api_key.c.id == _KEY,
                t.api_key.c.revoked_at.is_(None),
                sa.or_(t.api_key.c.expires_at.is_(None), t.api_key.c.expires_at > P_NOW),
            ),
        ),
    )
)


def handle_of(lease_id: UUID) -> str:
    """The claim handle of a lease. It is a name: only whoever holds the lease can use it."""
    return f"{_HANDLE}{lease_id}"


async def claim_credentials(tx: Tx, command: ClaimCredentials) -> Holder:
    """Let the executor of a task have the token of it. Asking again gives another token for the same lease.

    Raises:
        Unprocessable: the handle is none of this lease.
        NotFound, Forbidden, Conflict, InvalidTransition: as `lifecycle.touch`.
    """
    lease_id = _lease_of(command)
    row = await touch(
        tx,
        command.task_id,
        who=Who.EXECUTOR,
        states=frozenset(TaskState) - FINAL - QUEUED,
        lease_id=lease_id,
        fence=Fence.OWN,
        doing="fetch its credentials",
    )
    lease = await tx.one(_UNTIL, p_task_id=row.id)
    if lease is None or row.agent_id is None:
        raise Conflict("the lease has ended", details={"reason_code": "lease_expired"})
    said = {"kind": "gateway", "agent_id": str(row.agent_id), "attempt": row.attempt}
    tell(tx, row, "task.credentials_claimed", said)
    return Holder(row.agent_id, lease_id, lease.until)


async def find_task_token(tx: Tx, command: FindTaskToken) -> Caller | None:
    """Whom the token of a lease makes its bearer; None once the lease has ended, or the key."""
    row = await tx.one(
        _BEHIND, p_lease_id=command.lease_id, p_key_id=command.key_id, p_no_key=NO_KEY, p_now=tx.now
    )
    if row is None:
        return None
    return Caller(
        row.agent_id,
        row.tenant_id,
        Scope.AGENT,
        OwnerType.AGENT.value,
        str(row.agent_id),
        key_id=command.key_id,
        task_id=row.id,
        lease_id=command.lease_id,
    )


def _lease_of(command: ClaimCredentials) -> UUID:
    try:
        lease_id = UUID(command.gateway_claim_handle.removeprefix(_HANDLE))
    except ValueError:
        lease_id = NO_KEY
    wrong = not command.gateway_claim_handle.startswith(_HANDLE) or lease_id == NO_KEY
    if wrong or command.lease_id not in (None, lease_id):
        raise Unprocessable(
            "no such claim handle", fields={"gateway_claim_handle": ["should be the one of this lease"]}
        )
    return lease_id
