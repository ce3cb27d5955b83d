"""0.3 as JSON-RPC and webhooks write it: `kind` tells messages, tasks, events and parts apart."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from adapters.a2a import wire
from adapters.a2a.errors import invalid
from adapters.a2a.v03.words import ENDING, ROLES, chosen, length, push_config, unwrapped, wrapped

STATES: Final[Mapping[str, str]] = MappingProxyType(
    {state: state.removeprefix("TASK_STATE_").lower().replace("_", "-") for state in wire.STATES}
)
"""Each state of 1.0 as 0.3 writes it."""
_TOLD_ROLES: Final = {theirs: ours for ours, theirs in ROLES.items()}


def send_params(given: Mapping[str, Any]) -> dict[str, Any]:
    """`MessageSendParams` as a `SendMessageRequest`.

    Raises:
        A2AError: InvalidParams, a part of an unknown kind.
    """
    made: dict[str, Any] = {"message": _message(given.get("message")), "metadata": given.get("metadata")}
    chosen_ = given.get("configuration")
    if type(chosen_) is not dict:
        return {**made, "configuration": chosen_}
    configuration: dict[str, Any] = {
        "acceptedOutputModes": chosen_.get("acceptedOutputModes"),
        "historyLength": length(chosen_.get("historyLength")),
        "taskPushNotificationConfig": push_config(chosen_.get("pushNotificationConfig")),
    }
    blocking = chosen_.get("blocking")
    if blocking is not None:
        configuration["returnImmediately"] = not blocking if type(blocking) is bool else blocking
    return {**made, "configuration": configuration}


def _message(given: Any) -> Any:
    if type(given) is not dict:
        return given
    names = ("messageId", "contextId", "taskId", "metadata", "extensions", "referenceTaskIds")
    made = chosen(given, *names)
    role, parts = given.get("role"), given.get("parts")
    made["role"] = ROLES.get(role, role) if type(role) is str else role
    made["parts"] = (
        [_part(part, f"message.parts[{n}]") for n, part in enumerate(parts)] if type(parts) is list else parts
    )
    return made


def _part(part: Any, at: str) -> Any:
    if type(part) is not dict:
        return part
    kind, metadata = part.get("kind"), part.get("metadata")
    if kind == "text":
        made: dict[str, Any] = {"text": part.get("text")}
    elif kind == "data":
        data = part.get("data")
        if type(data) is not dict:
            raise invalid(f"{at}.data", "must be an object")
        data, metadata = unwrapped(data, metadata)
        made = {"data": data}
    elif kind == "file":
        made = _file(part.get("file"), at)
    else:
        raise invalid(f"{at}.kind", "must be text, file or data")
    return {**made, "metadata": metadata} if metadata is not None else made


def _file(file: Any, at: str) -> dict[str, Any]:
    if type(file) is not dict:
        raise invalid(f"{at}.file", "must be an object")
    names = (("bytes", "raw"), ("uri", "url"), ("mimeType", "mediaType"), ("name", "filename"))
    return {ours: file[theirs] for theirs, ours in names if file.get(theirs) is not None}


def answer_told(result: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to a send: a message or a task."""
    return message_told(result["message"]) if "message" in result else task_told(result["task"])


def frame_told(frame: Mapping[str, Any]) -> dict[str, Any]:
    """One `StreamResponse` as the event of 0.3."""
    if "statusUpdate" in frame:
        update = frame["statusUpdate"]
        return {
            "kind": "status-update",
            **chosen(update, "taskId", "contextId", "metadata"),
            "status": _status(update["status"]),
            "final": update["status"]["state"] in ENDING,
        }
    if "artifactUpdate" in frame:
        update = frame["artifactUpdate"]
        told = {"kind": "artifact-update", **update}
        return {**told, "artifact": _artifact(update["artifact"])}
    return answer_told(frame)


def task_told(task: Mapping[str, Any]) -> dict[str, Any]:
    """A task."""
    told = {
        "kind": "task",
        **chosen(task, "id", "contextId", "metadata"),
        "status": _status(task["status"]),
    }
    if task.get("artifacts"):
        told["artifacts"] = [_artifact(artifact) for artifact in task["artifacts"]]
    if task.get("history"):
        told["history"] = [message_told(message) for message in task["history"]]
    return told


def message_told(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message."""
    return {
        "kind": "message",
        **message,
        "role": _TOLD_ROLES[message["role"]],
        "parts": _parts(message["parts"]),
    }


def _status(status: Mapping[str, Any]) -> dict[str, Any]:
    told = {**status, "state": STATES[status["state"]]}
    if "message" in status:
        told["message"] = message_told(status["message"])
    return told


def _artifact(artifact: Mapping[str, Any]) -> dict[str, Any]:
    return {**artifact, "parts": _parts(artifact["parts"])}


def _parts(parts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [_part_told(part) for part in parts]


def _part_told(part: Mapping[str, Any]) -> dict[str, Any]:
    metadata = part.get("metadata")
    told: dict[str, Any]
    if "text" in part:
        told = {"kind": "text", "text": part["text"]}
    elif "data" in part:
        data, metadata = wrapped(part["data"], metadata)
        told = {"kind": "data", "data": data}
    else:
        names = (("raw", "bytes"), ("url", "uri"), ("mediaType", "mimeType"), ("filename", "name"))
        told = {"kind": "file", "file": {theirs: part[ours] for ours, theirs in names if ours in part}}
    return {**told, "metadata": metadata} if metadata else told
