"""Tasks: create, read, change, count. Doing them is `execution`, judging them `review`."""

import asyncio
from collections.abc import Mapping
from typing import Any

from core.errors import HubError
from core.tasks import read, submit
from core.tasks.task import Policy, RetryPolicy, Task
from hub.api import rendering
from hub.api.batch import accepted, refused, settled
from hub.api.call import Call, Reply
from hub.api.routing import MIB, route
from schemas.v1 import execution as v1_execution
from schemas.v1 import tasks as v1
from schemas.v1.envelope import ItemError, PageMeta
from schemas.vocabulary import Scope

_EXAMPLE: Mapping[str, Any] = {
    "title": "Summarise the report",
    "input": {"text": "Three sentences, please."},
    "required_tags": ["writing"],
    "priority": "high",
}
_EXTRAS = (
    "task_kind",
    "activation_id",
    "execution_backend",
    "subject_task_id",
    "subject_work_item_id",
    "subject_handoff_id",
    "subject_revision",
    "assessment_prompt",
    "role_config",
    "environment",
    "resource_bindings",
    "token_budget",
    "cost_cap_usd",
    "auto_retry",
    "max_retries",
    "max_iterations",
    "llm_max_retries",
)
"""Fields that core carries for executors and never reads."""


def command_of(body: v1.TaskFields, request_id: str | None) -> submit.SubmitTask:
    """The command that a new task's fields say."""
    extras = {name: value for name in _EXTRAS if (value := getattr(body, name)) is not None}
    if request_id is not None:
        extras["request_id"] = request_id
    return submit.SubmitTask(
        title=body.title,
        input=body.input,
        parts=body.parts,
        description=body.description,
        type=body.type,
        priority=body.priority,
        role=body.role,
        stage_name=body.stage_name,
        context_id=body.context_id,
        context=body.context,
        metadata=body.metadata,
        extras={name: str(value) if name.endswith("_id") else value for name, value in extras.items()},
        depends_on=body.depends_on,
        required_tags=body.required_tags,
        required_tools=body.required_tools,
        preferred_agent_id=body.preferred_agent_id,
        policy=_policy(body),
        parent_id=body.parent_id,
        workflow_id=body.workflow_id,
        work_item_id=body.work_item_id,
        workspace_id=body.workspace_id,
        external_id=body.external_id,
        ready_at=body.ready_at,
        orchestrator=body.is_orchestrator_task,
    )


def _policy(body: v1.TaskFields) -> Policy:
    retry = RetryPolicy()
    wanted = body.retry_policy
    if wanted is None and body.auto_retry:
        attempts = 3 if body.max_retries is None else body.max_retries + 1
        wanted = v1.RetryPolicy(max_attempts=attempts)
    if wanted is not None:
        retry = RetryPolicy(
            wanted.max_attempts,
            wanted.backoff_strategy,
            wanted.initial_backoff_seconds,
            tuple(wanted.retryable_categories),
        )
    return Policy(
        retry=retry,
        on_dependency_failure=body.on_dependency_failure,
        requires_approval=body.requires_approval,
        approval=None if body.approval_policy is None else body.approval_policy.model_dump(mode="json"),
        output_schema=body.output_schema,
        timeout_seconds=None if body.timeout_minutes is None else body.timeout_minutes * 60,
    )


@route(
    "POST",
    "/tasks",
    scope=Scope.AGENT,
    body=v1.TaskCreate,
    returns=v1.Task,
    status=201,
    also={200: "An earlier call with this replay key made it."},
    errors=(404, 409),
    summary="Submit a task",
    operation_id="tasks_create",
    example=_EXAMPLE,
)
async def create_task(call: Call, body: v1.TaskCreate) -> Reply:
    """Acknowledged means kept: when this answers, the task is on disk, and it will end."""
    task = await call.write(submit.submit, command_of(body, call.caller.replay_key))
    return Reply(rendering.task(task), status=200 if call.replayed else 201)


