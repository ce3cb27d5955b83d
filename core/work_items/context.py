"""What an executor may want to know around a task, in one packet, as of one moment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.errors import NotFound
from core.fencing import P_TASK
from core.roles import Role, role_named
from core.store import tables as t
from core.store.statement import Row, Statement
from core.store.tables import work_items as i
from core.store.tables import workflows as w
from core.store.tx import Tx
from core.store.types import Id
from core.tasks.task import Task
from core.work_items.handoffs import Handoff, TaskId, predecessor_handoff
from core.work_items.read import WorkItemView, get_work_item
from core.work_items.records import WorkItemId
from core.workflows.records import Workflow, definition_of, workflow_row


@dataclass(frozen=True)
class ContextOf:
    """The context of a task, and of the agent that asks or is asked for."""

    task_id: UUID
    agent_id: UUID | None = None


@dataclass(frozen=True)
class Context:
    """What is around a task."""

    task: Task
    agent: Mapping[str, Any] | None
    workspace: Mapping[str, Any] | None
    workflow: Workflow | None
    stage: Mapping[str, Any] | None
    instructions: str | None
    item: WorkItemView | None
    role: Role | None
    predecessor: Handoff | None
    dependencies: Sequence[Task]
    subject: Task | None
    memory: Mapping[str, Any]


_READ = Statement(sa.select(*t.task.c).where(t.task.c.id == P_TASK, access.readable()))
_DEPENDENCIES = Statement(
    sa.select(*t.task.c)
    .join(t.dependency, t.dependency.c.after_id == t.task.c.id)
    .where(t.dependency.c.task_id == P_TASK, access.readable())
    .order_by(t.task.c.id)
)
_AGENT = Statement(
    sa.select(t.agent.c.id, t.agent.c.name, t.agent.c.routing_tags, t.agent.c.status).where(
        t.agent.c.id == sa.bindparam("p_agent_id", type_=Id()), access.within_tenant(t.agent)
    )
)
_WORKSPACE = Statement(
    sa.select(
        w.workspace.c.id,
        w.workspace.c.name,
        w.workspace.c.slug,
        w.workspace.c.description,
        w.workspace.c.repository_url,
        w.workspace.c.memory,
    ).where(w.workspace.c.id == sa.bindparam("p_workspace_id", type_=Id()), access.within_tenant(w.workspace))
)
_MEMORY = Statement(
    sa.select(i.memory_entry.c.key, i.memory_entry.c.value)
    .where(
        i.memory_entry.c.subject_id == sa.bindparam("p_subject_id", type_=Id()), i.memory_entry.c.is_current
    )
    .order_by(i.memory_entry.c.key)
)


async def context_of(tx: Tx, query: ContextOf) -> Context:
    """Everything around a task that its executor may want to know. Nothing secret is in it.

    Raises:
        NotFound: no such task, or not yours to see; or no such agent.
    """
    row = await tx.one(_READ, p_task_id=query.task_id)
    if row is None:
        raise NotFound("no such task")
    workflow, stage, instructions, item = None, None, None, None
    if row.workflow_id is not None:
        workflow = Workflow.of(await workflow_row(tx, row.workflow_id))
        definition = await definition_of(tx, row.workflow_id)
        instructions = definition.process_instructions
        declared = [found for found in definition.stages if found.name == row.stage_name]
        if declared:
            stage = {"name": declared[0].name, "goal": declared[0].goal, "guidance": declared[0].guidance}
    if row.workflow_id is not None and row.work_item_id is not None:
        item = await get_work_item(tx, WorkItemId(row.workflow_id, row.work_item_id))
    memory = await tx.all(_MEMORY, p_subject_id=row.work_item_id or row.id)
    return Context(
        task=Task.of(row),
        agent=await _agent(tx, query.agent_id),
        workspace=await _workspace(tx, row),
        workflow=workflow,
        stage=stage,
        instructions=instructions,
        item=item,
        role=None if row.role is None else await role_named(tx, row.role),
        predecessor=await predecessor_handoff(tx, TaskId(row.id)),
        dependencies=[Task.of(found) for found in await tx.all(_DEPENDENCIES, p_task_id=row.id)],
        subject=await _subject(tx, row),
        memory={entry.key: entry.value for entry in memory},
    )


async def _agent(tx: Tx, agent_id: UUID | None) -> Mapping[str, Any] | None:
    if agent_id is None:
        return None
    row = await tx.one(_AGENT, p_agent_id=agent_id)
    if row is None:
        raise NotFound("no such agent")
    return {"id": row.id, "name": row.name, "routing_tags": row.routing_tags, "status": row.status}


async def _workspace(tx: Tx, task: Row) -> Mapping[str, Any] | None:
    if task.workspace_id is None:
        return None
    row = await tx.one(_WORKSPACE, p_workspace_id=task.workspace_id)
    if row is None:
        return None
    names = ("id", "name", "slug", "description", "repository_url", "memory")
    return {name: getattr(row, name) for name in names}


async def _subject(tx: Tx, task: Row) -> Task | None:
    named = task.extras.get("subject_task_id")
    row = None if named is None else await tx.one(_READ, p_task_id=UUID(named))
    return None if row is None else Task.of(row)
