"""Calls that need leave, as their caller hears of them: as MCP tasks, or in results where it knows none."""

from typing import Any, Final
from uuid import UUID

from adapters.mcp import errors, shown, wire
from adapters.mcp.errors import MISSING_CAPABILITY, McpError, invalid
from adapters.mcp.exchange import Call, Result
from core.caller import Caller
from core.errors import NotFound
from core.gateway.records import CallId, CallRecord, get_call
from core.platform import Platform
from schemas.vocabulary import CallState

ABOUT: Final = "crossdock/call"
"""The key in `_meta` of a result under which the record of its call is named."""
TASK: Final = "call."
"""What the ids of MCP tasks begin with that stand for such calls."""
POLL_MS: Final = 2_000


def outcome(record: CallRecord) -> Result:
    """The result of a call that has ended.

    Raises:
        McpError: it has none.
    """
    about = {"id": str(record.id), "state": record.state.value}
    if record.result is not None:
        meta = record.result.get("_meta")
        return {**record.result, "_meta": {**(meta if type(meta) is dict else {}), ABOUT: about}}
    error = record.error or {}
    message = str(error.get("message", "The call has no result."))
    if record.state in (CallState.REFUSED, CallState.UNKNOWN):
        text = f"{record.state.value.upper()}: {message}"
        return {
            "content": [{"type": "text", "text": text}],
            "isError": True,
            "_meta": {ABOUT: {**about, "reason_code": error.get("reason_code")}},
        }
    code = error.get("rpc_code")
    raise McpError(code if type(code) is int else errors.BAD_GATEWAY, message, {ABOUT: about})


def standing(record: CallRecord) -> str:
    return "waits for leave" if record.state is CallState.AWAITING_APPROVAL else "is being called"


def waiting(record: CallRecord) -> Result:
    text = (
        f"{record.state.value.upper()}: the call {standing(record)}. Nothing has to be asked again; "
        "call the tool once more with the same arguments to get its result."
    )
    about = {"id": str(record.id), "state": record.state.value, "approval_id": str(record.approval_id)}
    return {"content": [{"type": "text", "text": text}], "isError": True, "_meta": {ABOUT: about}}


def created(record: CallRecord) -> Result:
    """The result of a call that became an MCP task."""
    return {"resultType": "task", **_head(record, "working")}


def check_tasks(call: Call) -> None:
    """Pass only a client that has opted in to MCP tasks.

    Raises:
        McpError: MissingRequiredClientCapability.
    """
    if not call.supports(wire.TASKS):
        needed: Result = {"requiredCapabilities": {"extensions": {wire.TASKS: {}}}}
        raise McpError(MISSING_CAPABILITY, f"This needs the extension {wire.TASKS}.", needed)


async def answer(platform: Platform, call: Call) -> Result | None:
    """The result of `tasks/get` and its kin about a call that needs leave; None when it is about no such.

    `tasks/update` has nothing to answer here: whoever asked does not decide. `tasks/cancel` changes nothing
    either, since what waits for others is theirs to decide.

    Raises:
        McpError: there is no such task.
    """
    task_id = call.params.get("taskId")
    if type(task_id) is not str:
        raise invalid("taskId must be a string.")
    if not task_id.startswith(TASK):
        return None
    found = await find(platform, call.caller, task_id)
    if found is None:
        raise invalid("No such task.", {"taskId": task_id[:80]})
    return detailed(found) if call.method == "tasks/get" else {}


async def find(platform: Platform, caller: Caller, task_id: str) -> CallRecord | None:
    """The caller's own call that an MCP task stands for."""
    try:
        record = await platform.read(caller, get_call, CallId(UUID(task_id.removeprefix(TASK))))
    except (ValueError, NotFound):
        return None
    return record if record.principal_id == caller.principal_id else None


def detailed(record: CallRecord) -> Result:
    """The MCP task in full."""
    if not record.over:
        return _head(record, "working")
    try:
        result = outcome(record)
    except McpError as failed:
        error = {"code": failed.code, "message": failed.message, "data": failed.data}
        return {**_head(record, "failed"), "error": error}
    return {**_head(record, "completed"), "result": {"resultType": "complete", **result}}


def _head(record: CallRecord, status: str) -> dict[str, Any]:
    changed = record.finished_at or record.started_at or record.requested_at
    return {
        "taskId": f"{TASK}{record.id}",
        "status": status,
        "statusMessage": f"the call {standing(record)}" if status == "working" else record.state.value,
        "createdAt": shown.stamp(record.requested_at),
        "lastUpdatedAt": shown.stamp(changed),
        "ttlMs": None,
        "pollIntervalMs": POLL_MS,
    }
