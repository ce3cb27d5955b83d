"""Work items: made, read, changed, held, stopped. What belongs to one is in `work_item_parts`."""

from typing import Any
from uuid import UUID

from core.work_items import change, control, create, read
from core.work_items.records import WorkItem, WorkItemId
from hub.api import work_item_rendering as render
from hub.api.call import Call, Reply
from hub.api.routing import route
from hub.api.workflows import inputs_of
from schemas.v1 import work_item_records as records
from schemas.v1 import work_items as v1
from schemas.vocabulary import Scope

_LATE = (404, 409)
_REQUIRED = ("title", "stage_name", "column_id", "priority", "metadata")
"""Fields of a change that cannot be null."""


@route(
    "POST",
    "/workflows/{id}/work-items",
    scope=Scope.ADMIN,
    body=v1.WorkItemCreate,
    returns=records.WorkItem,
    status=201,
    errors=_LATE,
    summary="Make a work item",
    operation_id="work_items_create",
    example={"title": "Write the second chapter", "goal": "It reads well.", "priority": "high"},
)
async def create_work_item(call: Call, body: v1.WorkItemCreate) -> Reply:
    """It stands in the board's entry column, and tasks may be made for it."""
    made = await call.write(create.create_work_item, command_of(call.id, body))
    return await shown(call, made)


def command_of(workflow_id: UUID, body: v1.WorkItemCreate, created_by: str = "api") -> create.CreateWorkItem:
    """The command that a new item's fields say."""
    return create.CreateWorkItem(
        workflow_id=workflow_id,
        title=body.title,
        stage_name=body.stage_name,
        goal=body.goal,
        acceptance_criteria=body.acceptance_criteria,
        column_id=body.column_id,
        owner_role=body.owner_role,
        priority=body.priority,
        notes=body.notes,
        metadata=body.metadata,
        parent_work_item_id=body.parent_work_item_id,
        branch_key=body.branch_key,
        inputs=inputs_of(body.initial_input_packet),
        created_by=created_by,
    )


@route(
    "GET",
    "/workflows/{id}/work-items",
    scope=Scope.AGENT,
    query=v1.WorkItemQuery,
    returns=list[records.WorkItem],
    errors=(404,),
    summary="List a workflow's work items",
    operation_id="work_items_list",
)
async def list_work_items(call: Call, query: v1.WorkItemQuery) -> Reply:
    """Oldest first."""
    wanted = read.ListWorkItems(call.id, query.parent_work_item_id, query.stage_name, query.column_id)
    found = await call.read(read.list_work_items, wanted)
    if query.grouped:
        return Reply(render.grouped(list(found)))
    return Reply([render.work_item(view) for view in found])


@route(
    "GET",
    "/workflows/{id}/work-items/{work_item_id}",
    scope=Scope.AGENT,
    query=v1.WorkItemGet,
    returns=records.WorkItem,
    errors=(404,),
    summary="Read a work item",
    operation_id="work_items_get",
)
async def get_work_item(call: Call, query: v1.WorkItemGet) -> Reply:
    """As it stands."""
    view = await call.read(read.get_work_item, item_of(call))
    return Reply(render.work_item(view, with_children=query.include_children))


@route(
    "PATCH",
    "/workflows/{id}/work-items/{work_item_id}",
    scope=Scope.ADMIN,
    body=v1.WorkItemPatch,
    returns=records.WorkItem,
    errors=_LATE,
    summary="Change or move a work item",
    operation_id="work_items_update",
    example={"notes": "The editor wants it on Monday."},
)
async def patch_work_item(call: Call, body: v1.WorkItemPatch) -> Reply:
    """Moving it to the terminal column completes it, which is refused while something of it is open."""
    command = change.UpdateWorkItem(call.id, call.ids["work_item_id"], changes_of(body))
    return await shown(call, await call.write(change.update_work_item, command))


def changes_of(body: v1.WorkItemPatch) -> dict[str, Any]:
    """The columns that a change says."""
    sent = body.model_fields_set - {"request_id"}
    changes = {
        name: getattr(body, name) for name in sent if name not in _REQUIRED or getattr(body, name) is not None
    }
    if "priority" in changes:
        changes["priority"] = changes["priority"].value
    if "metadata" in changes:
        changes["attributes"] = changes.pop("metadata")
    return changes


@route(
    "POST",
    "/workflows/{id}/work-items/{work_item_id}/pause",
    scope=Scope.ADMIN,
    body=v1.WorkItemPause,
    returns=records.WorkItem,
    errors=_LATE,
    summary="Hold a work item",
    operation_id="work_items_pause",
    example={"mode": "drain"},
)
async def pause_work_item(call: Call, body: v1.WorkItemPause) -> Reply:
    """None of its tasks begins. What is being done is finished, or with `interrupt` taken back."""
    command = control.PauseWorkItem(call.id, call.ids["work_item_id"], body.mode)
    return await shown(call, await call.write(control.pause_work_item, command))


@route(
    "POST",
    "/workflows/{id}/work-items/{work_item_id}/resume",
    scope=Scope.ADMIN,
    body=v1.WorkItemResume,
    returns=records.WorkItem,
    errors=_LATE,
    summary="Let a work item go on",
    operation_id="work_items_resume",
    example={},
)
async def resume_work_item(call: Call, body: v1.WorkItemResume) -> Reply:
    """What was held can be claimed again."""
    command = control.ResumeWorkItem(call.id, call.ids["work_item_id"])
    return await shown(call, await call.write(control.resume_work_item, command))


@route(
    "POST",
    "/workflows/{id}/work-items/{work_item_id}/cancel",
    scope=Scope.ADMIN,
    body=v1.WorkItemCancel,
    returns=records.WorkItem,
    errors=_LATE,
    summary="Stop a work item",
    operation_id="work_items_cancel",
    example={"reason": "Nobody needs it any more."},
)
async def cancel_work_item(call: Call, body: v1.WorkItemCancel) -> Reply:
    """Its tasks are cancelled, and their executors told. Repeating it changes nothing."""
    command = control.CancelWorkItem(call.id, call.ids["work_item_id"], body.reason)
    return await shown(call, await call.write(control.cancel_work_item, command))


def item_of(call: Call) -> WorkItemId:
    """The work item that the path names."""
    return WorkItemId(call.id, call.ids["work_item_id"])


async def shown(call: Call, item: WorkItem) -> Reply:
    """The item as it stands now."""
    view = await call.read(read.get_work_item, WorkItemId(item.workflow_id, item.id))
    return Reply(render.work_item(view))
