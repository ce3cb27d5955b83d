"""0.3 over HTTP+JSON: the paths below `/v1`, which are 1.0's but for the card and the list."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from adapters.a2a.errors import METHOD_NOT_FOUND, A2AError
from adapters.a2a.v03 import proto
from adapters.a2a.v03.words import Asked
from adapters.a2a.version import CURRENT, LEGACY

CARD: Final[Mapping[str, str]] = MappingProxyType({"GET": "GetExtendedAgentCard"})


def is_card(path: str) -> bool:
    """Whether a path below the root is the card's, which 1.0 has elsewhere."""
    return path.strip("/") == "card"


def asked(operation: str, params: Mapping[str, Any]) -> Asked:
    """The call that a request makes; `params` are what its path, query and body say together.

    Raises:
        A2AError: MethodNotFound, or InvalidParams.
    """
    match operation:
        case "SendMessage" | "SendStreamingMessage":
            return proto.send(operation, params)
        case "GetTask":
            return proto.get_task(params["id"], params.get("historyLength"))
        case "CancelTask":
            return proto.cancel(params["id"], params)
        case "SubscribeToTask":
            return proto.subscribe(params["id"])
        case "CreateTaskPushNotificationConfig":
            return proto.create_config(params["taskId"], params)
        case "GetTaskPushNotificationConfig":
            return proto.get_config(params["taskId"], params["id"])
        case "ListTaskPushNotificationConfigs":
            return proto.list_configs(params["taskId"], params)
        case "DeleteTaskPushNotificationConfig":
            return proto.delete_config(params["taskId"], params["id"])
        case "GetExtendedAgentCard":
            return proto.card()
    raise A2AError(
        METHOD_NOT_FOUND,
        f"A2A {LEGACY}, which a request without A2A-Version speaks, has no {operation}. "
        f'Add "A2A-Version: {CURRENT}".',
    )
