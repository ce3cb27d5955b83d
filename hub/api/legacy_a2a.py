"""The contract's older A2A surface: a card, and tasks in six states. New clients use `/a2a`.

It is REST in A2A's clothes: a task is submitted in one transaction, read by whoever may read it over REST,
and its stream tells everything from its birth, or from a cursor, to its end.
"""

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final, get_args
from uuid import UUID

from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from core import events
from core.caller import Caller
from core.errors import Gone, Invalid
from core.events import Event, EventFilter, ReadEvents
from core.platform import Platform
from core.tasks import read, submit
from core.tasks.task import Task
from core.transitions import FINAL
from hub.api.call import Answer, Call, Reply
from hub.api.redaction import redacted
from hub.api.routing import route
from hub.sse import EventStream, frame
from schemas.v1 import legacy_a2a as v1
from schemas.v1.fields import stamp
from schemas.v1.tasks import TaskType
from schemas.vocabulary import Face, Priority, Scope, TaskState

CARD: Final = "/.well-known/agent.json"
COVER: Final = "redacted://a2a-secret"
INGRESS: Final = "protocol_ingress"
STATUSES: Final[Mapping[TaskState, v1.LegacyStatus]] = MappingProxyType(
    {
        TaskState.PENDING: "submitted",
        TaskState.READY: "submitted",
        TaskState.CLAIMED: "working",
        TaskState.IN_PROGRESS: "working",
        TaskState.INPUT_REQUIRED: "input-required",
        TaskState.COMPLETED: "completed",
        TaskState.FAILED: "failed",
        TaskState.CANCELLED: "canceled",
        TaskState.REJECTED: "failed",
        TaskState.AUTH_REQUIRED: "input-required",
        TaskState.AWAITING_APPROVAL: "input-required",
        TaskState.OUTPUT_PENDING_ASSESSMENT: "working",
        TaskState.ESCALATED: "input-required",
    }
)
"""Every state as this surface knows it."""
_TYPES: Final = frozenset(get_args(TaskType))
_PRIORITIES: Final[Mapping[str, Priority]] = {priority.value: priority for priority in Priority}
_CONNECTED: Final = b": connected\n\n"
_PING: Final = b": ping\n\n"
_LATEST: Final = 2**53
_SILENCES: Final = 3
"""So many empty batches, and the log was read to its end and then waited at."""


def card(public_url: str, name: str = "Crossdock") -> dict[str, Any]:
    """The older card. Its addresses are the hub's own, whatever `Host` a request names."""
    tasks = f"{public_url.rstrip('/')}/api/v1/a2a/tasks"
    return {
        "protocol": "a2a",
        "protocol_version": "0.1",
        "name": name,
        "description": "A durable task hub. For A2A 0.3 and 1.0 see /.well-known/agent-card.json.",
        "authentication": {"type": "bearer_api_key", "header": "Authorization"},
        "capabilities": {"task_submission": True, "status_query": True, "streaming_updates": True},
        "endpoints": {
            "submit_task": tasks,
            "get_task": f"{tasks}/:id",
            "stream_task": f"{tasks}/:id/events",
        },
    }


def card_routes(public_url: str) -> Sequence[BaseRoute]:
    """Where the older card is served, to anybody."""
    body = to_json(card(public_url))

    async def serve(_: Request) -> Response:
        return Response(body, headers={"Cache-Control": "public, max-age=300"}, media_type="application/json")

    return [Route(CARD, serve, methods=["GET"])]


@route(
    "POST",
    "/a2a/tasks",
    scope=Scope.AGENT,
    body=v1.LegacyTaskCreate,
    returns=v1.LegacyTask,
    status=201,
    also={200: "An earlier call with this replay key, or this task's own id, made it."},
    errors=(409,),
    summary="Submit a task (older A2A surface)",
    operation_id="legacy_a2a_submit",
    example={"task": {"id": "their-42", "title": "Summarise the report", "priority": "high"}},
)
async def submit_legacy_task(call: Call, body: v1.LegacyTaskCreate) -> Reply:
    """One transaction: the task, its first message, and what its repeat is recognised by. Without a replay
    key the task's own `id` is one."""
    caller = replace(call.caller, face=Face.A2A.value)
    wanted = body.task
    if caller.replay_key is None and wanted.id is not None:
        key = hashlib.sha256(wanted.id.encode()).hexdigest()
        caller = replace(caller, replay_key=f"a2a-task:{key}")
    outcome = await call.platform.write_once(caller, submit.submit, _command(wanted))
    call.replayed = outcome.replayed
    return Reply(_view(outcome.result), status=200 if outcome.replayed else 201)


@route(
    "GET",
    "/a2a/tasks/{id}",
    scope=Scope.AGENT,
    returns=v1.LegacyTask,
    errors=(404,),
    summary="Read a task (older A2A surface)",
    operation_id="legacy_a2a_get",
)
async def get_legacy_task(call: Call) -> Reply:
    """The task as it stands. One that is not yours looks like one that does not exist."""
    return Reply(_view(await call.read(read.get_task, read.GetTask(call.id))))


