"""Every operation of A2A 1.0 (specification §3.1): check, command, render.

A task is seen here only by whoever submitted it; core sees to that by the caller's face. Foreign and missing
look alike. Nothing here knows a binding.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

from adapters.a2a import errors, hitl, push, streams, translate, wire
from adapters.a2a.dispatch import (
    Call,
    Dispatcher,
    Frames,
    Operation,
    check_tenant,
    task_id_of,
    unless_gone,
)
from adapters.a2a.errors import A2AError
from adapters.a2a.pages import page_token, position_of
from adapters.a2a.protojson import Params
from adapters.a2a.reply import Reply, reply
from adapters.a2a.sse import Cursor
from core.errors import InvalidTransition, Unavailable
from core.events import await_settled
from core.push import SubmitNotified, submit_notified
from core.tasks.cancel import CancelTask, cancel
from core.tasks.read import GetTask, ListOwn, list_own, version_of, view_task
from core.tasks.submit import SubmitTask, submit_view
from core.tasks.task import TaskView
from core.trace import told_by
from schemas.vocabulary import TaskState

TITLE: Final = 120
"""The longest title that a task gets from its message."""


async def send_message(dispatcher: Dispatcher, call: Call, params: Params) -> dict[str, Any]:
    """SendMessage: a new task, or an answer to one that asks. Waits unless told not to."""
    request = wire.send_message(params)
    if not request.return_immediately:
        call.held.enter_context(dispatcher.config.waits.taken_by(call.caller.principal_id))
    task_id, view, _ = await _accept(dispatcher, call, request)
    if not request.return_immediately:
        view = await _settled(dispatcher, call, task_id)
    elif view is None:
        view = await dispatcher.platform.read(call.caller, view_task, GetTask(task_id))
    if request.task_id is None and view.task.state is TaskState.COMPLETED:
        for message in reversed(view.messages):
            if message.final:
                return {"message": translate.message_of(message, view.task.context_id, str(task_id))}
    return {"task": translate.task_of(view, call.caller, history_length=request.history_length)}


async def send_streaming_message(dispatcher: Dispatcher, call: Call, params: Params) -> Frames:
    """SendStreamingMessage: as SendMessage, told as it happens. One that is repeated with its idempotency key
    goes on with the stream of the first, after the event that it names; else from the task as it is."""
    request = wire.send_message(params)
    task_id, _, replayed = await _accept(dispatcher, call, request)
    platform, caller = dispatcher.platform, call.caller
    if replayed and call.last_event_id is not None:
        followed = streams.resume(platform, caller, task_id, _cursor(call.last_event_id), until_asked=True)
    else:
        followed = streams.follow(
            platform, caller, task_id, history_length=request.history_length, until_asked=True
        )
    async for frames in followed:
        yield frames


async def get_task(dispatcher: Dispatcher, call: Call, params: Params) -> dict[str, Any]:
    """GetTask."""
    request = wire.one_task(params)
    check_tenant(call, request.tenant)
    wanted = GetTask(task_id_of(request.id), messages=_shown(request.history_length))
    caller, platform = call.caller, dispatcher.platform
    key = (caller.principal_id, caller.operator, call.agent.path, wanted.task_id, request.history_length)
    known = dispatcher.shown.find(key)
    if known is not None and await platform.read(caller, version_of, wanted) == known[0]:
        return known[1]
    view = await platform.read(caller, view_task, wanted)
    made = translate.task_of(view, caller, history_length=request.history_length)
    return dispatcher.shown.keep(key, view.task.version, made)


async def list_tasks(dispatcher: Dispatcher, call: Call, params: Params) -> dict[str, Any]:
    """ListTasks: newest status first."""
    request = wire.list_tasks(params)
    check_tenant(call, request.tenant)
    query = ListOwn(
        context_id=request.context_id,
        slices=translate.slices_of(request.state) if request.state else (),
        status_after=request.status_after,
        before=position_of(request.page_token),
        page_size=request.page_size + 1,
        with_artifacts=request.include_artifacts,
        messages=_shown(request.history_length),
    )
    page = await dispatcher.platform.read(call.caller, list_own, query)
    views = page.items[: request.page_size]
    last = views[-1].task if len(page.items) > request.page_size else None
    return {
        "tasks": [
            translate.task_of(
                view,
                call.caller,
                history_length=request.history_length,
                with_artifacts=request.include_artifacts,
            )
            for view in views
        ],
        "nextPageToken": "" if last is None else page_token((last.status_at, last.id)),
        "pageSize": request.page_size,
        "totalSize": page.total,
    }


async def cancel_task(dispatcher: Dispatcher, call: Call, params: Params) -> dict[str, Any]:
    """CancelTask: at once; a task that is final is not cancelable, a cancelled one included."""
    request = wire.one_task(params)
    check_tenant(call, request.tenant)
    task_id = task_id_of(request.id)
    reason = (request.metadata or {}).get("reason")
    try:
        await dispatcher.platform.write(
            call.caller,
            cancel,
            CancelTask(task_id, reason=reason if isinstance(reason, str) else None, strict=True),
        )
    except InvalidTransition as error:
        raise A2AError(
            errors.TASK_NOT_CANCELABLE, f"The task cannot be cancelled: {error.message}."
        ) from error
    view = await dispatcher.platform.read(call.caller, view_task, GetTask(task_id))
    return translate.task_of(view, call.caller)


async def subscribe_to_task(dispatcher: Dispatcher, call: Call, params: Params) -> Frames:
    """SubscribeToTask: the task as it stands, then what happens to it; or, after an event that is named, only
    what has happened since."""
    request = wire.one_task(params)
    check_tenant(call, request.tenant)
    platform, caller, task_id = dispatcher.platform, call.caller, task_id_of(request.id)
    if call.last_event_id is None:
        followed = streams.follow(platform, caller, task_id, live_only=True)
    else:
        followed = streams.resume(platform, caller, task_id, _cursor(call.last_event_id))
    async for frames in followed:
        yield frames


def _cursor(last_event_id: str) -> Cursor:
    try:
        return Cursor.of(last_event_id)
    except ValueError:
        raise errors.invalid("Last-Event-ID", "is not the id of an event of a stream") from None


async def get_extended_agent_card(dispatcher: Dispatcher, call: Call, params: Params) -> dict[str, Any]:
    """GetExtendedAgentCard."""
    check_tenant(call, wire.tenant_of(params))
    return await dispatcher.cards.extended(call.agent, call.caller)


async def _accept(
    dispatcher: Dispatcher, call: Call, request: wire.SendMessage
) -> tuple[UUID, TaskView | None, bool]:
    """Commit what was sent: the task, its view when it is new (else it must be read), and whether this is a
    repeat."""
    check_tenant(call, request.tenant)
    _check_modes(call, request.parts)
    notify = None
    if request.push is not None:
        notify = await push.inline(dispatcher, call, request.push, request.task_id)
    caller = told_by(call.caller, request.message_metadata, request.metadata)
    if call.idempotency_key is not None:
        if len(call.idempotency_key) > wire.MAX_ID:
            raise errors.invalid("Idempotency-Key", f"at most {wire.MAX_ID} characters")
        caller = replace(caller, replay_key=call.idempotency_key)
    platform = dispatcher.platform
    response = hitl.response_in(request.message_metadata)
    if request.task_id is not None:
        task_id = task_id_of(request.task_id)
        answer = Reply(
            task_id,
            request.context_id,
            request.message_id,
            request.parts,
            request.message_metadata,
            notify,
            response,
        )
        replied = await platform.write_once(caller, reply, answer)
        _note_replay(call, replied.replayed)
        return task_id, None, replied.replayed
    if response is not None:
        raise errors.invalid("message.taskId", "is required: a response of hitl/v1 answers a task")
    task = _command(call, request)
    if notify is None and caller.replay_key is None:
        outcome = await platform.write_once(caller, submit_view, task)
    else:  # one command for all that may be repeated, so that a key stands for one request
        outcome = await platform.write_once(caller, submit_notified, SubmitNotified(task, notify))
    _note_replay(call, outcome.replayed)
    return outcome.result.task.id, None if outcome.replayed else outcome.result, outcome.replayed


def _command(call: Call, request: wire.SendMessage) -> SubmitTask:
    return SubmitTask(
        title=_title(request.parts),
        parts=request.parts,
        message_id=request.message_id,
        message_metadata=request.message_metadata,
        context_id=request.context_id,
        context={"accepted_output_modes": request.accepted_output_modes}
        if request.accepted_output_modes
        else {},
        metadata=request.metadata,
        required_tags=call.agent.required_tags,
        play=call.agent.play,
    )


def _title(parts: Sequence[Mapping[str, Any]]) -> str:
    for part in parts:
        text = part.get("text")
        if text:
            for line in str(text).splitlines():
                shown = line.strip()
                if shown:
                    return shown if len(shown) <= TITLE else shown[: TITLE - 1] + "…"
    return str(parts[0].get("filename") or "A2A message")[:TITLE]


def _check_modes(call: Call, parts: Sequence[Mapping[str, Any]]) -> None:
    modes = (*call.agent.input_modes, *call.agent.also_accepts)
    for part in parts:
        media_type = part.get("media_type")
        if media_type is not None and not wire.accepts(modes, media_type):
            raise A2AError(
                errors.CONTENT_TYPE_NOT_SUPPORTED,
                f"{media_type[:80]!r} is not among the input modes of this agent: "
                f"{', '.join(call.agent.input_modes)}.",
                metadata={"inputModes": ",".join(call.agent.input_modes)},
            )


async def _settled(dispatcher: Dispatcher, call: Call, task_id: UUID) -> TaskView:
    """The task once it is final or asks its sender for something; sooner only if the wait is capped."""
    platform, limit = dispatcher.platform, dispatcher.config.blocking_seconds
    try:
        settling = await_settled(platform, call.caller, task_id, timeout=limit)
        return await unless_gone(call, settling)
    except Unavailable:
        # The hub is stopping. What was sent is kept: an error would have the client send it again.
        return await platform.read(call.caller, view_task, GetTask(task_id))


def _shown(history_length: int | None) -> int:
    """How many messages to read: one more than to show, as the newest may be the status message."""
    return (translate.HISTORY if history_length is None else history_length) + 1


def _note_replay(call: Call, replayed: bool) -> None:
    if replayed:
        call.notes["Idempotency-Replayed"] = "true"


OPERATIONS: Final[Mapping[str, Operation]] = MappingProxyType(
    {
        operation.name: operation
        for operation in (
            Operation("SendMessage", answer=send_message),
            Operation("SendStreamingMessage", stream=send_streaming_message),
            Operation("GetTask", answer=get_task),
            Operation("ListTasks", answer=list_tasks),
            Operation("CancelTask", answer=cancel_task),
            Operation("SubscribeToTask", stream=subscribe_to_task),
            *push.OPERATIONS,
            Operation("GetExtendedAgentCard", answer=get_extended_agent_card, needs_extensions=False),
        )
    }
)
"""By their name in JSON-RPC and gRPC."""
