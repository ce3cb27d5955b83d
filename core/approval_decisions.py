"""Deciding approvals: who may, what a vote comes to, and the move that hangs on a decision.

Votes on one approval are counted under the lock of its row, after that of its task, so that concurrent ones
neither get lost nor decide twice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from core import access
from core import approval_policy as policies
from core.approval_records import ACTIONS, ALLOWED_ACTIONS, Approval
from core.errors import Conflict, Forbidden, Invalid, NotFound
from core.fencing import P_NOW, P_TASK
from core.journal import tell
from core.lifecycle import Who, touch
from core.store import tables as t
from core.store.statement import Row, Statement
from core.store.tx import Tx
from core.store.types import Id, Json
from core.transitions import FINAL
from schemas.vocabulary import ApprovalKind, ApprovalStatus, TaskState


@dataclass(frozen=True)
class DecideApproval:
    """One of the options, or an action; and the answer that fills in the form. `remember` is kept with the
    decision."""

    approval_id: UUID
    option_id: str | None = None
    action: str | None = None
    feedback: str | None = None
    remember: bool = False
    data: Any = None


VOTED = 10_000
"""Where the rows begin by which whoever has voted is not asked again."""
TOOL_CALLS = "tool_calls"
"""The topic that is woken when a tool call may have got its leave."""
P_APPROVAL = sa.bindparam("p_approval_id", type_=Id())
_INSERT_DECIDER = Statement(sa.insert(t.approval_decider))
_ONE = Statement(
    sa.select(t.approval).where(
        t.approval.c.id == P_APPROVAL,
        access.within_tenant(t.approval),
        access.approval_readable(t.approval),
    )
)
_LOCKED = Statement(sa.select(t.approval).where(t.approval.c.id == P_APPROVAL).with_for_update())
_DECIDE = Statement(
    sa.update(t.approval)
    .where(t.approval.c.id == P_APPROVAL, t.approval.c.status == sa.literal_column("'pending'"))
    .values(
        status=sa.bindparam("p_status", type_=sa.String()),
        option_id=sa.bindparam("p_option_id", type_=sa.String()),
        feedback=sa.bindparam("p_feedback", type_=sa.String()),
        remember=sa.bindparam("p_remember", type_=sa.Boolean()),
        answer=sa.bindparam("p_answer", type_=Json()),
        votes=sa.bindparam("p_votes", type_=Json()),
        decided_by=access.ME,
        decided_via=sa.bindparam("p_via", type_=sa.String()),
        decided_at=P_NOW,
        updated_at=P_NOW,
    )
    .returning(*t.approval.c)
)
_VOTE = Statement(
    sa.update(t.approval)
    .where(t.approval.c.id == P_APPROVAL)
    .values(votes=sa.bindparam("p_votes", type_=Json()), updated_at=P_NOW)
    .returning(*t.approval.c)
)
_ROLES = Statement(sa.select(t.agent.c.routing_tags).where(t.agent.c.id == access.ME))
_TASK = Statement(sa.select(*t.task.c).where(t.task.c.id == P_TASK).with_for_update())


def tell_apart(tx: Tx, kind: str, approval: Approval, more: Mapping[str, Any] = MappingProxyType({})) -> None:
    tx.event(
        kind,
        entity_type="approval",
        entity_id=approval.id,
        workflow_id=approval.workflow_id,
        submitter_id=approval.requested_by,
        data={**approval.said, **more},
    )


async def decide(tx: Tx, command: DecideApproval) -> Approval:
    """Decide an approval, and make the task's move that hangs on it, in one transaction. Where a quorum was
    declared it is a vote, and the one that makes it full decides; the same vote again changes nothing.

    Raises:
        NotFound: no such approval, or not yours to see.
        Forbidden: not yours to decide.
        Conflict: it was decided before, and the first decision stands; or you said something else before.
        Invalid: no such option or action.
        Unprocessable: the answer does not fit the form.
    """
    row = await tx.one(_ONE, p_approval_id=command.approval_id)
    if row is None:
        raise NotFound("no such approval")
    task = None if row.task_id is None else await tx.one(_TASK, p_task_id=row.task_id)
    if row.policy:  # votes are counted one after the other
        row = await tx.one(_LOCKED, p_approval_id=row.id)
        assert row is not None, "approvals are kept as long as their task, which is locked"
    approval = Approval.of(row)
    status, option_id = _choice(approval, command)
    if (cast := _cast_before(tx, approval)) is not None:
        if approval.status is ApprovalStatus.PENDING and cast == (status.value, option_id):
            return approval
        raise _decided(approval) if approval.status is not ApprovalStatus.PENDING else _voted()
    await _may_decide(tx, approval, task)
    policies.check_answer(approval.policy, command.data, status is ApprovalStatus.APPROVED)
    vote = Vote(status, option_id, command.feedback, command.data, command.remember, tx.caller.face)
    if not approval.policy:
        return await _settle(tx, approval, task, vote, approval.votes)
    if approval.kind is ApprovalKind.GATE and status is not ApprovalStatus.APPROVED and not vote.feedback:
        raise Invalid("anything but an approval needs feedback", details={"field": "feedback"})
    votes = [*approval.votes, vote.kept(tx)]
    final = policies.outcome(approval.policy, votes)
    if final is None:
        return await _note(tx, approval, task, votes)
    if final is not status:
        why = "no decision can reach the quorum any more"
        vote = Vote(final, _option_of(approval, "reject"), why, None, False, tx.caller.face)
    return await _settle(tx, approval, task, vote, votes)


@dataclass(frozen=True)
class Vote:
    """What one principal says."""

    status: ApprovalStatus
    option_id: str | None
    feedback: str | None
    answer: Any
    remember: bool
    via: str

    def kept(self, tx: Tx) -> dict[str, Any]:
        """As it is kept with the approval."""
        return {
            "principal_id": str(tx.caller.principal_id),
            "status": self.status.value,
            "option_id": self.option_id,
            "feedback": self.feedback,
            "data": self.answer,
            "via": self.via,
            "at": tx.now.isoformat(),
        }


async def decide_by_default(tx: Tx, approval_id: UUID) -> bool:
    """Decide an approval whose deadline is over as its policy declared.

    False when it declared nothing, or was decided in time.
    """
    row = await tx.one(_ONE, p_approval_id=approval_id)
    if row is None or not row.policy.get("default"):
        return False
    task = None if row.task_id is None else await tx.one(_TASK, p_task_id=row.task_id)
    row = await tx.one(_LOCKED, p_approval_id=approval_id)
    if row is None or row.status != ApprovalStatus.PENDING or row.expires_at > tx.now:
        return False
    approval, default = Approval.of(row), row.policy["default"]
    known = any(option["id"] == default for option in approval.options)
    action = default if default in ("approve", "reject") else "reject"
    command = DecideApproval(approval.id, *((default, None) if known else (None, action)))
    status, option_id = _choice(approval, command)
    vote = Vote(status, option_id, "nobody decided in time", None, False, "deadline")
    await _settle(tx, approval, task, vote, approval.votes)
    return True


async def _settle(
    tx: Tx, approval: Approval, task: Row | None, vote: Vote, votes: Sequence[Mapping[str, Any]]
) -> Approval:
    decided = await tx.one(
        _DECIDE,
        p_approval_id=approval.id,
        p_status=vote.status.value,
        p_option_id=vote.option_id,
        p_feedback=vote.feedback,
        p_remember=vote.remember,
        p_answer=vote.answer,
        p_votes=list(votes),
        p_via=vote.via,
        p_now=tx.now,
    )
    if decided is None:
        raise _decided(approval)
    approval = Approval.of(decided)
    if task is not None and TaskState(task.state) not in FINAL:
        await _tell_of(tx, task, "approval.decided", approval)
        if approval.kind in (ApprovalKind.START, ApprovalKind.OUTPUT):
            from core.tasks.review import judge  # it decides approvals in turn

            await judge(tx, task, approval)
        tx.wake(f"task:{task.id}")
    if task is None:
        tell_apart(tx, "approval.decided", approval)
    if approval.kind is ApprovalKind.GATE:
        from core.workflows.gates import judge_gate  # it decides by these very rows

        await judge_gate(tx, approval)
    tx.wake(f"approval:{approval.id}")
    if approval.kind is ApprovalKind.TOOL_CALL:
        tx.wake(TOOL_CALLS)
    return approval


async def _note(tx: Tx, approval: Approval, task: Row | None, votes: Sequence[Mapping[str, Any]]) -> Approval:
    """Keep a vote that does not decide yet. Whoever gave it is not asked again."""
    row = await tx.one(_VOTE, p_approval_id=approval.id, p_votes=list(votes), p_now=tx.now)
    assert row is not None, "it is locked"
    noted = Approval.of(row)
    tx.add(
        _INSERT_DECIDER,
        approval_id=noted.id,
        n=VOTED + len(votes),
        task_id=noted.task_id,
        **vars(policies.Named(tx.caller.principal_id, None, barred=True)),
    )
    if task is not None and TaskState(task.state) not in FINAL:
        await _tell_of(tx, task, "approval.voted", noted, {"vote": votes[-1]})
        tx.wake(f"task:{task.id}")
    if task is None:
        tell_apart(tx, "approval.voted", noted, {"vote": votes[-1]})
    return noted


def _cast_before(tx: Tx, approval: Approval) -> tuple[str, str | None] | None:
    for vote in approval.votes:
        if vote["principal_id"] == str(tx.caller.principal_id):
            return vote["status"], vote["option_id"]
    return None


def _voted() -> Conflict:
    return Conflict("you have said something else before", details={"reason_code": "already_voted"})


async def _tell_of(
    tx: Tx, task: Row, kind: str, approval: Approval, more: Mapping[str, Any] = MappingProxyType({})
) -> None:
    row = await touch(
        tx, task.id, who=Who.SYSTEM, states=frozenset(TaskState) - FINAL, doing="decide an approval"
    )
    tell(tx, row, kind, {**approval.said, **more})


async def _may_decide(tx: Tx, approval: Approval, task: Row | None) -> None:
    me = tx.caller.principal_id
    if task is not None and task.lease_id is not None and me in (task.agent_id, task.worker_id):
        raise Forbidden("whoever does the task does not decide about it")
    if approval.kind is ApprovalKind.OUTPUT and task is not None and me in (task.agent_id, task.worker_id):
        raise Forbidden("whoever made the output does not judge it")
    if approval.kind is ApprovalKind.TOOL_CALL and me == approval.requested_by:
        raise Forbidden("whoever asked for a call does not allow it")
    if str(me) in approval.policy.get("barred", ()):
        raise Forbidden(
            "whoever asked for this or gave the work does not decide it",
            details={"reason_code": "separation_of_duties"},
        )
    roles: frozenset[str] = frozenset()
    if approval.policy.get("deciders", {}).get("roles") and (agent := await tx.one(_ROLES)) is not None:
        tags = [tag for tag in agent.routing_tags if tag.startswith("role:")]
        roles = frozenset(tag.removeprefix("role:") for tag in tags)
    if not policies.open_to(approval.policy, approval.decider_id, (), tx.caller, roles):
        raise Forbidden("this approval is not yours to decide", details={"reason_code": "not_a_decider"})
    if approval.status is not ApprovalStatus.PENDING:
        raise _decided(approval)


def _decided(approval: Approval) -> Conflict:
    return Conflict(
        f"the approval is {approval.status.value} already",
        details={"reason_code": "already_decided", "status": approval.status.value},
    )


def _choice(approval: Approval, command: DecideApproval) -> tuple[ApprovalStatus, str | None]:
    if command.option_id is not None:
        for option in approval.options:
            if option["id"] == command.option_id:
                allowed = str(option.get("kind", "")).startswith("allow")
                return (ApprovalStatus.APPROVED if allowed else ApprovalStatus.REJECTED), command.option_id
        raise Invalid(
            "no such option", details={"field": "option_id", "options": [o["id"] for o in approval.options]}
        )
    if command.action not in ALLOWED_ACTIONS[approval.kind]:
        raise Invalid(
            "no such action for this kind of approval",
            details={"field": "action", "actions": sorted(ALLOWED_ACTIONS[approval.kind])},
        )
    return ACTIONS[command.action], _option_of(approval, command.action)


def _option_of(approval: Approval, action: str) -> str | None:
    wanted = {"approve": "allow", "reject": "reject"}.get(action)
    for option in approval.options:
        if wanted and str(option.get("kind", "")).startswith(wanted):
            return str(option["id"])
    return None
