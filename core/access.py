"""Who may see and change what, as SQL. The only place that knows.

A task is *readable* by its tenant's operators, by whoever submitted it, and by its participants: who holds or
once held an attempt of it, whose worker does, who is named in one of its approvals, and, for tasks of a
workflow, every agent and worker of the tenant. On the conversational faces (A2A, ACP, MCP tasks) only what
the caller's own principal submitted exists at all, for operators too; through an exposed agent, only what was
sent to that one. What follows a task (messages, artifacts, approvals, events) is readable when the task is.

Every clause names the binds `caller_tenant`, `caller_principal`, `caller_operator`, `caller_wide`,
`caller_exposure` and `caller_scope`, which the transaction fills in from its caller. No row means
`NotFound`: foreign and missing look alike.
"""

import sqlalchemy as sa

from core.store import tables as t
from core.store.types import Id

TENANT = sa.bindparam("caller_tenant", type_=Id())
ME = sa.bindparam("caller_principal", type_=Id())
OPERATOR = sa.bindparam("caller_operator", type_=sa.Boolean())
WIDE = sa.bindparam("caller_wide", type_=sa.Boolean())
EXPOSURE = sa.bindparam("caller_exposure", type_=Id())
SCOPE = sa.bindparam("caller_scope", type_=sa.String())


def yes(flag: sa.BindParameter[bool]) -> sa.ColumnElement[bool]:
    """The flag as a condition that both databases accept."""
    return flag == sa.true()


def addressed(task: sa.FromClause = t.task) -> sa.ColumnElement[bool]:
    """Whether the task was sent to the exposed agent through which the caller looks, if it is one."""
    return sa.or_(EXPOSURE.is_(None), task.c.exposure_id == EXPOSURE)


def readable(task: sa.FromClause = t.task) -> sa.ColumnElement[bool]:
    """Whether the caller may know that this row of `task` exists."""
    attempt, approval = t.attempt.alias("held"), t.approval.alias("named")
    decider = t.approval_decider.alias("named_in_policy")
    took_part = sa.or_(
        yes(OPERATOR),
        task.c.workflow_id.is_not(None),
        task.c.agent_id == ME,
        task.c.worker_id == ME,
        sa.exists().where(
            attempt.c.task_id == task.c.id, sa.or_(attempt.c.agent_id == ME, attempt.c.worker_id == ME)
        ),
        sa.exists().where(approval.c.task_id == task.c.id, approval.c.decider_id == ME),
        sa.exists().where(decider.c.task_id == task.c.id, _names_me(decider)),
    )
    return sa.and_(
        task.c.tenant_id == TENANT,
        addressed(task),
        sa.or_(task.c.submitter_id == ME, sa.and_(yes(WIDE), took_part)),
    )


def executing(task: sa.FromClause = t.task) -> sa.ColumnElement[bool]:
    """Whether the caller may act as the executor that the task names now. The lease is compared besides."""
    return sa.and_(
        task.c.tenant_id == TENANT,
        sa.or_(task.c.agent_id == ME, task.c.worker_id == ME, yes(OPERATOR)),
    )


def submitting(task: sa.FromClause = t.task) -> sa.ColumnElement[bool]:
    """Whether the caller may act for the submitter of the task: itself, or an operator."""
    return sa.and_(
        task.c.tenant_id == TENANT,
        addressed(task),
        sa.or_(task.c.submitter_id == ME, sa.and_(yes(WIDE), yes(OPERATOR))),
    )


def decides(task: sa.FromClause = t.task) -> sa.ColumnElement[bool]:
    """Whether the caller may decide a pending approval of the task. Whoever does the task decides nothing."""
    approval = t.approval.alias("open")
    return sa.and_(
        sa.or_(task.c.agent_id.is_(None), task.c.agent_id != ME),
        sa.or_(task.c.worker_id.is_(None), task.c.worker_id != ME),
        sa.exists().where(
            approval.c.task_id == task.c.id,
            approval.c.status == sa.literal_column("'pending'"),
            asked(approval, sa.or_(yes(OPERATOR), approval.c.decider_id == ME)),
        ),
    )


def asked(
    approval: sa.FromClause = t.approval, otherwise: sa.ColumnElement[bool] | None = None
) -> sa.ColumnElement[bool]:
    """Whether an approval is the caller's to decide by its policy, or where nobody is named by `otherwise`.

    Whoever has voted already is not asked again.
    """
    named, barred = t.approval_decider.alias("who_may"), t.approval_decider.alias("who_may_not")
    return sa.and_(
        sa.or_(
            sa.and_(
                sa.not_(approval.c.routed), approval.c.decider_id == ME if otherwise is None else otherwise
            ),
            sa.and_(
                approval.c.routed,
                sa.exists().where(named.c.approval_id == approval.c.id, _names_me(named)),
            ),
        ),
        ~sa.exists().where(
            barred.c.approval_id == approval.c.id, barred.c.barred, barred.c.principal_id == ME
        ),
    )


def _names_me(decider: sa.FromClause) -> sa.ColumnElement[bool]:
    """Whether a line of who may decide means the caller: by itself, its scope, or a role that it offers."""
    agent = t.agent.alias("by_role")
    tags = sa.cast(agent.c.routing_tags, sa.Text())
    return sa.or_(
        decider.c.principal_id == ME,
        decider.c.word == SCOPE,
        sa.exists().where(
            decider.c.word.is_not(None),
            agent.c.id == ME,
            sa.func.replace(tags, decider.c.word, "") != tags,
        ),
    )


def within_tenant(table: sa.FromClause) -> sa.ColumnElement[bool]:
    """Whether the row belongs to the caller's tenant."""
    return table.c.tenant_id == TENANT


def owned(table: sa.FromClause) -> sa.ColumnElement[bool]:
    """Whether the row is the caller's very own; operators own no more than others."""
    return sa.and_(table.c.tenant_id == TENANT, table.c.owner_id == ME)


def of_readable_task(table: sa.FromClause) -> sa.ColumnElement[bool]:
    """Whether the row follows a task that the caller may read."""
    task = t.task.alias("its_task")
    return sa.exists().where(task.c.id == table.c.task_id, readable(task))


def approval_readable(table: sa.FromClause) -> sa.ColumnElement[bool]:
    """Whether an approval is the caller's to see: of a task of its own, or of none and asked for by it."""
    decider = t.approval_decider.alias("named_apart")
    apart = sa.or_(
        yes(OPERATOR),
        table.c.requested_by == ME,
        sa.exists().where(decider.c.approval_id == table.c.id, _names_me(decider)),
    )
    return sa.or_(sa.and_(table.c.task_id.is_(None), apart), of_readable_task(table))
