"""Reading approvals: one, many, and waiting for a decision. `core/approvals.py` makes and decides them."""

from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.approvals import P_APPROVAL, Approval
from core.caller import Caller
from core.errors import NotFound
from core.platform import Platform
from core.store import tables as t
from core.store.statement import Statement
from core.store.tx import Tx
from core.tasks.read import Page
from schemas.vocabulary import ApprovalKind, ApprovalStatus

WAIT_STEP = 1.0
"""Seconds after which a waiting reader asks the database again, whatever the hints say."""


@dataclass(frozen=True)
class GetApproval:
    """Which approval."""

    approval_id: UUID


@dataclass(frozen=True)
class ListApprovals:
    """Filters are joined by AND; None means any. Newest first."""

    status: ApprovalStatus | None = None
    kind: ApprovalKind | None = None
    task_id: UUID | None = None
    workflow_id: UUID | None = None
    page: int = 1
    per_page: int = 20


def _readable() -> sa.ColumnElement[bool]:
    return sa.and_(
        access.within_tenant(t.approval),
        access.approval_readable(t.approval),
    )


_ONE = Statement(sa.select(t.approval).where(t.approval.c.id == P_APPROVAL, _readable()))


async def get_approval(tx: Tx, query: GetApproval) -> Approval:
    """One approval.

    Raises:
        NotFound: no such approval, or not yours to see.
    """
    row = await tx.one(_ONE, p_approval_id=query.approval_id)
    if row is None:
        raise NotFound("no such approval")
    return Approval.of(row)


async def list_approvals(tx: Tx, query: ListApprovals) -> Page[Approval]:
    """A page of the approvals that the caller may see."""
    c = t.approval.c
    wanted = [_readable()]
    if query.status is not None:
        wanted.append(c.status == query.status.value)
    if query.kind is not None:
        wanted.append(c.kind == query.kind.value)
    if query.task_id is not None:
        wanted.append(c.task_id == query.task_id)
    if query.workflow_id is not None:
        wanted.append(c.workflow_id == query.workflow_id)
    total = await tx.one(sa.select(sa.func.count().label("n")).select_from(t.approval).where(*wanted))
    rows = await tx.all(
        sa.select(*c)
        .where(*wanted)
        .order_by(c.id.desc())
        .limit(query.per_page)
        .offset((query.page - 1) * query.per_page)
    )
    return Page([Approval.of(row) for row in rows], 0 if total is None else total.n)


async def await_decision(
    platform: Platform, caller: Caller, approval_id: UUID, wait_seconds: float
) -> Approval:
    """The approval once it is decided; after `wait_seconds`, as it stands.

    Raises:
        NotFound: no such approval, or not yours to see.
    """
    deadline = platform.monotonic() + wait_seconds
    while True:
        with platform.hints.listen([f"approval:{approval_id}"]) as woken:
            approval = await platform.read(caller, get_approval, GetApproval(approval_id))
            left = deadline - platform.monotonic()
            if approval.status is not ApprovalStatus.PENDING or left <= 0:
                return approval
            await woken.wait(min(left, WAIT_STEP))
