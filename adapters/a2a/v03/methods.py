"""The methods of 0.3 over JSON-RPC, each as the operation of 1.0 that it is."""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, Final

from adapters.a2a.errors import METHOD_NOT_FOUND, TASK_NOT_FOUND, A2AError, invalid
from adapters.a2a.protojson import Params
from adapters.a2a.v03 import kinds
from adapters.a2a.v03.card import with_legacy
from adapters.a2a.v03.words import Asked, chosen, length, push_config, push_config_told
from adapters.a2a.version import CURRENT, LEGACY


def asked(method: str, params: Params) -> Asked:
    """The call that a request of 0.3 makes.

    Raises:
        A2AError: MethodNotFound, or InvalidParams.
    """
    read = _METHODS.get(method)
    if read is None:
        raise A2AError(
            METHOD_NOT_FOUND,
            f"A2A {LEGACY} has no method {method[:60]!r}. The methods of {CURRENT} need "
            f'"A2A-Version: {CURRENT}".',
        )
    return read(params)


def _send(operation: str, params: Params) -> Asked:
    told = kinds.answer_told if operation == "SendMessage" else kinds.frame_told
    return Asked(operation, kinds.send_params(params), told)


def _task(operation: str, params: Params) -> Asked:
    made = chosen(params, "id", "metadata")
    wanted = length(params.get("historyLength"))
    if operation == "GetTask" and wanted is not None:
        made["historyLength"] = wanted
    told = kinds.frame_told if operation == "SubscribeToTask" else kinds.task_told
    return Asked(operation, made, told)


def _set_config(params: Params) -> Asked:
    task_id = params.get("taskId")
    if type(task_id) is not str or not task_id:
        raise invalid("taskId", "is required")
    config = push_config(params.get("pushNotificationConfig"), task_id=task_id)
    if type(config) is not dict:
        raise invalid("pushNotificationConfig", "must be an object")
    return Asked("CreateTaskPushNotificationConfig", config, config_told)


def _get_config(params: Params) -> Asked:
    id = params.get("pushNotificationConfigId")
    if id is None:
        # 0.3 lets a caller ask for "the" configuration of a task.
        wanted = {"taskId": params.get("id"), "pageSize": 1}
        return Asked("ListTaskPushNotificationConfigs", wanted, _first_config)
    return Asked("GetTaskPushNotificationConfig", {"taskId": params.get("id"), "id": id}, config_told)


def _list_configs(params: Params) -> Asked:
    wanted = {"taskId": params.get("id")}
    return Asked("ListTaskPushNotificationConfigs", wanted, lambda r: [config_told(c) for c in r["configs"]])


def _delete_config(params: Params) -> Asked:
    wanted = {"taskId": params.get("id"), "id": params.get("pushNotificationConfigId")}
    return Asked("DeleteTaskPushNotificationConfig", wanted, lambda _: None)


def _card(params: Params) -> Asked:
    return Asked("GetExtendedAgentCard", {}, with_legacy)


def config_told(config: Mapping[str, Any]) -> dict[str, Any]:
    """A `TaskPushNotificationConfig`."""
    return {"taskId": config["taskId"], "pushNotificationConfig": push_config_told(config)}


def _first_config(result: Mapping[str, Any]) -> dict[str, Any]:
    if not result["configs"]:
        raise A2AError(TASK_NOT_FOUND, "The task has no push notification configuration.")
    return config_told(result["configs"][0])


_METHODS: Final[Mapping[str, Callable[[Params], Asked]]] = MappingProxyType(
    {
        "message/send": partial(_send, "SendMessage"),
        "message/stream": partial(_send, "SendStreamingMessage"),
        "tasks/get": partial(_task, "GetTask"),
        "tasks/cancel": partial(_task, "CancelTask"),
        "tasks/resubscribe": partial(_task, "SubscribeToTask"),
        "tasks/pushNotificationConfig/set": _set_config,
        "tasks/pushNotificationConfig/get": _get_config,
        "tasks/pushNotificationConfig/list": _list_configs,
        "tasks/pushNotificationConfig/delete": _delete_config,
        "agent/getAuthenticatedExtendedCard": _card,
    }
)
