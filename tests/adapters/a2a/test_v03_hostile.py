"""Whatever arrives as 0.3 is either understood or refused with an error of the protocol."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.a2a import wire
from adapters.a2a.errors import A2AError
from adapters.a2a.v03 import methods, rest
from adapters.a2a.v03.words import Asked

NAMES = st.sampled_from(
    [
        "message",
        "role",
        "parts",
        "kind",
        "text",
        "data",
        "file",
        "bytes",
        "uri",
        "mimeType",
        "name",
        "metadata",
        "configuration",
        "blocking",
        "historyLength",
        "pushNotificationConfig",
        "push_notification_config",
        "authentication",
        "schemes",
        "url",
        "id",
        "taskId",
        "content",
        "request",
        "message_id",
        "fileWithBytes",
        "config",
        "config_id",
        "value",
        "data_part_compat",
    ]
)
WORDS = st.sampled_from(["user", "text", "data", "file", "ROLE_USER", "x", "", "0", "aGk="])
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-2, 2), st.floats(allow_nan=False), WORDS)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=5)),
    max_leaves=20,
)
OBJECTS = st.dictionaries(NAMES, JSON, max_size=6)
PART = st.one_of(JSON, st.fixed_dictionaries({"kind": WORDS, "text": JSON, "data": JSON, "file": JSON}))
MESSAGES = st.fixed_dictionaries(
    {"role": st.one_of(WORDS, JSON), "parts": st.one_of(JSON, st.lists(PART, max_size=3))},
    optional={"content": st.one_of(JSON, st.lists(PART, max_size=3)), "messageId": JSON, "taskId": JSON},
)
PARAMS = st.one_of(OBJECTS, st.fixed_dictionaries({"message": MESSAGES}, optional={"configuration": JSON}))

READERS: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
    "SendMessage": wire.send_message,
    "SendStreamingMessage": wire.send_message,
    "GetTask": wire.one_task,
    "CancelTask": wire.one_task,
    "SubscribeToTask": wire.one_task,
}
METHODS = ["message/send", "message/stream", "tasks/get", "tasks/cancel", "tasks/resubscribe"]
CONFIGS = ["tasks/pushNotificationConfig/" + verb for verb in ("set", "get", "list", "delete")]


def understood(ask: Callable[[], Asked]) -> None:
    """It is, as far as the readers of 1.0 go, or it is refused."""
    try:
        asked = ask()
        READERS.get(asked.operation, dict)(asked.params)
    except A2AError:
        pass


@pytest.mark.parametrize("method", [*METHODS, *CONFIGS])
@given(params=PARAMS)
def test_over_jsonrpc(method: str, params: dict[str, Any]) -> None:
    understood(lambda: methods.asked(method, params))


@pytest.mark.parametrize("operation", [*READERS, "CreateTaskPushNotificationConfig", "ListTasks"])
@given(params=PARAMS)
def test_over_http(operation: str, params: dict[str, Any]) -> None:
    understood(lambda: rest.asked(operation, {**params, "id": "x", "taskId": "x"}))
