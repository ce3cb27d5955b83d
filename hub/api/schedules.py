"""Schedules: what is started at times, or once later."""

from typing import Any

from core import schedules
from core.jobs.schedules import run_now
from core.schedule_records import OneSchedule, Run, Schedule
from hub.api import rendering
from hub.api.call import Call, Reply
from hub.api.routing import route
from schemas.starting import TaskStart, WorkflowStart
from schemas.v1 import schedules as v1
from schemas.v1.envelope import PageMeta
from schemas.v1.fields import stamp, stamp_or_none
from schemas.v1.review import PageQuery
from schemas.vocabulary import Scope


@route(
    "POST",
    "/schedules",
    scope=Scope.ADMIN,
    body=v1.ScheduleCreate,
    returns=v1.Schedule,
    status=201,
    errors=(409,),
    summary="Create a schedule",
    operation_id="schedules_create",
    example={
        "name": "Nightly report",
        "cron": "30 6 * * MON-FRI",
        "timezone": "Europe/Berlin",
        "task": {"title": "Report of {{ run.date }}", "input": {"text": "Summarise yesterday."}},
        "overlap": "skip",
    },
)
async def create(call: Call, body: v1.ScheduleCreate) -> Reply:
    """Each time is taken once, over all replicas and crashes; what it starts is as durable as any task."""
    command = schedules.CreateSchedule(
        body.name,
        action_of(body.task, body.workflow),
        body.cron,
        body.start_at,
        body.delay_seconds,
        body.timezone,
        body.description,
        body.missed,
        body.overlap,
        body.is_active,
    )
    return Reply(rendered(await call.write(schedules.create_schedule, command)))


@route(
    "GET",
    "/schedules",
    scope=Scope.ADMIN,
    query=PageQuery,
    returns=list[v1.Schedule],
    meta=PageMeta,
    summary="List schedules",
    operation_id="schedules_list",
)
async def list_all(call: Call, query: PageQuery) -> Reply:
    """Newest first."""
    found = await call.read(schedules.list_schedules, schedules.ListSchedules(query.page, query.per_page))
    meta = rendering.page(found.total, query.page, query.per_page)
    return Reply([rendered(item) for item in found.items], meta)


@route(
    "GET",
    "/schedules/{id}",
    scope=Scope.ADMIN,
    returns=v1.Schedule,
    errors=(404,),
    summary="Read a schedule",
    operation_id="schedules_get",
)
async def get(call: Call) -> Reply:
    """With when it is due next."""
    return Reply(rendered(await call.read(schedules.get_schedule, OneSchedule(call.id))))


@route(
    "PATCH",
    "/schedules/{id}",
    scope=Scope.ADMIN,
    body=v1.SchedulePatch,
    returns=v1.Schedule,
    errors=(404,),
    summary="Change a schedule",
    operation_id="schedules_patch",
    example={"cron": "0 7 * * MON-FRI"},
)
async def patch(call: Call, body: v1.SchedulePatch) -> Reply:
    """Another expression, zone or moment begins anew: what was due before was not missed."""
    changes: dict[str, Any] = {}
    for name in ("name", "cron", "start_at", "timezone", "is_active"):
        if getattr(body, name) is not None:
            changes[name] = getattr(body, name)
    if body.cron is not None:
        changes["start_at"] = None
    if body.start_at is not None:
        changes["cron"] = None
    if "description" in body.model_fields_set:
        changes["description"] = body.description
    for word in ("missed", "overlap"):
        if getattr(body, word) is not None:
            changes[word] = getattr(body, word).value
    if body.task is not None or body.workflow is not None:
        changes["action"] = action_of(body.task, body.workflow)
    return await _changed(call, changes)


async def _changed(call: Call, changes: dict[str, Any]) -> Reply:
    command = schedules.ChangeSchedule(call.id, tuple(changes.items()))
    return Reply(rendered(await call.write(schedules.change_schedule, command)))


@route(
    "DELETE",
    "/schedules/{id}",
    scope=Scope.ADMIN,
    also={204: "It is gone."},
    status=204,
    errors=(404,),
    summary="Delete a schedule",
    operation_id="schedules_delete",
)
async def delete(call: Call) -> Reply:
    """With the record of its runs. What it has started goes on."""
    await call.write(schedules.delete_schedule, OneSchedule(call.id))
    return Reply()


@route(
    "POST",
    "/schedules/{id}/pause",
    scope=Scope.ADMIN,
    returns=v1.Schedule,
    errors=(404,),
    summary="Pause a schedule",
    operation_id="schedules_pause",
)
async def pause(call: Call) -> Reply:
    """It is not due until it is resumed. What it has started goes on."""
    return await _changed(call, {"is_active": False})


@route(
    "POST",
    "/schedules/{id}/resume",
    scope=Scope.ADMIN,
    returns=v1.Schedule,
    errors=(404,),
    summary="Resume a schedule",
    operation_id="schedules_resume",
)
async def resume(call: Call) -> Reply:
    """What was due by its expression meanwhile was not missed."""
    return await _changed(call, {"is_active": True})


@route(
    "POST",
    "/schedules/{id}/run",
    scope=Scope.ADMIN,
    returns=v1.ScheduleRun,
    errors=(404, 409),
    summary="Run a schedule now",
    operation_id="schedules_run",
)
async def run(call: Call) -> Reply:
    """Beside its times, as its overlap policy allows; a paused one, too."""
    return Reply(rendered_run(await call.write(run_now, OneSchedule(call.id))))


@route(
    "GET",
    "/schedules/{id}/runs",
    scope=Scope.ADMIN,
    query=PageQuery,
    returns=list[v1.ScheduleRun],
    meta=PageMeta,
    errors=(404,),
    summary="List a schedule's runs",
    operation_id="schedules_runs",
)
async def runs(call: Call, query: PageQuery) -> Reply:
    """Newest first, for 30 days: what was started, skipped, queued, and what failed."""
    wanted = schedules.ListRuns(call.id, query.page, query.per_page)
    found = await call.read(schedules.list_runs, wanted)
    meta = rendering.page(found.total, query.page, query.per_page)
    return Reply([rendered_run(item) for item in found.items], meta)


def action_of(task: TaskStart | None, workflow: WorkflowStart | None) -> dict[str, Any]:
    """What is to be started, as it is kept: only what was said."""
    said = {"task": task, "workflow": workflow}
    return {
        name: value.model_dump(mode="json", exclude_unset=True)
        for name, value in said.items()
        if value is not None
    }


def rendered(value: Schedule) -> v1.Schedule:
    """A schedule."""
    return {
        "id": value.id,
        "name": value.name,
        "description": value.description,
        "cron": value.cron,
        "start_at": stamp_or_none(value.start_at),
        "timezone": value.timezone,
        "task": value.action.get("task"),
        "workflow": value.action.get("workflow"),
        "missed": value.missed,
        "overlap": value.overlap,
        "is_active": value.is_active,
        "next_at": stamp_or_none(value.next_at),
        "created_by": value.created_by,
        "created_at": stamp(value.created_at),
        "updated_at": stamp(value.updated_at),
    }


def rendered_run(value: Run) -> v1.ScheduleRun:
    """A run."""
    return {
        "id": value.id,
        "schedule_id": value.schedule_id,
        "due_at": stamp_or_none(value.due_at),
        "status": value.status,
        "reason": value.reason,
        "error": None if value.error is None else dict(value.error),
        "task_id": value.task_id,
        "workflow_id": value.workflow_id,
        "created_at": stamp(value.created_at),
        "started_at": stamp_or_none(value.started_at),
    }
