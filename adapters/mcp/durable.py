"""MCP tasks are the hub's tasks (extension io.modelcontextprotocol/tasks, SEP-2663).

The id is the task's own. Only whoever submitted it sees it here, operators included; unknown and foreign look
alike. A task that failed is a call whose result is an error, since `failed` is kept for faults of the
protocol. Questions and approvals are elicitations, for clients that can ask their user.
"""

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from adapters.mcp import shown, toolbox, wire
from adapters.mcp.errors import MISSING_CAPABILITY, McpError, invalid
from adapters.mcp.exchange import Call, Result
from core.approvals import Approval, DecideApproval, decide
from core.caller import Caller
from core.errors import Conflict, HubError, NotFound
from core.platform import Platform
from core.tasks.cancel import CancelTask, cancel
from core.tasks.input import AnswerInput, answer_input
from core.tasks.read import GetTask, view_task
from core.tasks.task import InputRequest, TaskView
from core.transitions import FINAL
from schemas.parts import text_of
from schemas.vocabulary import TaskState

POLL_MS: Final = 1_000
_FLAT: Final = frozenset({"string", "number", "integer", "boolean"})
_FREE: Final = {
    "type": "object",
    "properties": {"answer": {"type": "string", "title": "Answer"}},
    "required": ["answer"],
}


def created(view: TaskView) -> Result:
    """The result of a call that became a task."""
    return {"resultType": "task", **_head(view, "working")}


async def get(platform: Platform, call: Call) -> Result:
    """`tasks/get`: the task as it stands, with what it ended in or waits for.

    Raises:
        McpError: no such task, or the client has not opted in.
    """
    return detailed(await _mine(platform, call), call.caller, call.capabilities, call.version)


def detailed(view: TaskView, caller: Caller, capabilities: Mapping[str, Any], version: str) -> Result:
    """The task in full, as `tasks/get` and `notifications/tasks` say it."""
    state = view.task.state
    if state is TaskState.CANCELLED:
        return _head(view, "cancelled")
    if state in FINAL:
        ended = toolbox.result(version, dict(shown.whole(view)))
        ended["isError"] = state is not TaskState.COMPLETED
        return {**_head(view, "completed"), "result": {"resultType": "complete", **ended}}
    asked = _asked(view, caller) if "elicitation" in capabilities else {}
    if asked:
        return {**_head(view, "input_required"), "inputRequests": asked}
    return _head(view, "working")


async def update(platform: Platform, call: Call) -> Result:
    """`tasks/update`: answers to what the task waits for. Unknown and late ones are ignored.

    Raises:
        McpError: no such task, or the parameters cannot be read.
    """
    view = await _mine(platform, call)
    responses = call.params.get("inputResponses")
    if type(responses) is not dict:
        raise invalid("inputResponses must be an object.")
    questions = {str(asked.id): asked for asked in view.inputs}
    approvals = {str(asked.id): asked for asked in view.approvals}
    for key, response in responses.items():
        if type(response) is not dict:
            raise invalid(f"inputResponses.{key[:60]} must be an object.")
        try:
            if key in questions:
                await _answer(platform, call.caller, questions[key], response)
            elif key in approvals:
                await _decide(platform, call.caller, approvals[key], response)
        except Conflict:  # somebody else was faster, which the next look will tell
            continue
        except HubError as error:
            raise invalid(f"inputResponses.{key}: {error.message}") from None
    return {}


async def cancelled(platform: Platform, call: Call) -> Result:
    """`tasks/cancel`: the task ends, unless it has ended.

    Raises:
        McpError: no such task.
    """
    view = await _mine(platform, call)
    if view.task.state not in FINAL:
        try:
            await platform.write(call.caller, cancel, CancelTask(view.task.id))
        except Conflict:  # it ended meanwhile
            return {}
    return {}


async def _mine(platform: Platform, call: Call) -> TaskView:
    if not call.supports(wire.TASKS):
        needed: Result = {"requiredCapabilities": {"extensions": {wire.TASKS: {}}}}
        raise McpError(MISSING_CAPABILITY, f"This needs the extension {wire.TASKS}.", needed)
    task_id = call.params.get("taskId")
    if type(task_id) is not str:
        raise invalid("taskId must be a string.")
    try:
        return await platform.read(call.caller, view_task, GetTask(UUID(task_id)))
    except (ValueError, NotFound):
        raise invalid("No such task.", {"taskId": task_id[:80]}) from None


def _head(view: TaskView, status: str) -> Result:
    task = view.task
    said: Result = {
        "taskId": str(task.id),
        "status": status,
        "createdAt": shown.stamp(task.created_at),
        "lastUpdatedAt": shown.stamp(task.updated_at),
        "ttlMs": None,
        "pollIntervalMs": POLL_MS,
    }
    said["statusMessage"] = text_of(task.status_message or ()) or task.state.wire
    return said


def _asked(view: TaskView, caller: Caller) -> dict[str, Any]:
    asked = {str(question.id): _question(question) for question in view.inputs}
    for approval in view.approvals:
        if approval.decidable_by(caller, view.task.agent_id):
            asked[str(approval.id)] = _approval(approval)
    return asked


def _question(question: InputRequest) -> dict[str, Any]:
    schema = question.schema if question.schema is not None and _is_flat(question.schema) else _FREE
    message = text_of(question.parts) or "The task needs an answer."
    return _elicitation(message, dict(schema))


def _approval(approval: Approval) -> dict[str, Any]:
    names = [str(option.get("name", option["id"])) for option in approval.options]
    choice = {
        "type": "string",
        "title": "Decision",
        "oneOf": [
            {"const": option["id"], "title": name}
            for option, name in zip(approval.options, names, strict=True)
        ],
    }
    schema = {"type": "object", "properties": {"decision": choice}, "required": ["decision"]}
    return _elicitation(approval.title, schema)


def _elicitation(message: str, schema: dict[str, Any]) -> dict[str, Any]:
    params = {"mode": "form", "message": message, "requestedSchema": schema}
    return {"method": "elicitation/create", "params": params}


def _is_flat(schema: Mapping[str, Any]) -> bool:
    """Whether a form can ask for it: an object of plain values."""
    members = schema.get("properties")
    return (
        schema.get("type") == "object"
        and type(members) is dict
        and all(type(member) is dict and member.get("type") in _FLAT for member in members.values())
    )


async def _answer(
    platform: Platform, caller: Caller, question: InputRequest, response: Mapping[str, Any]
) -> None:
    # A user who declines has not answered; the question stays open for another answer.
    if response.get("action") != "accept":
        return
    content = response.get("content") or {}
    if question.schema is not None and _is_flat(question.schema):
        command = AnswerInput(question.task_id, data=content, input_id=question.id)
    elif question.schema is not None:
        command = AnswerInput(question.task_id, data=content.get("answer"), input_id=question.id)
    else:
        said = [{"text": str(content.get("answer", ""))}]
        command = AnswerInput(question.task_id, parts=said, input_id=question.id)
    await platform.write(caller, answer_input, command)


async def _decide(
    platform: Platform, caller: Caller, approval: Approval, response: Mapping[str, Any]
) -> None:
    action, content = response.get("action"), response.get("content") or {}
    if action == "accept":
        choice = content.get("decision")
        if type(choice) is not str:
            raise invalid("decision must be one of the options.")
        await platform.write(caller, decide, DecideApproval(approval.id, option_id=choice))
    elif action == "decline":
        await platform.write(caller, decide, DecideApproval(approval.id, action="reject"))
