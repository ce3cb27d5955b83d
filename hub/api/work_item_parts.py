"""What belongs to a work item: tasks, events, handoffs, memory; and what is said to it for a task of it."""

from core import events
from core.work_items import handoffs, memory, read
from core.work_items import tasks as item_tasks
from hub.api import rendering
from hub.api import work_item_rendering as render
from hub.api.call import Call, Reply
from hub.api.routing import route
from hub.api.work_items import item_of, shown
from schemas.v1 import events as v1_events
from schemas.v1 import review as v1_review
from schemas.v1 import tasks as v1_tasks
from schemas.v1 import work_item_records as records
from schemas.v1 import work_items as v1
from schemas.vocabulary import Scope

_ITEM = "/workflows/{id}/work-items/{work_item_id}"
_LATE = (404, 409)


@route(
    "GET",
    f"{_ITEM}/tasks",
    scope=Scope.AGENT,
    query=v1.LimitQuery,
    returns=list[v1_tasks.Task],
    errors=(404,),
    summary="List a work item's tasks",
    operation_id="work_items_tasks",
)
async def list_tasks(call: Call, query: v1.LimitQuery) -> Reply:
    """Newest first."""
    wanted = read.ItemTasks(call.id, call.ids["work_item_id"], query.limit)
    return Reply([rendering.task(task) for task in await call.read(read.tasks_of_item, wanted)])


@route(
    "GET",
    f"{_ITEM}/events",
    scope=Scope.AGENT,
    query=v1.LimitQuery,
    returns=list[v1_events.Event],
    errors=(404,),
    summary="Read a work item's events",
    operation_id="work_items_events",
)
async def list_events(call: Call, query: v1.LimitQuery) -> Reply:
    """Its own and those of its tasks, newest first."""
    view = await call.read(read.get_work_item, item_of(call))
    wanted = events.EventFilter(workflow_id=call.id, data=(("work_item_id", str(view.item.id)),))
    return Reply([rendering.event(event) for event in await _newest(call, wanted, query.limit)])


@route(
    "GET",
    f"{_ITEM}/handoffs",
    scope=Scope.AGENT,
    query=v1.LimitQuery,
    returns=list[records.Handoff],
    errors=(404,),
    summary="List a work item's handoffs",
    operation_id="work_items_handoffs",
)
async def list_handoffs(call: Call, query: v1.LimitQuery) -> Reply:
    """Newest first."""
    wanted = handoffs.HandoffsOf(call.id, call.ids["work_item_id"], query.limit)
    return Reply([render.handoff(found) for found in await call.read(handoffs.handoffs_of, wanted)])


@route(
    "GET",
    f"{_ITEM}/handoffs/latest",
    scope=Scope.AGENT,
    returns=records.Handoff | None,
    errors=(404,),
    summary="Read a work item's latest handoff",
    operation_id="work_items_latest_handoff",
)
async def get_latest_handoff(call: Call) -> Reply:
    """Null if there is none."""
    found = await call.read(handoffs.latest_handoff, item_of(call))
    return Reply(None if found is None else render.handoff(found))


@route(
    "GET",
    f"{_ITEM}/memory",
    scope=Scope.AGENT,
    query=v1.LimitQuery,
    returns=list[records.MemoryEntry],
    errors=(404,),
    summary="Read a work item's memory",
    operation_id="work_items_memory",
)
async def get_memory(call: Call, query: v1.LimitQuery) -> Reply:
    """By key."""
    wanted = memory.ItemMemory(call.id, call.ids["work_item_id"], query.limit)
    return Reply([render.entry(found) for found in await call.read(memory.memory_of, wanted)])


@route(
    "GET",
    f"{_ITEM}/memory/history",
    scope=Scope.AGENT,
    query=v1.LimitQuery,
    returns=list[records.MemoryEntry],
    errors=(404,),
    summary="Read the past of a work item's memory",
    operation_id="work_items_memory_history",
)
async def get_memory_history(call: Call, query: v1.LimitQuery) -> Reply:
    """Every change, newest first; the last thousand that are past are kept."""
    wanted = memory.ItemMemory(call.id, call.ids["work_item_id"], query.limit, past=True)
    return Reply([render.entry(found) for found in await call.read(memory.memory_of, wanted)])


@route(
    "POST",
    f"{_ITEM}/retry",
    scope=Scope.WORKER,
    body=v1_review.RetryRequest,
    returns=records.WorkItem,
    errors=_LATE,
    summary="Try a work item's failed task again",
    operation_id="work_items_retry",
    example={},
)
async def retry_work_item(call: Call, body: v1_review.RetryRequest) -> Reply:
    """The newest that failed; with `force` the newest of all."""
    command = item_tasks.RetryWorkItem(call.id, call.ids["work_item_id"], body.override_input, body.force)
    return await shown(call, await call.write(item_tasks.retry_work_item, command))


@route(
    "POST",
    f"{_ITEM}/skip",
    scope=Scope.WORKER,
    body=v1.SkipRequest,
    returns=records.WorkItem,
    errors=_LATE,
    summary="Skip a work item's task",
    operation_id="work_items_skip",
    example={"reason": "It was done by hand."},
)
async def skip_work_item(call: Call, body: v1.SkipRequest) -> Reply:
    """The newest that failed, else the newest that is open."""
    command = item_tasks.SkipWorkItem(call.id, call.ids["work_item_id"], body.reason)
    return await shown(call, await call.write(item_tasks.skip_work_item, command))


@route(
    "POST",
    f"{_ITEM}/resolve-escalation",
    scope=Scope.ADMIN,
    body=v1.WorkItemEscalationResolution,
    returns=records.WorkItem,
    errors=_LATE,
    summary="Decide a work item's escalation",
    operation_id="work_items_resolve_escalation",
    example={"action": "unblock_subject", "feedback": "Take the second server."},
)
async def resolve_escalation(call: Call, body: v1.WorkItemEscalationResolution) -> Reply:
    """`dismiss` clears it, `unblock_subject` lets item and task go on, `reopen_subject` has the task done
    again with the feedback."""
    command = item_tasks.ResolveItemEscalation(call.id, call.ids["work_item_id"], body.action, body.feedback)
    return await shown(call, await call.write(item_tasks.resolve_item_escalation, command))


async def _newest(call: Call, wanted: events.EventFilter, limit: int) -> list[events.Event]:
    """The newest events that a filter wants, in which many of the workflow's are passed over."""
    found: list[events.Event] = []
    before: int | None = None
    for _ in range(_LOOKS):
        page = await call.read(events.read_events, events.ReadEvents(wanted, before=before, limit=_LOOK))
        found += page.items
        before = page.next_before
        if len(found) >= limit or not page.has_more:
            break
    return found[:limit]


_LOOK = 500
"""Events that are read at a time."""
_LOOKS = 20
"""How often, for one answer. Older ones are found with GET /events?work_item_id=…&before=…"""
