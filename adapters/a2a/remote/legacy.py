"""A2A 0.3 towards a remote agent that speaks nothing newer: 1.0's requests told, its answers read.

The inverse of `adapters/a2a/v03/kinds.py`. What is not understood goes on as it is:
`answers.py` refuses it.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from adapters.a2a import wire
from adapters.a2a.v03.kinds import STATES, message_told
from adapters.a2a.v03.words import ROLES, chosen, unwrapped

METHODS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "SendMessage": "message/send",
        "SendStreamingMessage": "message/stream",
        "GetTask": "tasks/get",
        "CancelTask": "tasks/cancel",
        "SubscribeToTask": "tasks/resubscribe",
    }
)
"""The operations of 1.0 that 0.3 has, and that the hub needs."""
_STATES: Final = {theirs: ours for ours, theirs in STATES.items()}


def params_told(operation: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a call."""
    if "message" not in params:
        return dict(params)
    told: dict[str, Any] = {"message": message_told(params["message"]), **chosen(params, "metadata")}
    given = params.get("configuration", {})
    configuration = chosen(given, "acceptedOutputModes", "historyLength")
    if operation == "SendMessage":
        configuration["blocking"] = not given.get("returnImmediately", False)
    return {**told, "configuration": configuration} if configuration else told


def frame_of(value: Any) -> Any:
    """A task, message or event, told apart by its `kind`, as the member of 1.0 that it is."""
    if type(value) is not dict:
        return value
    match value.get("kind"):
        case "task":
            return {"task": task_of(value)}
        case "message":
            return {"message": _message(value)}
        case "status-update":
            return {"statusUpdate": {**value, "status": _status(value.get("status"))}}
        case "artifact-update":
            return {"artifactUpdate": {**value, "artifact": _artifact(value.get("artifact"))}}
        case _:
            return value


def task_of(value: Any) -> Any:
    """A task."""
    if type(value) is not dict:
        return value
    made = {**value, "status": _status(value.get("status"))}
    for name, read in (("artifacts", _artifact), ("history", _message)):
        if type(value.get(name)) is list:
            made[name] = [read(one) for one in value[name]]
    return made


def _status(value: Any) -> Any:
    if type(value) is not dict:
        return value
    state = value.get("state")
    made = {**value, "state": _STATES.get(state, state) if type(state) is str else state}
    if state == "unknown":
        made["state"] = wire.WORKING
    if value.get("message") is not None:
        made["message"] = _message(value["message"])
    return made


def _message(value: Any) -> Any:
    if type(value) is not dict:
        return value
    role = value.get("role")
    return {**value, "role": ROLES.get(role, role) if type(role) is str else role, "parts": _parts(value)}


def _artifact(value: Any) -> Any:
    return {**value, "parts": _parts(value)} if type(value) is dict else value


def _parts(value: Mapping[str, Any]) -> Any:
    parts = value.get("parts")
    return [_part(part) for part in parts] if type(parts) is list else parts


def _part(part: Any) -> Any:
    if type(part) is not dict:
        return part
    metadata = part.get("metadata")
    made: dict[str, Any]
    match part.get("kind"):
        case "text":
            made = chosen(part, "text")
        case "data":
            data, metadata = unwrapped(part.get("data"), metadata)
            made = {"data": data}
        case "file":
            file = part.get("file")
            names = (("bytes", "raw"), ("uri", "url"), ("mimeType", "mediaType"), ("name", "filename"))
            given = file if type(file) is dict else {}
            made = {ours: given[theirs] for theirs, ours in names if given.get(theirs) is not None}
        case _:
            return part
    return {**made, "metadata": metadata} if metadata is not None else made