@route(
    "GET",
    "/a2a/tasks/{id}/events",
    scope=Scope.AGENT,
    errors=(404,),
    stream=True,
    summary="Follow a task (older A2A surface)",
    operation_id="legacy_a2a_events",
)
async def stream_legacy_task(call: Call) -> Answer:
    """Server-sent events from the task's first one on, each once and in order, with the status that the task
    had then; the stream ends with the task. With `Last-Event-ID` it goes on after that event."""
    task = await call.read(read.get_task, read.GetTask(call.id))
    call.shared.streams.take(call.caller.principal_id)
    stream = EventStream(
        _frames(call.platform, call.caller, task, _cursor(call)),
        until=call.shared.ended,
        done=lambda: call.shared.streams.free(call.caller.principal_id),
    )
    await stream.open(_CONNECTED)
    return stream


def _command(wanted: v1.LegacyTaskFields) -> submit.SubmitTask:
    ingress: dict[str, Any] = {"protocol": "a2a"}
    if wanted.id is not None:
        ingress["external_task_id"] = wanted.id
    if wanted.type is not None and wanted.type not in _TYPES:
        ingress["type"] = wanted.type
    kind, priority = wanted.type or "custom", (wanted.priority or "").strip().casefold()
    return submit.SubmitTask(
        title=wanted.title,
        description=wanted.description,
        # Words that a worker and a reader on any other face find: the contract knows no message.
        parts=[{"text": wanted.description or wanted.title}],
        input=wanted.input if wanted.input not in ({}, None) else None,
        type=kind if kind in _TYPES else "custom",
        priority=_PRIORITIES.get(priority, Priority.NORMAL),
        role=wanted.role,
        context=wanted.context,
        metadata={**wanted.metadata, INGRESS: ingress},
        workflow_id=wanted.workflow_id,
        work_item_id=wanted.work_item_id,
        workspace_id=wanted.workspace_id,
        external_id=wanted.id,
    )


def _view(task: Task) -> v1.LegacyTask:
    metadata: v1.LegacyMetadata = {
        "task_id": task.id,
        "workflow_id": task.workflow_id,
        "workspace_id": task.workspace_id,
    }
    ingress = task.metadata.get(INGRESS)
    if isinstance(ingress, dict):
        metadata[INGRESS] = ingress
    return {
        "id": task.id,
        "status": STATUSES[task.state],
        "title": task.title,
        "created_at": stamp(task.created_at),
        "updated_at": stamp(task.updated_at),
        "result": redacted(task.output, COVER),
        "metadata": metadata,
    }


def _cursor(call: Call) -> int:
    said = (call.header(b"last-event-id") or "").strip()
    if not said:
        return 0
    if not (said.isascii() and said.isdigit()) or int(said) > _LATEST:
        raise Invalid("Last-Event-ID is the id of an event")
    return int(said)


async def _frames(platform: Platform, caller: Caller, task: Task, after: int) -> AsyncIterator[bytes]:
    """The whole log of the task is read, so that every event has the status of its moment; what the reader
    knows is left out."""
    status: v1.LegacyStatus = "submitted"
    final, silences = False, 0
    async with aclosing(_log(platform, caller, task.id)) as log:
        async for batch in log:
            told = []
            for event in batch:
                if event.kind in ("task.created", "task.state_changed"):
                    state = TaskState.of_wire(event.data["to_state"])
                    status, final = STATUSES[state], state in FINAL
                if event.pos > after:
                    told.append(frame(to_json(_event(event, task.id, status)), event.kind, event.pos))
                if final and (event.version or 0) >= task.version:
                    yield b"".join(told)
                    return
            yield b"".join(told) or _PING
            silences += not batch
            if task.state in FINAL and silences > _SILENCES:  # retention has taken its last event
                return


async def _log(platform: Platform, caller: Caller, task_id: UUID) -> AsyncGenerator[Sequence[Event], None]:
    """The task's events from the oldest that is kept; an empty batch when nothing happens."""
    wanted = EventFilter(task_id=task_id)
    start = 0
    try:
        await platform.read(caller, events.read_events, ReadEvents(wanted, after=start, limit=1))
    except Gone as gone:
        start = int(gone.details["oldest"])
    feed = events.follow(platform, caller, wanted, start)
    try:
        async for _, batch in feed:
            yield batch
    finally:
        await feed.aclose()  # type: ignore[attr-defined]  # it is a generator


def _event(event: Event, task_id: UUID, status: v1.LegacyStatus) -> v1.LegacyTaskEvent:
    return {
        "id": event.pos,
        "task_id": task_id,
        "event_type": event.kind,
        "status": status,
        "created_at": stamp(event.at),
        "data": redacted(event.data, COVER),
    }
