"""0.3 as HTTP+JSON and gRPC write it: the messages of the package `a2a.v1` as ProtoJSON.

It is nearly 1.0: parts are `content`, files and data are nested, a configuration has a resource name, and one
state is spelt differently. Members are taken by their JSON name and by the one in the `.proto` file, since
official clients send either.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from adapters.a2a import errors, wire
from adapters.a2a.errors import A2AError, invalid
from adapters.a2a.v03.card import with_legacy
from adapters.a2a.v03.words import (
    ENDING,
    Asked,
    chosen,
    length,
    member,
    push_config,
    push_config_told,
    unwrapped,
    wrapped,
)
from adapters.a2a.version import CURRENT

_AS_IT_IS: Final = ("securitySchemes", "skills")
CANCELLED: Final = "TASK_STATE_CANCELLED"
_TASK: Final = re.compile(r"tasks/([^/]+)")
_CONFIG: Final = re.compile(r"tasks/([^/]+)/pushNotificationConfigs/([^/]+)")


def send(operation: str, body: Mapping[str, Any]) -> Asked:
    """Either send, from a `SendMessageRequest`."""
    given = body.get("message", body.get("request"))
    params: dict[str, Any] = {"message": _message(given), "metadata": body.get("metadata")}
    told = answer_told if operation == "SendMessage" else frame_told
    configuration = body.get("configuration")
    if type(configuration) is dict:
        blocking = configuration.get("blocking")
        configuration = {
            "acceptedOutputModes": member(configuration, "acceptedOutputModes"),
            "historyLength": length(member(configuration, "historyLength")),
            "taskPushNotificationConfig": push_config(member(configuration, "pushNotification")),
            # Nobody can tell false from absent here: who writes a configuration says what it wants.
            "returnImmediately": not blocking if type(blocking) is bool or blocking is None else blocking,
        }
    return Asked(operation, {**params, "configuration": configuration}, told)


def _message(given: Any) -> Any:
    if type(given) is not dict:
        return given
    content = given.get("content")
    if content is None and "parts" in given:
        raise invalid(
            "message.parts", f'is 1.0; a message of 0.3 has content. For 1.0 add "A2A-Version: {CURRENT}"'
        )
    made = chosen(given, "role", "metadata", "extensions")
    for name in ("messageId", "contextId", "taskId"):
        made[name] = member(given, name)
    made["parts"] = [_part(part) for part in content] if type(content) is list else content
    return made


def _part(part: Any) -> Any:
    if type(part) is not dict:
        return part
    metadata = part.get("metadata")
    made = chosen(part, "text")
    nested = part.get("data")
    if type(nested) is dict:
        made["data"], metadata = unwrapped(nested.get("data"), metadata)
    file = part.get("file")
    if type(file) is dict:
        names = (
            ("fileWithBytes", "raw"),
            ("fileWithUri", "url"),
            ("mimeType", "mediaType"),
            ("name", "filename"),
        )
        for theirs, ours in names:
            value = member(file, theirs)
            if value is not None:
                made[ours] = value
    return {**made, "metadata": metadata} if metadata is not None else made


def get_task(task_id: Any, history_length: Any) -> Asked:
    """GetTask."""
    wanted = length(history_length)
    params = {"id": task_id} if wanted is None else {"id": task_id, "historyLength": wanted}
    return Asked("GetTask", params, task_told)


def cancel(task_id: Any, body: Mapping[str, Any]) -> Asked:
    """CancelTask."""
    return Asked("CancelTask", {"id": task_id, **chosen(body, "metadata")}, task_told)


def subscribe(task_id: Any) -> Asked:
    """SubscribeToTask."""
    return Asked("SubscribeToTask", {"id": task_id}, frame_told)


def create_config(task_id: str, body: Mapping[str, Any]) -> Asked:
    """Create or replace a configuration: from a whole request, or from its `config` alone."""
    config = body.get("config", body)
    given = member(config, "pushNotificationConfig") if type(config) is dict else None
    if type(given) is not dict:
        raise invalid("config.pushNotificationConfig", "must be an object")
    named = member(body, "configId")
    if named and not given.get("id"):
        given = {**given, "id": named}
    return Asked("CreateTaskPushNotificationConfig", push_config(given, task_id=task_id), config_told)


def get_config(task_id: Any, id: Any) -> Asked:
    """Read one configuration."""
    return Asked("GetTaskPushNotificationConfig", {"taskId": task_id, "id": id}, config_told)


def list_configs(task_id: Any, given: Mapping[str, Any]) -> Asked:
    """Read the configurations of a task."""
    params = {
        "taskId": task_id,
        "pageSize": member(given, "pageSize"),
        "pageToken": member(given, "pageToken"),
    }
    return Asked("ListTaskPushNotificationConfigs", params, _configs_told)


def delete_config(task_id: Any, id: Any) -> Asked:
    """Delete one configuration."""
    return Asked("DeleteTaskPushNotificationConfig", {"taskId": task_id, "id": id}, dict)


def card() -> Asked:
    """The extended card."""
    return Asked("GetExtendedAgentCard", {}, card_told)


def rpc(name: str, request: Mapping[str, Any]) -> Asked:
    """The call that a request of the service `a2a.v1.A2AService` makes.

    Raises:
        A2AError: InvalidParams.
    """
    resource = request.get("name", "")
    match name:
        case "SendMessage" | "SendStreamingMessage":
            return send(name, request)
        case "GetTask":
            return get_task(_named(_TASK, resource)[0], request.get("historyLength"))
        case "CancelTask":
            return cancel(_named(_TASK, resource)[0], request)
        case "TaskSubscription":
            return subscribe(_named(_TASK, resource)[0])
        case "CreateTaskPushNotificationConfig":
            return create_config(_named(_TASK, request.get("parent", ""), "parent")[0], request)
        case "GetTaskPushNotificationConfig":
            return get_config(*_named(_CONFIG, resource))
        case "ListTaskPushNotificationConfig":
            return list_configs(_named(_TASK, request.get("parent", ""), "parent")[0], request)
        case "DeleteTaskPushNotificationConfig":
            return delete_config(*_named(_CONFIG, resource))
        case _:
            return card()


def _named(form: re.Pattern[str], resource: Any, field: str = "name") -> Sequence[str]:
    found = form.fullmatch(resource) if type(resource) is str else None
    if found is None:
        shown = "tasks/{id}" if form is _TASK else "tasks/{id}/pushNotificationConfigs/{id}"
        raise invalid(field, f"must be {shown}")
    return found.groups()


def answer_told(result: Mapping[str, Any]) -> dict[str, Any]:
    """A `SendMessageResponse`."""
    if "message" in result:
        return {"message": _message_told(result["message"])}
    return {"task": task_told(result["task"])}


def frame_told(frame: Mapping[str, Any]) -> dict[str, Any]:
    """A `StreamResponse`."""
    if "statusUpdate" in frame:
        update = frame["statusUpdate"]
        status = update["status"]
        told = {**update, "status": _status(status), "final": status["state"] in ENDING}
        return {"statusUpdate": told}
    if "artifactUpdate" in frame:
        update = frame["artifactUpdate"]
        return {"artifactUpdate": {**update, "artifact": _artifact(update["artifact"])}}
    return answer_told(frame)


def task_told(task: Mapping[str, Any]) -> dict[str, Any]:
    """A `Task`."""
    told = {**task, "status": _status(task["status"])}
    if "artifacts" in task:
        told["artifacts"] = [_artifact(artifact) for artifact in task["artifacts"]]
    if "history" in task:
        told["history"] = [_message_told(message) for message in task["history"]]
    return told


def _status(status: Mapping[str, Any]) -> dict[str, Any]:
    told = dict(status)
    if told["state"] == wire.CANCELED:
        told["state"] = CANCELLED
    if "message" in told:
        told["message"] = _message_told(told["message"])
    return told


def _message_told(message: Mapping[str, Any]) -> dict[str, Any]:
    told = chosen(message, "messageId", "contextId", "taskId", "role", "metadata", "extensions")
    return {**told, "content": _content(message["parts"])}


def _artifact(artifact: Mapping[str, Any]) -> dict[str, Any]:
    return {**artifact, "parts": _content(artifact["parts"])}


def _content(parts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [_part_told(part) for part in parts]


def _part_told(part: Mapping[str, Any]) -> dict[str, Any]:
    metadata = part.get("metadata")
    told: dict[str, Any]
    if "text" in part:
        told = {"text": part["text"]}
    elif "data" in part:
        data, metadata = wrapped(part["data"], metadata)
        told = {"data": {"data": data}}
    else:
        names = (
            ("raw", "fileWithBytes"),
            ("url", "fileWithUri"),
            ("mediaType", "mimeType"),
            ("filename", "name"),
        )
        told = {"file": {theirs: part[ours] for ours, theirs in names if ours in part}}
    return {**told, "metadata": metadata} if metadata else told


def config_told(config: Mapping[str, Any]) -> dict[str, Any]:
    """A `TaskPushNotificationConfig`."""
    name = f"tasks/{config['taskId']}/pushNotificationConfigs/{config['id']}"
    return {"name": name, "pushNotificationConfig": push_config_told(config)}


def _configs_told(result: Mapping[str, Any]) -> dict[str, Any]:
    return {"configs": [config_told(c) for c in result["configs"]], **chosen(result, "nextPageToken")}


def card_told(card: Mapping[str, Any]) -> dict[str, Any]:
    """An `AgentCard`: of what 0.3 writes in two ways, the messages' way."""
    told = {**with_legacy(card), **{name: card[name] for name in _AS_IT_IS if name in card}}
    if "securityRequirements" in card:
        told["security"] = card["securityRequirements"]
    return told


def error_told(error: A2AError) -> dict[str, Any]:
    """The body of a refusal: 0.3's members, with 1.0's beside them."""
    kind = error.kind
    return {
        "code": kind.rpc,
        "message": error.message,
        "type": error_name(error),
        "data": error.details,
        **error.status,
    }


def error_name(error: A2AError) -> str:
    """The name by which the clients of 0.3 know an error."""
    if error.kind is errors.PARSE:
        return "JSONParseError"
    words = error.kind.reason.removesuffix("_ERROR").split("_")
    return "".join(word.capitalize() for word in words) + "Error"