@route(
    "GET",
    "/tasks",
    scope=Scope.AGENT,
    query=v1.TaskQuery,
    returns=list[v1.Task],
    meta=PageMeta,
    summary="List tasks",
    operation_id="tasks_list",
)
async def list_tasks(call: Call, query: v1.TaskQuery) -> Reply:
    """The tasks that the caller may see, newest first. The total is counted up to 10,000."""
    steering = _steering(query)
    if query.is_orchestrator_task not in (None, steering):
        return Reply([], rendering.page(0, query.page, query.per_page))
    found = await call.read(
        read.list_tasks,
        read.ListTasks(
            states=() if query.state is None else (query.state,),
            context_id=query.context_id,
            face=query.origin,
            workspace_id=query.workspace_id,
            workflow_id=query.workflow_id,
            work_item_id=query.work_item_id,
            assigned_agent_id=query.assigned_agent_id,
            parent_id=query.parent_id,
            stage_name=query.stage_name,
            orchestrator=steering,
            before=query.before,
            page=query.page,
            per_page=query.per_page,
        ),
    )
    meta = rendering.page(found.total, query.page, query.per_page)
    return Reply([rendering.task(task) for task in found.items], meta)


def _steering(query: v1.TaskQuery) -> bool | None:
    if query.execution_backend is None:
        return query.is_orchestrator_task
    return query.execution_backend == "runtime_only"


@route(
    "GET",
    "/tasks/{id}",
    scope=Scope.AGENT,
    returns=v1.Task,
    errors=(404,),
    summary="Read a task",
    operation_id="tasks_get",
)
async def get_task(call: Call) -> Reply:
    """The task as it stands."""
    return Reply(rendering.task(await call.read(read.get_task, read.GetTask(call.id))))


@route(
    "PATCH",
    "/tasks/{id}",
    scope=Scope.WORKER,
    body=v1.TaskPatch,
    returns=v1.Task,
    errors=(404, 409),
    summary="Change what describes a task",
    operation_id="tasks_update",
    example={"priority": "critical"},
)
async def update_task(call: Call, body: v1.TaskPatch) -> Reply:
    """States are not changed here but by their own routes."""
    task = await call.write(
        read.patch_task,
        read.PatchTask(
            call.id,
            title=body.title,
            description=body.description,
            priority=body.priority,
            timeout_seconds=None if body.timeout_minutes is None else body.timeout_minutes * 60,
            metadata=body.metadata,
            parent_id=body.parent_id,
        ),
    )
    return Reply(rendering.task(task))


@route(
    "POST",
    "/tasks/batch",
    scope=Scope.AGENT,
    body=v1_execution.TaskBatch,
    returns=list[v1_execution.TaskItem | ItemError],
    max_bytes=10 * MIB,
    summary="Submit many tasks",
    operation_id="tasks_create_batch",
    example={"tasks": [{"title": "First"}, {"title": "Second"}]},
)
async def create_tasks(call: Call, body: v1_execution.TaskBatch) -> Reply:
    """Each is accepted or refused by itself, and answered in its place. With a replay key, once."""

    async def one(position: int, fields: v1.TaskCreate) -> tuple[Any, bool]:
        caller = call.keyed(str(position), fields.request_id)
        command = command_of(fields, fields.request_id)
        try:
            made = await call.platform.write_once(caller, submit.submit, command)
        except HubError as error:
            return refused(error), False
        task: Task = made.result
        return accepted(rendering.task(task)), made.replayed

    return settled(call, await asyncio.gather(*(one(n, fields) for n, fields in enumerate(body.tasks))))


@route(
    "GET",
    "/tasks/queue-depth",
    scope=Scope.WORKER,
    query=v1.DepthQuery,
    returns=v1.QueueDepth,
    summary="Count waiting work",
    operation_id="tasks_queue_depth",
)
async def queue_depth(call: Call, query: v1.DepthQuery) -> Reply:
    """How many tasks could be claimed now, by priority and by the tags they ask for."""
    depth = await call.read(read.queue_depth, read.QueueDepth(query.workflow_id))
    data: v1.QueueDepth = {
        "ready": depth.total,
        "by_priority": depth.by_priority,
        "by_tags": [{"required_tags": list(tags), "ready": count} for tags, count in depth.by_tags],
    }
    return Reply(data)
