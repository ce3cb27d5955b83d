"""Workflows: made, listed, held, stopped, made again. What belongs to one is in `workflow_parts`."""

import asyncio
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from core.errors import HubError
from core.workflows import control, create, read, removing
from core.workflows.records import WorkflowId
from hub.api import rendering
from hub.api import workflow_rendering as render
from hub.api.call import Call, Reply
from hub.api.routing import route
from schemas.v1 import workflow_records as records
from schemas.v1 import workflows as v1
from schemas.v1.envelope import PageMeta
from schemas.v1.workspaces import Deleted
from schemas.vocabulary import Scope

_EXAMPLE: Mapping[str, Any] = {
    "playbook_id": "0197a3c2-8b1e-7c44-9d3a-2f6b1c0d4e5f",
    "workspace_id": "0197a3c2-8b1e-7c44-9d3a-2f6b1c0d4e60",
    "name": "Answer Ada",
    "parameters": {"question": "Why is the sky blue?"},
}
_AT_ONCE = 16
"""Workflows that a bulk deletion removes at a time."""


@route(
    "POST",
    "/workflows",
    scope=Scope.ADMIN,
    body=v1.WorkflowCreate,
    returns=records.WorkflowDetail,
    status=201,
    errors=(404, 409),
    summary="Start a workflow",
    operation_id="workflows_create",
    example=_EXAMPLE,
)
async def create_workflow(call: Call, body: v1.WorkflowCreate) -> Reply:
    """When this answers, its first tasks can be claimed, and it goes on by itself from there."""
    kept = {"config_overrides": body.config_overrides, "instruction_config": body.instruction_config}
    command = create.CreateWorkflow(
        playbook_id=body.playbook_id,
        workspace_id=body.workspace_id,
        name=body.name,
        parameters=body.parameters,
        inputs=inputs_of(body.initial_input_packet),
        metadata={**body.metadata, **{name: value for name, value in kept.items() if value is not None}},
        context=body.context,
        operator_note=body.operator_note,
        budget=body.budget.model_dump(exclude_none=True),
        live_visibility_mode=body.live_visibility_mode,
        failure_policy=body.on_task_failure,
    )
    made = await call.write(create.create_workflow, command)
    return await _detail(call, made.id)


@route(
    "GET",
    "/workflows",
    scope=Scope.AGENT,
    query=v1.WorkflowQuery,
    returns=list[records.Workflow],
    meta=PageMeta,
    summary="List workflows",
    operation_id="workflows_list",
)
async def list_workflows(call: Call, query: v1.WorkflowQuery) -> Reply:
    """The tenant's workflows, newest first. The total is counted up to 10,000."""
    wanted = read.ListWorkflows(
        query.workspace_id,
        query.state,
        query.playbook_id,
        query.parent_workflow_id,
        query.before,
        query.page,
        query.per_page,
    )
    found = await call.read(read.list_workflows, wanted)
    meta = rendering.page(found.total, query.page, query.per_page)
    return Reply([render.workflow(item) for item in found.items], meta)


@route(
    "GET",
    "/workflows/{id}",
    scope=Scope.AGENT,
    returns=records.WorkflowDetail,
    errors=(404,),
    summary="Read a workflow",
    operation_id="workflows_get",
)
async def get_workflow(call: Call) -> Reply:
    """With its stages, its newest tasks and its activations, as of one moment."""
    return await _detail(call, call.id)


@route(
    "POST",
    "/workflows/{id}/pause",
    scope=Scope.ADMIN,
    body=v1.PauseRequest,
    returns=records.Workflow,
    errors=(404, 409),
    summary="Hold a workflow",
    operation_id="workflows_pause",
    example={"mode": "drain"},
)
async def pause_workflow(call: Call, body: v1.PauseRequest) -> Reply:
    """Nothing new begins. What is being done is finished, or with `interrupt` taken back and done again."""
    return Reply(render.workflow(await call.write(control.pause, control.Pause(call.id, body.mode))))


@route(
    "POST",
    "/workflows/{id}/resume",
    scope=Scope.ADMIN,
    body=v1.ResumeRequest,
    returns=records.Workflow,
    errors=(404, 409),
    summary="Let a workflow go on",
    operation_id="workflows_resume",
    example={},
)
async def resume_workflow(call: Call, body: v1.ResumeRequest) -> Reply:
    """What was held can be claimed again, and what ended meanwhile is followed up."""
    return Reply(render.workflow(await call.write(control.resume, control.Resume(call.id))))


@route(
    "POST",
    "/workflows/{id}/cancel",
    scope=Scope.ADMIN,
    body=v1.WorkflowCancel,
    returns=records.Workflow,
    errors=(404, 409),
    summary="Stop a workflow",
    operation_id="workflows_cancel",
    example={"reason": "The question was withdrawn."},
)
async def cancel_workflow(call: Call, body: v1.WorkflowCancel) -> Reply:
    """Its tasks are cancelled and their executors told, its gates closed. Repeating it changes nothing."""
    return Reply(render.workflow(await call.write(control.cancel, control.Cancel(call.id, body.reason))))


