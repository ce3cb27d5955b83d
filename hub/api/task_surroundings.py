"""What people do to tasks beside judging them, and what is around a task: handoffs, memory, context."""

from core.tasks import amend
from core.work_items import context, handoffs, memory
from hub.api import rendering
from hub.api import work_item_rendering as render
from hub.api.call import Call, Reply
from hub.api.routing import route
from schemas.v1 import tasks as v1_tasks
from schemas.v1 import work_item_records as records
from schemas.v1 import work_items as v1
from schemas.vocabulary import Scope

_LATE = (404, 409)
_CONTENT = (
    "closure_effect",
    "changes",
    "decisions",
    "remaining_items",
    "blockers",
    "focus_areas",
    "known_risks",
    "successor_context",
    "role_data",
    "subject_ref",
    "subject_revision",
    "outcome_action_applied",
    "artifact_ids",
    "documents",
)


@route(
    "POST",
    "/tasks/{id}/skip",
    scope=Scope.WORKER,
    body=v1.SkipRequest,
    returns=v1_tasks.Task,
    errors=_LATE,
    summary="Count a task as done without doing it",
    operation_id="tasks_skip",
    example={"reason": "It was done by hand."},
)
async def skip_task(call: Call, body: v1.SkipRequest) -> Reply:
    """Its output is `{skipped, reason}`, and what depends on it goes on."""
    return Reply(rendering.task(await call.write(amend.skip, amend.SkipTask(call.id, body.reason))))


@route(
    "POST",
    "/tasks/{id}/reassign",
    scope=Scope.ADMIN,
    body=v1.ReassignRequest,
    returns=v1_tasks.Task,
    errors=_LATE,
    summary="Give a task to somebody else",
    operation_id="tasks_reassign",
    example={"reason": "Its agent is being replaced."},
)
async def reassign_task(call: Call, body: v1.ReassignRequest) -> Reply:
    """Whoever had it is told, and can no longer write."""
    command = amend.ReassignTask(call.id, body.reason, body.preferred_agent_id, body.preferred_worker_id)
    return Reply(rendering.task(await call.write(amend.reassign, command)))


@route(
    "POST",
    "/tasks/{id}/output-override",
    scope=Scope.ADMIN,
    body=v1.OutputOverride,
    returns=v1_tasks.Task,
    errors=_LATE,
    summary="Put another output in the place of a task's own",
    operation_id="tasks_output_override",
    example={"output": {"text": "Ada Lovelace"}, "reason": "The name was misspelt."},
)
async def override_output(call: Call, body: v1.OutputOverride) -> Reply:
    """The task is completed by it. What was there before stands in the log, with who replaced it and why."""
    command = amend.OverrideOutput(call.id, body.output, body.reason)
    return Reply(rendering.task(await call.write(amend.override_output, command)))


@route(
    "POST",
    "/tasks/{id}/handoff",
    scope=Scope.AGENT,
    body=v1.HandoffCreate,
    returns=records.Handoff,
    errors=_LATE,
    summary="Hand on, as a task's executor",
    operation_id="tasks_handoff",
    example={"summary": "The parser is there, its tests are not.", "remaining_items": ["tests"]},
)
async def hand_on(call: Call, body: v1.HandoffCreate) -> Reply:
    """Once for each revision. An assessment says by its `resolution` what becomes of its subject when it is
    completed."""
    command = handoffs.SubmitHandoff(
        call.id,
        body.summary,
        body.completion,
        body.resolution or body.decision_state,
        body.model_dump(mode="json", include=set(_CONTENT)),
        body.lease_id,
    )
    return Reply(render.handoff(await call.write(handoffs.submit_handoff, command)))


@route(
    "GET",
    "/tasks/{id}/predecessor-handoff",
    scope=Scope.AGENT,
    returns=records.Handoff | None,
    errors=(404,),
    summary="Read what was handed on to a task",
    operation_id="tasks_predecessor_handoff",
)
async def get_predecessor(call: Call) -> Reply:
    """By what it depends on, else by whoever was at its work item before; null if nobody was."""
    found = await call.read(handoffs.predecessor_handoff, handoffs.TaskId(call.id))
    return Reply(None if found is None else render.handoff(found))


@route(
    "GET",
    "/tasks/{id}/memory",
    scope=Scope.AGENT,
    query=v1.MemoryQuery,
    returns=list[records.MemoryEntry],
    errors=(404,),
    summary="Read a task's memory",
    operation_id="tasks_memory",
)
async def get_memory(call: Call, query: v1.MemoryQuery) -> Reply:
    """That of its work item; a task that belongs to none has its own."""
    found = await call.read(memory.recall, memory.TaskMemory(call.id, query.key))
    return Reply([render.entry(item) for item in found])


@route(
    "GET",
    "/tasks/{id}/memory/search",
    scope=Scope.AGENT,
    query=v1.MemorySearch,
    returns=list[records.MemoryEntry],
    errors=(404,),
    summary="Search a task's memory",
    operation_id="tasks_search_memory",
)
async def search_memory(call: Call, query: v1.MemorySearch) -> Reply:
    """Entries whose key or value contains the text, whatever its case."""
    found = await call.read(memory.recall, memory.TaskMemory(call.id, text=query.q))
    return Reply([render.entry(item) for item in found])


@route(
    "PATCH",
    "/tasks/{id}/memory",
    scope=Scope.AGENT,
    body=v1.MemoryPatch,
    returns=list[records.MemoryEntry],
    errors=_LATE,
    summary="Change a task's memory",
    operation_id="tasks_remember",
    example={"updates": {"decision": "use the old format", "draft": None}},
)
async def remember(call: Call, body: v1.MemoryPatch) -> Reply:
    """By its executor or an operator. Key by key; null forgets."""
    found = await call.write(memory.remember, memory.Remember(call.id, body.updates, body.lease_id))
    return Reply([render.entry(item) for item in found])


@route(
    "GET",
    "/tasks/{id}/context",
    scope=Scope.AGENT,
    query=v1.ContextQuery,
    returns=records.ContextPacket,
    errors=(404,),
    summary="Read what is around a task",
    operation_id="tasks_context",
)
async def get_context(call: Call, query: v1.ContextQuery) -> Reply:
    """Workspace, workflow, work item, role, instructions, what was handed on and made before, and memory."""
    found = await call.read(context.context_of, context.ContextOf(call.id, query.agent_id))
    return Reply(render.context(found))
