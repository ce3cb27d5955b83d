"""What an assessment is about, and who may set one up: its outcome moves somebody's task."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.errors import Forbidden, Invalid
from core.fencing import P_TASK
from core.store import tables as t
from core.store.statement import Row, Statement
from core.store.tx import Tx
from core.transitions import LEASED
from core.workflows.records import P_WORKFLOW
from schemas.vocabulary import Scope

_SUBJECT = Statement(sa.select(*t.task.c).where(t.task.c.id == P_TASK, access.readable()))
_STEERS = Statement(
    sa.select(t.task.c.id)
    .join(t.route, t.route.c.id == t.task.c.general_route_id)
    .where(
        t.task.c.workflow_id == P_WORKFLOW,
        sa.or_(t.task.c.agent_id == access.ME, t.task.c.worker_id == access.ME),
        t.task.c.state.in_([sa.literal_column(str(int(state))) for state in sorted(LEASED)]),
        t.route.c.key.like('%,"orchestrator"]'),
    )
    .limit(sa.literal_column("1"))
)


async def check_subject(tx: Tx, extras: Mapping[str, Any], workflow_id: UUID | None) -> None:
    """Accept what a new assessment or approval task is about. Other tasks need no subject.

    Raises:
        Invalid: the subject is missing, unknown or of another workflow.
        Forbidden: the caller may neither operate the subject, nor submitted it, nor steers its workflow.
    """
    kind = extras.get("task_kind")
    if kind not in ("assessment", "approval"):
        return
    named = [
        name for name in ("subject_task_id", "subject_work_item_id", "subject_handoff_id") if extras.get(name)
    ]
    if not named or (kind == "assessment" and "subject_task_id" not in named):
        wanted = "subject_task_id" if kind == "assessment" else "a subject"
        raise Invalid(f"a task of the kind {kind} needs {wanted}", details={"field": "subject_task_id"})
    if extras.get("subject_revision") is None:
        raise Invalid(
            f"a task of the kind {kind} needs subject_revision", details={"field": "subject_revision"}
        )
    if kind != "assessment":
        return
    subject = await tx.one(_SUBJECT, p_task_id=UUID(extras["subject_task_id"]))
    if subject is None or (workflow_id is not None and subject.workflow_id != workflow_id):
        raise Invalid(
            "subject_task_id names no task that this one could assess", details={"field": "subject_task_id"}
        )
    if not await _may_judge(tx, subject):
        raise Forbidden("an assessment is set up by whoever submitted its subject, or operates it")


async def _may_judge(tx: Tx, subject: Row) -> bool:
    caller = tx.caller
    if subject.submitter_id == caller.principal_id or caller.scope.includes(Scope.WORKER):
        return True
    if subject.workflow_id is None:
        return False
    return await tx.one(_STEERS, p_workflow_id=subject.workflow_id) is not None