@route(
    "POST",
    "/workflows/{id}/redrives",
    scope=Scope.ADMIN,
    body=v1.RedriveRequest,
    returns=records.WorkflowDetail,
    status=201,
    errors=(404, 409),
    summary="Try a workflow again",
    operation_id="workflows_redrive",
    example={"reason": "The service is back.", "inheritance_policy": "inherit_all"},
)
async def redrive_workflow(call: Call, body: v1.RedriveRequest) -> Reply:
    """A new attempt of one that is over, from the same version of its playbook. With `inherit_all` what was
    completed counts and is not done again."""
    said = {
        "summary": body.summary,
        "steering_instruction": body.steering_instruction,
        "files": None if body.files is None else [file.model_dump(exclude_none=True) for file in body.files],
    }
    inputs = {**(body.structured_inputs or {}), **{k: v for k, v in said.items() if v is not None}}
    command = create.Redrive(
        call.id,
        body.name,
        body.reason,
        body.inheritance_policy == "inherit_all",
        body.parameters,
        inputs or None,
    )
    made = await call.write(create.redrive, command)
    return await _detail(call, made.id)


@route(
    "POST",
    "/workflows/{id}/chain",
    scope=Scope.ADMIN,
    body=v1.ChainRequest,
    returns=records.WorkflowDetail,
    status=201,
    errors=(404, 409),
    summary="Start a child of a workflow",
    operation_id="workflows_chain",
    example={"playbook_id": "0197a3c2-8b1e-7c44-9d3a-2f6b1c0d4e5f", "name": "Translate the answer"},
)
async def chain_workflow(call: Call, body: v1.ChainRequest) -> Reply:
    """In the same workspace. When the child is over, the parent gets an activation."""
    command = create.Chain(call.id, body.playbook_id, body.name, body.parameters)
    made = await call.write(create.chain, command)
    return await _detail(call, made.id)


@route(
    "DELETE",
    "/workflows/{id}",
    scope=Scope.ADMIN,
    returns=Deleted,
    errors=(404, 409),
    summary="Remove a workflow",
    operation_id="workflows_delete",
)
async def delete_workflow(call: Call) -> Reply:
    """Only one that is over, with its tasks and all that belongs to it. The event log stays."""
    gone = await call.write(removing.remove_workflow, WorkflowId(call.id))
    return Reply(Deleted(id=gone.workflow_id, deleted=True))


@route(
    "POST",
    "/workflows/bulk-delete",
    scope=Scope.ADMIN,
    body=v1.BulkDelete,
    returns=records.BulkDeleted,
    summary="Remove many workflows",
    operation_id="workflows_bulk_delete",
    example={"workflow_ids": ["0197a3c2-8b1e-7c44-9d3a-2f6b1c0d4e5f"]},
)
async def bulk_delete(call: Call, body: v1.BulkDelete) -> Reply:
    """Each by itself: those that go on, or do not exist, stay and are told."""
    places = asyncio.Semaphore(_AT_ONCE)

    async def one(workflow_id: UUID) -> records.BulkResult:
        caller = call.keyed(str(workflow_id))
        try:
            async with places:
                await call.platform.write(caller, removing.remove_workflow, WorkflowId(workflow_id))
        except HubError as error:
            return {"id": workflow_id, "deleted": False, "reason": error.message}
        return {"id": workflow_id, "deleted": True, "reason": None}

    results = await asyncio.gather(*(one(workflow_id) for workflow_id in dict.fromkeys(body.workflow_ids)))
    gone = sum(result["deleted"] for result in results)
    data: records.BulkDeleted = {"deleted": gone, "failed": len(results) - gone, "results": results}
    return Reply(data)


@route(
    "GET",
    "/workflows/{id}/settings",
    scope=Scope.AGENT,
    returns=records.WorkflowSettings,
    errors=(404,),
    summary="Read a workflow's settings",
    operation_id="workflows_settings",
)
async def get_settings(call: Call) -> Reply:
    """The revision is needed to change them."""
    return Reply(_settings(await call.read(read.get_workflow, WorkflowId(call.id))))


@route(
    "PATCH",
    "/workflows/{id}/settings",
    scope=Scope.ADMIN,
    body=v1.SettingsPatch,
    returns=records.WorkflowSettings,
    errors=(404, 409),
    summary="Change a workflow's settings",
    operation_id="workflows_update_settings",
    example={"settings_revision": 1, "live_visibility_mode": "enhanced"},
)
async def patch_settings(call: Call, body: v1.SettingsPatch) -> Reply:
    """Refused when they were changed since they were read."""
    command = control.ChangeSettings(call.id, body.settings_revision, body.live_visibility_mode)
    return Reply(_settings(await call.write(control.change_settings, command)))


@route(
    "GET",
    "/workflows/{id}/budget",
    scope=Scope.AGENT,
    returns=records.BudgetSnapshot,
    errors=(404,),
    summary="Read what a workflow has used",
    operation_id="workflows_budget",
)
async def get_budget(call: Call) -> Reply:
    """Tokens and cost as executors reported them in `metrics`, and the time since it began."""
    return Reply(render.budget(await call.read(read.get_usage, WorkflowId(call.id))))


async def _detail(call: Call, workflow_id: UUID) -> Reply:
    return Reply(render.detail(await call.read(read.view_workflow, WorkflowId(workflow_id))))


def inputs_of(packet: v1.InputPacket) -> dict[str, Any]:
    """What templates find below `inputs`."""
    inputs = dict(packet.structured_inputs)
    if packet.summary is not None:
        inputs["summary"] = packet.summary
    if packet.files:
        inputs["files"] = [file.model_dump(exclude_none=True) for file in packet.files]
    return inputs


def _settings(workflow: Any) -> records.WorkflowSettings:
    return {
        "live_visibility_mode": workflow.live_visibility_mode,
        "settings_revision": workflow.settings_revision,
    }
