"""The paths of HTTP+JSON. Specification §5.3, §11.3."""

import pytest

from adapters.a2a.errors import METHOD_NOT_FOUND, A2AError
from adapters.a2a.operations import OPERATIONS
from adapters.a2a.rest_binding import RESOURCES, resource_of


@pytest.mark.parametrize(
    ("path", "method", "operation", "given"),
    [
        ("/message:send", "POST", "SendMessage", {}),
        ("/message:stream", "POST", "SendStreamingMessage", {}),
        ("/tasks", "GET", "ListTasks", {}),
        ("/tasks/", "GET", "ListTasks", {}),
        ("/tasks/x", "GET", "GetTask", {"id": "x"}),
        ("/tasks/x:cancel", "POST", "CancelTask", {"id": "x"}),
        ("/tasks/x:subscribe", "GET", "SubscribeToTask", {"id": "x"}),
        ("/tasks/x:subscribe", "POST", "SubscribeToTask", {"id": "x"}),
        ("/tasks/x/pushNotificationConfigs", "POST", "CreateTaskPushNotificationConfig", {"taskId": "x"}),
        ("/tasks/x/pushNotificationConfigs", "GET", "ListTaskPushNotificationConfigs", {"taskId": "x"}),
        (
            "/tasks/x/pushNotificationConfigs/c",
            "GET",
            "GetTaskPushNotificationConfig",
            {"taskId": "x", "id": "c"},
        ),
        (
            "/tasks/x/pushNotificationConfigs/c",
            "DELETE",
            "DeleteTaskPushNotificationConfig",
            {"taskId": "x", "id": "c"},
        ),
        ("/extendedAgentCard", "GET", "GetExtendedAgentCard", {}),
    ],
)
@pytest.mark.parametrize("tenant", [None, "acme"])
def test_every_path_leads_to_its_operation_with_and_without_a_tenant(
    path: str, method: str, operation: str, given: dict[str, str], tenant: str | None
) -> None:
    methods, found = resource_of(f"/{tenant}{path}" if tenant else path)
    assert methods[method] == operation
    assert found == ({**given, "tenant": tenant} if tenant else given)


def test_every_operation_has_a_path() -> None:
    assert {name for methods in RESOURCES.values() for name in methods.values()} == set(OPERATIONS)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/nothing",
        "/t/nothing",
        "/tasks/x/y",
        "/tasks/x/pushNotificationConfigs/c/d",
        "/a/b/tasks",
        "/message:send/x",
        "/t",
    ],
)
def test_other_paths_are_no_resource(path: str) -> None:
    with pytest.raises(A2AError) as refused:
        resource_of(path)
    assert refused.value.kind is METHOD_NOT_FOUND
